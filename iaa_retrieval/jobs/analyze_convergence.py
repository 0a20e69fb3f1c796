"""Compare how trained runs learnt, and write the figure, its data and the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from iaa_retrieval.analysis.convergence import (
    SMOOTHING,
    Convergence,
    convergence,
    convergence_table,
    convergence_text,
    curves_table,
    draw_convergence,
    reached_table,
)
from iaa_retrieval.analysis.figures import write_report
from iaa_retrieval.analysis.learning_runs import LearningRun, read_learning_runs, require_same_task, unchecked
from iaa_retrieval.analysis.run_groups import grouped
from iaa_retrieval.errors import UsageError
from iaa_retrieval.options import Checked, one_of, option, share
from iaa_retrieval.training.option_groups import DEV_METRICS

NAME = "convergence"


@dataclass(frozen=True)
class ConvergenceOptions(Checked):
    """Which runs to compare, and how; ``runs`` are checkpoints or results of reproductions."""

    runs: tuple[Path, ...]
    output: str = option(help="Directory for the figure and its data.", type=click.Path(file_okay=False))
    label: tuple[str, ...] = option(
        (),
        help="What to call a run; once for each RUN, in their order. Runs of one label are one line, with a band.",
        default_text="the method, and what tells it from others; runs that differ in their seed alone are one line",
    )
    metric: str = option(DEV_METRICS[0], help="Dev score to show.", check=one_of(*DEV_METRICS))
    smoothing: float = option(SMOOTHING, help="Weight of the moving average of losses; 0 is none.", check=share())


def analyze_convergence(options: ConvergenceOptions) -> tuple[Convergence, tuple[Path, ...]]:
    """Write ``convergence.png``, ``.svg``, ``.csv``, ``.txt`` and two tables as CSV to ``options.output``.

    Returns:
        What was found, and the files.

    Raises:
        UsageError: not a label for each run; a run that is none; runs of different tasks.
        IaaRetrievalError: a run without a history; a file that cannot be written.
    """
    if options.label and len(options.label) != len(options.runs):
        raise UsageError(f"{len(options.label)} --label for {len(options.runs)} runs; give one for each, or none")
    runs, labels, notes = _read(options)
    require_same_task(runs)
    if open_questions := unchecked(runs):
        notes.append(
            f"Not every run says its {', '.join(open_questions).replace('_', ' ')}; "
            "that these agree was not checked for those that do not."
        )
    found = convergence(grouped(runs, labels), options.metric, options.smoothing)
    found = Convergence(found.groups, found.metric, found.smoothing, (*notes, *found.notes))
    files = write_report(
        options.output,
        NAME,
        draw_convergence(found),
        curves_table(found),
        convergence_text(found),
        {"numbers": convergence_table(found), "reached": reached_table(found)},
    )
    return found, files


def _read(options: ConvergenceOptions) -> tuple[list[LearningRun], Sequence[str | None], list[str]]:
    """The runs with a label each, and notes of what was left out."""
    if not options.label:
        runs, left_out = read_learning_runs(options.runs)
        notes = [f"Left out, as they hold no history ({len(left_out)}): {', '.join(left_out)}."] if left_out else []
        return runs, [], notes
    runs, labels = [], []
    for path, label in zip(options.runs, options.label, strict=True):
        of_path, _ = read_learning_runs([path])
        runs += of_path
        labels += [label] * len(of_path)
    return runs, labels, []
