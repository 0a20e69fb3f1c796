"""The training loop: ``transformers.Trainer`` set up for one run, its dev queries and its work in progress."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import EarlyStoppingCallback, TrainingArguments
from transformers.integrations import get_reporting_integration_callbacks
from transformers.trainer_callback import PrinterCallback
from transformers.training_args import ParallelMode

from iaa_retrieval.collections.negatives import is_query_itself
from iaa_retrieval.collections.runs import rank, read_run
from iaa_retrieval.collections.types import Qrels, Run
from iaa_retrieval.errors import UsageError
from iaa_retrieval.models.retriever import Retriever
from iaa_retrieval.training.data import ExampleDataset, TrainingData
from iaa_retrieval.training.judgments import Judgments, scored_dev_queries
from iaa_retrieval.training.kinds import DevEvaluator, TrainingKind
from iaa_retrieval.training.optimizers import transformers_name
from iaa_retrieval.training.option_groups import DEV_METRICS, DevOptions
from iaa_retrieval.training.options import ResolvedHyperparameters, TrainOptions
from iaa_retrieval.training.output import plain
from iaa_retrieval.training.progress_lines import ProgressLines
from iaa_retrieval.training.trainer import RetrievalTrainer, placed_like


def make_dev_evaluator(
    kind: TrainingKind,
    model: Retriever,
    judgments: Judgments,
    run: Run,
    dev: DevOptions,
    seed: int,
    precision: str,
) -> DevEvaluator | None:
    """A function that scores the dev queries; None where there are none.

    Args:
        run: has hits for the dev queries where ``dev`` names no run of them.
    """
    if not judgments.dev:
        return None
    kept = scored_dev_queries(judgments, dev, seed)
    hits = _cut(read_run(dev.dev_run) if dev.dev_run else run, kept, dev.dev_depth)
    return kind.dev_evaluator(model, judgments.dev_collection, kept, hits, dev, seed, precision)


def make_trainer(
    kind: TrainingKind,
    options: TrainOptions,
    hyper: ResolvedHyperparameters,
    model: Retriever,
    dataset: ExampleDataset,
    work: Path,
    precision: str,
    evaluate_dev: DevEvaluator | None,
) -> RetrievalTrainer:
    """The trainer of one run on ``dataset``, which keeps its checkpoints in ``work``."""
    scores_dev, method = evaluate_dev is not None, options.tuning.chosen_method
    trainer = RetrievalTrainer(
        model=placed_like(model.network, kind.objective(model, hyper, options.objective)),
        args=_arguments(options, hyper, torch.device(model.device), len(dataset), work, precision, scores_dev),
        train_dataset=dataset,
        data_collator=kind.collator(
            model, dataset.data, options.text.train_max_length or model.config.document_max_length
        ),
        evaluate_dev=evaluate_dev,
        method=method,
        networks=model.networks,
        eval_dataset=dataset if scores_dev else None,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(ProgressLines())
    if options.dev.patience is not None:
        trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=options.dev.patience))
    for index, network in enumerate(model.networks):
        for callback in method.callbacks(network, index):
            trainer.add_callback(callback)
    return trainer


def _arguments(
    options: TrainOptions,
    hyper: ResolvedHyperparameters,
    device: torch.device,
    examples: int,
    work: Path,
    precision: str,
    scores_dev: bool,
) -> TrainingArguments:
    """What transformers' trainer is told about a run on ``device`` over ``examples`` examples."""
    optimisation, eval_steps = options.optimisation, options.dev.eval_steps
    strategy = "steps" if eval_steps else "epoch"
    arguments = TrainingArguments(
        output_dir=str(work),
        num_train_epochs=optimisation.epochs,
        max_steps=optimisation.max_steps,
        per_device_train_batch_size=hyper.batch_size,
        learning_rate=hyper.lr,
        weight_decay=optimisation.weight_decay,
        warmup_steps=optimisation.warmup,
        lr_scheduler_type="linear",
        max_grad_norm=1.0,
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        use_cpu=device.type != "cuda",
        seed=options.seed,
        # The last, smaller batch has fewer in-batch negatives: a different loss. It is left out where it can be.
        dataloader_drop_last=examples >= hyper.batch_size,
        dataloader_pin_memory=device.type == "cuda",
        remove_unused_columns=False,
        save_strategy=strategy,
        eval_strategy=strategy if scores_dev else "no",
        save_steps=eval_steps or 500,
        eval_steps=eval_steps,
        save_total_limit=2,
        load_best_model_at_end=scores_dev,
        metric_for_best_model=f"eval_{options.dev.dev_metric}" if scores_dev else None,
        greater_is_better=True if scores_dev else None,
        logging_strategy="steps",
        logging_steps=10,
        report_to=trackers(options.report_to),
        disable_tqdm=not sys.stderr.isatty(),
        # Else a resumed run would forget for how long the dev score has not improved.
        restore_callback_states_from_checkpoint=True,
        ddp_find_unused_parameters=False,
        **({} if options.memory.optimizer is None else {"optim": transformers_name(options.memory.optimizer)}),
    )
    # One process trains on one device (several: torchrun); DataParallel would part a batch's queries and passages.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    if arguments.parallel_mode is ParallelMode.NOT_PARALLEL:
        _use_device(arguments, device)
    return arguments


def _use_device(arguments: TrainingArguments, device: torch.device) -> None:
    """Train on ``device``: transformers takes the first GPU whichever was asked for, and makes it the current one."""
    if device.type == "cuda":
        torch.cuda.set_device(device)  # which accelerate moves the batches to
        arguments.__dict__["_setup_devices"] = device  # what its property of that name has found and kept


def trackers(names: str) -> list[str]:
    """The names in ``--report-to``.

    Raises:
        UsageError: one that transformers does not know, or whose package is missing.
    """
    chosen = [] if names == "none" else [name.strip() for name in names.split(",")]
    for name in chosen:
        try:
            for callback in get_reporting_integration_callbacks([name]):
                callback()
        except (ValueError, RuntimeError, ImportError) as error:
            raise UsageError(f"--report-to {name}: {' '.join(str(error).split())}") from error
    return chosen


def work_settings(options: TrainOptions, data: TrainingData, dev_qrels: Qrels) -> dict[str, Any]:
    """What work in progress depends on: the options, and hashes of the data that they led to."""
    elsewhere = ("resume", "overwrite", "report_to", "output")
    asked = {key: value for key, value in plain(options).items() if key not in elsewhere}
    dev = hashlib.sha256(json.dumps(dev_qrels, sort_keys=True).encode()).hexdigest()
    return {**asked, "training data": data.digest, "dev judgments": dev}


def best_dev_scores(trainer: RetrievalTrainer) -> dict[str, float]:
    """The dev scores of the checkpoint that is kept."""
    metric = trainer.args.metric_for_best_model
    scored = [entry for entry in trainer.state.log_history if metric in entry]
    if not scored:
        return {}
    best = max(scored, key=lambda entry: entry[metric])
    return {name: float(best[f"eval_{name}"]) for name in DEV_METRICS}


def _cut(run: Run, qrels: Qrels, depth: int) -> Run:
    """The best hits of the judged queries, of which none is the query itself."""
    cut: Run = {}
    for query_id, grades in qrels.items():
        if query_id in run:
            hits = rank(run[query_id])
            others = [hit for hit in hits if not is_query_itself(query_id, hit[0], grades)]
            cut[query_id] = dict(others[:depth])
    return cut
