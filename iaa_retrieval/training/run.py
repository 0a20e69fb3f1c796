"""One training run, from options to a checkpoint."""

from __future__ import annotations

import importlib.metadata
import logging
import platform
import random
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn
from transformers import EarlyStoppingCallback, TrainingArguments, set_seed
from transformers.trainer_callback import PrinterCallback

from iaa_retrieval.collections.base import Collection
from iaa_retrieval.collections.collection import load_collection
from iaa_retrieval.collections.holdout import hold_out
from iaa_retrieval.collections.negatives import mine_negatives
from iaa_retrieval.collections.runs import rank, read_run
from iaa_retrieval.collections.types import Qrels, Run
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.files import atomic_directory, require_empty, write_json
from iaa_retrieval.models.backbone import read_text_settings
from iaa_retrieval.models.bi_encoder import BiEncoder, load_bi_encoder, position_limit
from iaa_retrieval.models.checkpoint import (
    fingerprint_bi_encoder,
    fingerprint_cross_encoder,
    save_weights,
    weights_fingerprint,
)
from iaa_retrieval.models.cross_encoder import CrossEncoder, new_cross_encoder
from iaa_retrieval.models.precision import choose_device, choose_precision
from iaa_retrieval.models.retriever_config import RetrieverConfig
from iaa_retrieval.training.collators import BiEncoderCollator, CrossEncoderCollator
from iaa_retrieval.training.data import ExampleDataset, TrainingData, load_training_data
from iaa_retrieval.training.dev import DEV_METRICS, bi_encoder_dev_evaluator, cross_encoder_dev_evaluator
from iaa_retrieval.training.model_card import model_card
from iaa_retrieval.training.objectives import BiEncoderObjective, CrossEncoderObjective
from iaa_retrieval.training.options import BI_ENCODER_ONLY, ResolvedHyperparameters, TrainOptions
from iaa_retrieval.training.speed import set_dropout, store_frozen_weights_in_bf16, use_fast_attention
from iaa_retrieval.training.trainer import RetrievalTrainer, last_checkpoint
from iaa_retrieval.tuning.apply import EMBEDDING_TASK, apply_method, count_trainable, head_modules
from iaa_retrieval.tuning.budget import choose_dimensions, parse_budget
from iaa_retrieval.tuning.methods import get_method

LOG = logging.getLogger("iaa_retrieval")
SELECTION_METRIC = "nDCG@10"


@dataclass(frozen=True)
class TrainResult:
    """What a run made.

    Attributes:
        output: the checkpoint directory.
        trainable_parameters: trained numbers by kind (weights, biases, heads).
        dev_scores: of the kept checkpoint; empty without dev queries.
        seconds: of the training loop, dev scoring included.
    """

    output: Path
    trainable_parameters: dict[str, int]
    dev_scores: dict[str, float]
    seconds: float


def train_retriever(options: TrainOptions) -> TrainResult:
    """Tune a bi-encoder or cross-encoder and write its checkpoint, whole or not at all.

    Work in progress lies in ``.OUTPUT.training`` beside the output; with ``resume`` it is continued, to the same
    weights as an uninterrupted run.
    """
    hyper = options.resolved()
    output = Path(options.output)
    require_empty(output)
    work = output.absolute().with_name(f".{output.name}.training")
    method = get_method(options.method)
    device = choose_device(options.device)
    precision = choose_precision(options.precision, device)

    collection, train_qrels, dev_qrels = _judgments(options)
    run = read_run(options.negatives) if options.negatives else {}
    data = _training_data(options, collection, train_qrels, run, hyper)

    set_seed(options.seed)
    model = _new_model(options)
    dimensions = _dimensions(options, model)
    network = _network(model)
    use_fast_attention(network, device)
    dropout = options.dropout if options.dropout is not None else (None if method.name == "full" else 0.0)
    if dropout is not None:
        set_dropout(network, dropout)
    # Without a task head to train, the pooler takes no part and must not be trained either.
    task = (
        {"modules_to_save": head_modules(network)} if isinstance(model, CrossEncoder) else {"task_type": EMBEDDING_TASK}
    )
    tuned = apply_method(network, method.name, dimensions, **task)
    _set_network(model, tuned)
    counts = count_trainable(tuned)
    LOG.info(
        "%s %s on %s%s: %s trained parameters",
        method.name,
        options.kind,
        options.backbone,
        "".join(f", {key} = {value}" for key, value in dimensions.items()),
        ", ".join(f"{value:,} {key}" for key, value in counts.items()),
    )
    model.to(device)
    if precision == "bf16":
        store_frozen_weights_in_bf16(model)
    evaluate_dev = _dev_evaluator(options, model, collection, dev_qrels, run, precision)

    trainer = _trainer(options, hyper, model, data, work, precision, evaluate_dev)
    with trainer.args.main_process_first(local=False):
        if trainer.is_world_process_zero():
            _begin_or_continue(options, work)
    checkpoint = last_checkpoint(work) if options.resume else None
    seconds = trainer.train(resume_from_checkpoint=checkpoint).metrics["train_runtime"]
    dev_scores = _best_dev_scores(trainer)
    config = replace(
        model.config,
        method=method.name,
        dimensions=dimensions,
        trainable_parameters=counts,
        training=_training_record(options, hyper, data, trainer.state.global_step, precision),
        versions=library_versions(),
        dev_scores=dev_scores,
    )
    trainer.accelerator.wait_for_everyone()
    with trainer.args.main_process_first(local=False):
        if trainer.is_world_process_zero():
            _write_checkpoint(output, model, config, options, hyper, trainer.state.log_history)
            shutil.rmtree(work, ignore_errors=True)
    return TrainResult(output, counts, dev_scores, float(seconds))


