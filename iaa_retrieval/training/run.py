"""One training run, from options to a checkpoint."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from transformers import TrainerCallback, set_seed

from iaa_retrieval.collections.negatives import mine_negatives
from iaa_retrieval.collections.runs import read_run, read_tag
from iaa_retrieval.collections.types import Run
from iaa_retrieval.errors import UsageError
from iaa_retrieval.files import require_empty
from iaa_retrieval.inference.stored_vectors import open_stored_vectors
from iaa_retrieval.models.precision import choose_device, choose_precision
from iaa_retrieval.models.retriever import Retriever
from iaa_retrieval.models.retriever_config import Interpolation
from iaa_retrieval.models.truncation import require_matryoshka
from iaa_retrieval.options import changed
from iaa_retrieval.training.across_processes import launched_processes
from iaa_retrieval.training.data import ExampleDataset
from iaa_retrieval.training.default_dev import with_default_dev
from iaa_retrieval.training.dev import RerankedDev
from iaa_retrieval.training.frozen_documents import with_settings_of_index
from iaa_retrieval.training.interpolation import learn_interpolation
from iaa_retrieval.training.judgments import Judgments, load_judgments, make_examples, mine_training_data
from iaa_retrieval.training.kinds import TRAINING_KINDS, DevEvaluator, TrainingKind
from iaa_retrieval.training.loop import best_dev_scores, make_dev_evaluator, make_trainer, work_settings
from iaa_retrieval.training.memory_report import say_memory
from iaa_retrieval.training.optimizers import require_optimizer
from iaa_retrieval.training.options import TrainOptions
from iaa_retrieval.training.output import training_record, write_checkpoint
from iaa_retrieval.training.query_side import query_side_kind
from iaa_retrieval.training.refreshed_negatives import RefreshedNegatives
from iaa_retrieval.training.trainer import RetrievalTrainer, finite_entries, last_checkpoint, require_finite_weights
from iaa_retrieval.training.tuned_model import TunedModel, new_tuned_model
from iaa_retrieval.versions import library_versions
from iaa_retrieval.work_in_progress import require_free, work_in_progress


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


class FirstStage(NamedTuple):
    """Files of the runs to train a re-ranker on: of the training queries and, where not in it too, the dev queries."""

    train: str
    dev: str | None = None


MakeFirstStage = Callable[[TrainOptions, Judgments], FirstStage]
"""Makes them where none were named, or finds those that it made before."""


def needs_first_stage(options: TrainOptions) -> bool:
    """Whether a kind is trained that needs a run, and none is named."""
    return TRAINING_KINDS[options.kind].compares_within_query and not options.data.negatives_run


def train_retriever(
    options: TrainOptions, first_stage: MakeFirstStage | None = None, callbacks: Sequence[TrainerCallback] = ()
) -> TrainResult:
    """Tune a bi-encoder or cross-encoder and write its checkpoint, whole or not at all.

    Work in progress lies in ``.OUTPUT.training`` beside the output; with ``resume`` it is continued, to the same
    weights as an uninterrupted run, and with ``overwrite`` it is discarded (and a finished checkpoint replaced).

    Args:
        options: all that the run depends on.
        first_stage: makes the runs that a re-ranker learns from, where none are named; without it that is an error.
        callbacks: further listeners, which transformers' trainer tells of every step; they are no part of the run.

    Raises:
        UsageError: options that contradict each other, the method or the backbone; interrupted work, and neither
            ``resume`` nor ``overwrite``.
        IaaRetrievalError: data that cannot be trained on, or another process that makes the same output.
    """
    hyper = options.resolved()
    options, kind = _chosen_kind(options)
    output = Path(options.output)
    work = output.absolute().with_name(f".{output.name}.training")
    processes = launched_processes()
    device, precision = _require_what_a_run_needs(options, work, processes)

    set_seed(options.seed)
    # First: what is wrong with the backbone or the method is known before a collection is opened.
    model, dimensions, counts = _tuned_model(kind, options, device, precision)
    options, judgments, run = _read_judgments(options, first_stage)
    run = run or (_find_hits(kind, model, options, judgments, precision) if hyper.negatives_per_query else {})
    data = mine_training_data(kind, options.data, judgments, run, hyper.negatives_per_query)
    examples = make_examples(kind, data, hyper, options.seed, processes)
    evaluate_dev = make_dev_evaluator(kind, model, judgments, run, options.dev, options.seed, precision)
    trainer = make_trainer(kind, options, hyper, model, examples, work, precision, evaluate_dev)
    for callback in (*callbacks, *_refreshing(kind, model, options, judgments, examples, work, precision)):
        trainer.add_callback(callback)
    say_memory(kind, options, hyper, model, examples, precision)
    with ExitStack() as held:
        with trainer.args.main_process_first(local=False):
            if trainer.is_world_process_zero():
                settings = work_settings(options, data, judgments.dev)
                held.enter_context(work_in_progress(work, settings, resume=options.resume, overwrite=options.overwrite))
        seconds = _train(trainer, last_checkpoint(work) if options.resume else None)
        config = replace(
            model.config,
            method=options.tuning.method_name,
            dimensions=dimensions,
            trainable_parameters=counts,
            training=training_record(options, hyper, data, trainer.state.global_step, precision),
            versions=library_versions(),
            dev_scores=best_dev_scores(trainer),
            interpolation=_learnt_interpolation(evaluate_dev, options),
        )
        trainer.accelerator.wait_for_everyone()
        with trainer.args.main_process_first(local=False):
            if trainer.is_world_process_zero():
                history = finite_entries(trainer.state.log_history)
                write_checkpoint(output, model, config, options, hyper, history, work / "runs")
                shutil.rmtree(work, ignore_errors=True)
    return TrainResult(output, counts, config.dev_scores, seconds)


def _read_judgments(options: TrainOptions, first_stage: MakeFirstStage | None) -> tuple[TrainOptions, Judgments, Run]:
    """What is learnt from, the run that gives its negatives, and the options with what was found or made for them."""
    judgments = load_judgments(options.data, options.dev, options.seed)
    if judgments.collection.split is not None:
        options = changed(options, split=judgments.collection.split)  # recorded also where nobody had to name it
    run = read_run(options.data.negatives_run) if options.data.negatives_run else {}
    kind = TRAINING_KINDS[options.kind]
    judgments = with_default_dev(kind, judgments, options.data, options.dev, run, options.seed)
    if first_stage is not None and needs_first_stage(options):
        made = first_stage(options, judgments)
        options = changed(options, negatives=made.train, dev_run=options.dev.dev_run or made.dev)
        run = read_run(made.train)
    return options, judgments, run


def _chosen_kind(options: TrainOptions) -> tuple[TrainOptions, TrainingKind]:
    """How the model is trained; where queries alone are, the options with the settings of the index's encoder."""
    asked = options.query_side
    if asked.index is None:
        return options, TRAINING_KINDS[options.kind]
    index = open_stored_vectors(asked.index)
    return with_settings_of_index(options, index), query_side_kind(index, asked.random_negatives, options.seed)


