"""Measure how the steps of tuning methods move the hidden states, against how they should move."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from iaa_retrieval.device_options import device_field
from iaa_retrieval.options import Checked, NamesOf, above, at_least, flat, one_of, option
from iaa_retrieval.training.losses.loss import KINDS
from iaa_retrieval.training.option_groups import DEFAULT_BUDGET
from iaa_retrieval.tuning.methods import get_method, method_names

if TYPE_CHECKING:
    from iaa_retrieval.analysis.update_direction import Measured
    from iaa_retrieval.training.options import TrainOptions

LOG = logging.getLogger("iaa_retrieval")
NAME = "update-direction"


@dataclass(frozen=True, kw_only=True)
class UpdateDirectionOptions(Checked):
    """Trainings of several methods alike, each measured on one batch between its steps.

    Everything is computed in fp32: in a lower precision the change of a step would be lost in rounding.
    """

    collection: str = option(help="ir_datasets id, directory in BEIR layout, or 'embedded'.", metavar="ID-or-DIR")
    output: str = option(help="Directory for figure, data and table.", type=click.Path(file_okay=False))
    kind: str = option(KINDS[0], help="What is trained.", check=one_of(*KINDS))
    methods: tuple[str, ...] = option(
        (), help="Methods to compare; may be repeated.  [default: all]", flags=("--method",), type=NamesOf(method_names)
    )
    split: str | None = option(None, help="Training split of the collection.")
    negatives: str | None = option(
        None,
        help="TREC run of the training queries to take hard negatives from.",
        type=click.Path(dir_okay=False),
        metavar="RUN",
    )
    train_queries: int | None = option(
        None, help="Train on so many queries, drawn by seed.", default_text="all", check=at_least(1)
    )
    backbone: str = option("all-MiniLM-L6-v2", help="Pretrained encoder.", metavar="PATH-or-HUB-ID")
    budget: str = option(DEFAULT_BUDGET, help="Share of the backbone's parameters to train.", metavar="SHARE")
    steps: int = option(200, help="Training steps of each method.", check=at_least(1))
    lr: float | None = option(
        None, help="Peak learning rate of every method.", default_text="each method's own", check=above(0)
    )
    batch_size: int | None = option(
        None, help="Queries per training step.", default_text="that of the kind", check=at_least(1)
    )
    measured_queries: int = option(16, help="Queries in the batch that is measured.", check=at_least(1))
    train_max_length: int | None = option(
        None, help="Tokens of a document (or pair) in training.", default_text="what the backbone says"
    )
    seed: int = option(42, help="Seed of everything random.")
    device: str = device_field()
    resume: bool = option(False, help="Continue interrupted work of the same command.")
    overwrite: bool = option(False, help="Discard interrupted work.")

    @property
    def chosen_methods(self) -> tuple[str, ...]:
        """The methods, each once; all there are where none is named."""
        return tuple(dict.fromkeys(self.methods)) or tuple(method_names())


def analyze_update_direction(options: UpdateDirectionOptions) -> tuple[list[Measured], tuple[Path, ...]]:
    """Train every method and write ``update-direction.png``, ``.svg``, ``.csv`` and ``.txt`` into ``options.output``.

    What finished trainings gave is kept beside the output until all is done, so that ``resume`` goes on with the next.

    Returns:
        What was measured, and the paths in this order.

    Raises:
        UsageError: options that contradict each other, a method or the backbone; interrupted work, and neither
            ``resume`` nor ``overwrite``.
        IaaRetrievalError: data that cannot be trained on, or another process that makes the same output.
    """
    from iaa_retrieval.analysis.figures import write_report
    from iaa_retrieval.analysis.update_direction import load_measured, measure_training, save_measured
    from iaa_retrieval.analysis.update_direction_report import direction_table, draw_directions, summary_of
    from iaa_retrieval.work_in_progress import work_in_progress

    output = Path(options.output)
    work = output.absolute().with_name(f".{output.absolute().name}.{NAME}")
    runs = {method: _run_of(method, options, work / method) for method in options.chosen_methods}
    for run in runs.values():
        run.resolved()  # refuses what cannot be meant before anything is trained
    elsewhere = ("output", "resume", "overwrite")
    settings = {key: value for key, value in flat(options).items() if key not in elsewhere}
    settings["methods"] = list(runs)
    measured: list[Measured] = []
    with work_in_progress(work, settings, resume=options.resume, overwrite=options.overwrite):
        for number, (method, run) in enumerate(runs.items(), start=1):
            kept = work / f"{method}.json"
            if not kept.is_file():
                LOG.info("method %s (%d of %d): %d steps", method, number, len(runs), options.steps)
                save_measured(kept, measure_training(run, options.measured_queries))
                shutil.rmtree(run.output, ignore_errors=True)
            measured += load_measured(kept)
        paths = write_report(output, NAME, draw_directions(measured), direction_table(measured), summary_of(measured))
        shutil.rmtree(work)
    return measured, paths


def _run_of(method: str, options: UpdateDirectionOptions, output: Path) -> TrainOptions:
    """The training of one method; a training that was interrupted before its end is begun anew."""
    from iaa_retrieval.training.options import TrainOptions

    same = ("kind", "collection", "split", "negatives", "train_queries", "backbone", "batch_size", "lr")
    values: dict[str, Any] = {name: getattr(options, name) for name in (*same, "train_max_length", "seed", "device")}
    if get_method(method).dimensions:  # the others train what they train
        values["budget"] = options.budget
    return TrainOptions.of(
        method=method, max_steps=options.steps, output=str(output), precision="fp32", overwrite=True, **values
    )