def library_versions() -> dict[str, str]:
    """Versions of what a score depends on."""
    packages = ("iaa-retrieval", "torch", "transformers", "peft", "tokenizers")
    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
    }


def _judgments(options: TrainOptions) -> tuple[Collection, Qrels, Qrels]:
    """The collection, the training judgments and the dev judgments (empty without dev queries)."""
    collection = load_collection(options.collection, options.split)
    try:
        train = collection.qrels()
    except UsageError:
        # No split was named and there are several: the one that is called train is meant.
        if options.split is not None or "train" not in collection.splits():
            raise
        collection = load_collection(options.collection, "train")
        train = collection.qrels()
    if options.dev_fraction:
        train, dev = hold_out(train, options.dev_fraction, options.seed)
    elif options.dev_split:
        dev = load_collection(options.collection, options.dev_split).qrels()
        clash = set(train) & set(dev)
        if clash:
            raise UsageError(
                f"dev split {options.dev_split} shares {len(clash)} queries with the training split (e.g. {min(clash)})"
            )
    else:
        dev = {}
    if options.train_queries is not None and options.train_queries < len(train):
        kept = random.Random(options.seed).sample(sorted(train), options.train_queries)
        train = {query_id: train[query_id] for query_id in kept}
    return collection, train, dev


def _training_data(
    options: TrainOptions, collection: Collection, qrels: Qrels, run: Run, hyper: ResolvedHyperparameters
) -> TrainingData:
    if options.kind == "cross-encoder" and not run:
        raise UsageError(
            "a cross-encoder learns from negatives; give a first-stage run of the training queries with --negatives "
            "(python -m iaa_retrieval.search makes one)"
        )
    if hyper.negatives_per_query == 0 or not run:
        return load_training_data(collection, qrels, {})
    first, last = options.negative_ranks
    negatives, report = mine_negatives(run, qrels, first_rank=first, last_rank=last)
    LOG.info("negatives from %s: %s", options.negatives, report)
    if not report.kept:
        raise IaaRetrievalError(
            f"{options.negatives} gives no negative for any training query; is it a run of these queries?"
        )
    return load_training_data(collection, qrels, negatives)


def _new_model(options: TrainOptions) -> BiEncoder | CrossEncoder:
    if options.kind == "cross-encoder":
        model: BiEncoder | CrossEncoder = new_cross_encoder(options.backbone)
    else:
        settings = read_text_settings(options.backbone)
        model = load_bi_encoder(
            options.backbone,
            # A bare pretrained encoder has no pooling of its own; mean with unit length is what works best untuned.
            pooling=options.pooling or (None if settings.from_metadata else "mean"),
            normalize=options.normalize
            if options.normalize is not None
            else (None if settings.from_metadata else True),
            precision="fp32",
            device="cpu",
        )
    limit = position_limit(_network(model))
    lengths: dict[str, Any] = {
        name: getattr(model.config, name) if getattr(options, name) is None else getattr(options, name)
        for name in ("query_max_length", "document_max_length")
    }
    for name, length in (*lengths.items(), ("train_max_length", options.train_max_length)):
        if length is not None and not 2 < length <= limit:
            raise UsageError(
                f"--{name.replace('_', '-')} {length} is outside what {options.backbone} takes: 3 to {limit} tokens"
            )
    model.config = replace(
        model.config, **lengths, query_prefix=options.query_prefix, document_prefix=options.document_prefix
    )
    return model