def _find_hits(
    kind: TrainingKind, model: Retriever, options: TrainOptions, judgments: Judgments, precision: str
) -> Run:
    """A run of the training queries by the model as it is; none where the kind cannot make one."""
    if kind.find_hits is None:
        return {}
    return kind.find_hits(model, judgments.collection, judgments.train, options.data.negative_ranks[1], precision)


def _refreshing(
    kind: TrainingKind,
    model: Retriever,
    options: TrainOptions,
    judgments: Judgments,
    examples: ExampleDataset,
    work: Path,
    precision: str,
) -> list[TrainerCallback]:
    """What searches for negatives again in each epoch, if that is asked for."""
    if not options.query_side.refresh_negatives:
        return []
    (first, last), margin = options.data.negative_ranks, options.data.negative_margin

    def mine() -> dict[str, list[str]]:
        run = _find_hits(kind, model, options, judgments, precision)
        return mine_negatives(run, judgments.train, first_rank=first, last_rank=last, margin=margin)[0]

    return [RefreshedNegatives(examples, mine, work / "negatives")]


def _require_what_a_run_needs(options: TrainOptions, work: Path, processes: int) -> tuple[str, str]:
    """Device and precision of a run, for which there must be room; what is refused here has cost nothing yet.

    Raises:
        UsageError, IaaRetrievalError: as for ``train_retriever``.
    """
    require_empty(Path(options.output), overwrite=options.overwrite)
    if processes == 1:  # of several, another may have begun the work already
        require_free(work, resume=options.resume, overwrite=options.overwrite)
    options.tuning.chosen_method.check_configuration()  # refuses what cannot be meant before anything is loaded
    if processes > 1 and needs_first_stage(options):
        raise UsageError(
            f"{processes} processes cannot make a first stage together; give a run of the training queries with "
            "--negatives (a training in one process makes one and keeps it)"
        )
    if processes > 1 and options.device.startswith("cuda:"):
        raise UsageError(f"{processes} processes train on a GPU each; write --device cuda instead of {options.device}")
    device = choose_device(options.device)
    precision = choose_precision(options.precision, device)
    options.memory.loading(precision, device).require_possible(processes)
    require_optimizer(options.memory.optimizer, device)
    return device, precision


def _tuned_model(kind: TrainingKind, options: TrainOptions, device: str, precision: str) -> TunedModel:
    """The model to train, whose vectors are long enough for what they shall be cut to."""
    tuned = new_tuned_model(kind, options.tuning, options.text, device, precision, options.memory)
    if options.objective.matryoshka:
        width = tuned.model.config.truncate_dim or tuned.model.width
        require_matryoshka(options.objective.matryoshka, width, options.tuning.backbone)
    return tuned


def _learnt_interpolation(evaluate_dev: DevEvaluator | None, options: TrainOptions) -> Interpolation | None:
    """What the dev candidates say of the weights that are kept; None where nothing is re-ranked."""
    source = options.dev.dev_run or options.data.negatives_run
    if not isinstance(evaluate_dev, RerankedDev) or source is None:
        return None
    return learn_interpolation(
        evaluate_dev.judged,
        evaluate_dev.run(),
        evaluate_dev.candidates,
        metric=options.dev.dev_metric,
        first_stage=Path(source).name,
        tag=read_tag(source),
    )


def _train(trainer: RetrievalTrainer, checkpoint: str | None) -> float:
    """Train to the end, from ``checkpoint`` on if there is one; the seconds that it took."""
    seconds = trainer.train(resume_from_checkpoint=checkpoint).metrics["train_runtime"]
    trainer.finish_method()
    require_finite_weights(trainer.model)
    if trainer.is_world_process_zero():
        for cuts in trainer.data_collator.cuts:
            cuts.warn()
    return float(seconds)