def _dimensions(options: TrainOptions, model: BiEncoder | CrossEncoder) -> dict[str, int]:
    """Explicit dimensions where given, the budget's otherwise."""
    given = {"r": options.r, "ar": options.ar, "prefix_length": options.prefix_length}
    explicit = {name: value for name, value in given.items() if value is not None}
    wanted = set(get_method(options.method).dimensions)
    unknown = sorted(set(explicit) - wanted)
    if unknown:
        raise UsageError(f"method {options.method} has no dimension {', '.join(unknown)}")
    if wanted <= set(explicit) and options.budget is None:
        return explicit
    base = _network(model).base_model if isinstance(model, CrossEncoder) else _network(model)
    layers = getattr(base.config, "num_hidden_layers", None) or base.config.n_layers
    width = getattr(base.config, "hidden_size", None) or base.config.dim
    chosen = choose_dimensions(
        options.method,
        parse_budget(options.budget or "0.5%"),
        int(width),
        int(layers),
        sum(parameter.numel() for parameter in base.parameters()),
    )
    return {**chosen, **explicit}


def _network(model: BiEncoder | CrossEncoder) -> Any:
    return model.encoder if isinstance(model, BiEncoder) else model.classifier


def _set_network(model: BiEncoder | CrossEncoder, network: nn.Module) -> None:
    if isinstance(model, BiEncoder):
        model.encoder = network
    else:
        model.classifier = network


def _dev_evaluator(
    options: TrainOptions,
    model: BiEncoder | CrossEncoder,
    collection: Collection,
    dev_qrels: Qrels,
    run: Run,
    precision: str,
) -> Callable[[], dict[str, float]] | None:
    if not dev_qrels:
        return None
    chosen = random.Random(options.seed).sample(sorted(dev_qrels), min(options.dev_queries, len(dev_qrels)))
    kept = {query_id: dev_qrels[query_id] for query_id in chosen}
    if options.dev_split:
        collection = load_collection(options.collection, options.dev_split)
    candidates = _cut(read_run(options.dev_run) if options.dev_run else run, kept, options.dev_depth)
    if isinstance(model, CrossEncoder):
        return cross_encoder_dev_evaluator(model, collection, kept, candidates=candidates, precision=precision)
    return bi_encoder_dev_evaluator(
        model,
        collection,
        kept,
        sample_size=options.dev_documents,
        precision=precision,
        seed=options.seed,
        distractors={query_id: list(hits) for query_id, hits in candidates.items()},
    )


def _cut(run: Run, queries: Mapping[str, Any], depth: int) -> Run:
    return {query_id: dict(rank(run[query_id])[:depth]) for query_id in queries if query_id in run}


def _trainer(
    options: TrainOptions,
    hyper: ResolvedHyperparameters,
    model: BiEncoder | CrossEncoder,
    data: TrainingData,
    work: Path,
    precision: str,
    evaluate_dev: Callable[[], dict[str, float]] | None,
) -> RetrievalTrainer:
    length = options.train_max_length or model.config.document_max_length
    objective: nn.Module
    if isinstance(model, BiEncoder):
        objective, collator = (
            BiEncoderObjective(model, options.temperature),
            BiEncoderCollator(model, data, length),
        )
    else:
        objective, collator = CrossEncoderObjective(model), CrossEncoderCollator(model, data, length)  # type: ignore[assignment]
    dataset = ExampleDataset(data, hyper.negatives_per_query, options.seed)
    interval = {"steps": options.eval_steps} if options.eval_steps else {}
    strategy = "steps" if options.eval_steps else "epoch"
    arguments = TrainingArguments(
        output_dir=str(work),
        num_train_epochs=options.epochs,
        max_steps=options.max_steps,
        per_device_train_batch_size=hyper.batch_size,
        learning_rate=hyper.lr,
        weight_decay=options.weight_decay,
        warmup_steps=options.warmup,
        lr_scheduler_type="linear",
        max_grad_norm=1.0,
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        use_cpu=not str(model.device).startswith("cuda"),
        seed=options.seed,
        # The last, smaller batch has fewer in-batch negatives: a different loss. It is left out where it can be.
        dataloader_drop_last=len(dataset) >= hyper.batch_size,
        dataloader_pin_memory=str(model.device).startswith("cuda"),
        remove_unused_columns=False,
        save_strategy=strategy,
        eval_strategy=strategy if evaluate_dev else "no",
        save_steps=interval.get("steps", 500),
        eval_steps=interval.get("steps"),
        save_total_limit=2,
        load_best_model_at_end=evaluate_dev is not None,
        metric_for_best_model=f"eval_{SELECTION_METRIC}" if evaluate_dev else None,
        greater_is_better=True if evaluate_dev else None,
        logging_strategy="steps",
        logging_steps=10,
        report_to=[] if options.report_to == "none" else options.report_to.split(","),
        disable_tqdm=not sys.stderr.isatty(),
        # Else a resumed run would forget for how long the dev score has not improved.
        restore_callback_states_from_checkpoint=True,
        ddp_find_unused_parameters=False,
    )
    # One process trains on one device (several: torchrun); DataParallel would part a batch's queries and passages.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    trainer = RetrievalTrainer(
        model=objective,
        args=arguments,
        train_dataset=dataset,
        data_collator=collator,
        evaluate_dev=evaluate_dev,
        eval_dataset=dataset if evaluate_dev else None,
    )
    trainer.remove_callback(PrinterCallback)
    if options.patience is not None:
        trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=options.patience))
    return trainer


def _begin_or_continue(options: TrainOptions, work: Path) -> None:
    """Keep the work in progress when it may be resumed; without ``resume`` it is discarded."""
    # What was asked is stored beside the work, so that a run is only continued with the options it began with.
    asked = {key: value for key, value in asdict(options).items() if key not in ("resume", "report_to", "output")}
    record = work / "options.yaml"
    if options.resume and record.is_file():
        begun = yaml.safe_load(record.read_text(encoding="utf-8"))
        asked = yaml.safe_load(yaml.safe_dump(_plain(asked)))
        differing = sorted(key for key in asked if asked[key] != begun.get(key))
        if differing:
            raise UsageError(
                f"the interrupted run in {work} was begun with other options ({', '.join(differing)}); "
                "use the same ones, or leave out --resume to start anew"
            )
        return
    if work.exists():
        shutil.rmtree(work)
    work.mkdir(parents=True)
    record.write_text(yaml.safe_dump(_plain(asked)), encoding="utf-8")


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def _best_dev_scores(trainer: RetrievalTrainer) -> dict[str, float]:
    scored = [entry for entry in trainer.state.log_history if f"eval_{SELECTION_METRIC}" in entry]
    if not scored:
        return {}
    best = max(scored, key=lambda entry: entry[f"eval_{SELECTION_METRIC}"])
    return {name: float(best[f"eval_{name}"]) for name in DEV_METRICS.split()}


def _training_record(
    options: TrainOptions, hyper: ResolvedHyperparameters, data: TrainingData, steps: int, precision: str
) -> dict[str, Any]:
    return {
        "collection": Path(options.collection).name if Path(options.collection).is_dir() else options.collection,
        "split": options.split or "",
        "queries": len(data.positives),
        "negatives": Path(options.negatives).name if options.negatives else "in-batch",
        "negatives_per_query": hyper.negatives_per_query,
        "batch_size": hyper.batch_size,
        "learning_rate": hyper.lr,
        "temperature": options.temperature if options.kind == "bi-encoder" else None,
        "steps": steps,
        "seed": options.seed,
        "precision": precision,
        "torch_threads": torch.get_num_threads(),
    }


def _write_checkpoint(
    output: Path,
    model: BiEncoder | CrossEncoder,
    config: RetrieverConfig,
    options: TrainOptions,
    hyper: ResolvedHyperparameters,
    history: list[dict[str, Any]],
) -> None:
    fingerprint = fingerprint_bi_encoder if config.kind == "bi-encoder" else fingerprint_cross_encoder
    if Path(config.backbone).is_dir():
        LOG.info(
            "the backbone is a local directory (%s); the checkpoint needs it at the same place",
            config.backbone,
        )
    with atomic_directory(output) as directory:
        save_weights(_network(model), directory)
        model.tokenizer.save_pretrained(directory)
        config = replace(config, fingerprint=fingerprint(config, weights_fingerprint(directory)))
        config.save(directory)
        (directory / "README.md").write_text(model_card(config), encoding="utf-8")
        write_json(directory / "history.json", history)
        resolved = {**_plain(asdict(options)), **asdict(hyper)}
        # Only what --config of this kind takes, so that the file starts the same run again.
        unused = {"resume", *(BI_ENCODER_ONLY if options.kind == "cross-encoder" else ())}
        resolved = {key: value for key, value in resolved.items() if key not in unused}
        (directory / "train_config.yaml").write_text(yaml.safe_dump(resolved, sort_keys=False), encoding="utf-8")
