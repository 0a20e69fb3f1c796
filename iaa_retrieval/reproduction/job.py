"""What the ``reproduce`` verb does with the conditions that were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.reproduction.checkpoints import store_checkpoint
from iaa_retrieval.reproduction.commands import commands_of, runs_directory, trains
from iaa_retrieval.reproduction.conditions import UNTUNED, Condition, Reproduction
from iaa_retrieval.reproduction.entering import enter_scores
from iaa_retrieval.reproduction.rate_search import search_rates
from iaa_retrieval.reproduction.results import result_file, write_result
from iaa_retrieval.reproduction.runner import MISSES, Comparison, compare, run_condition


@dataclass(frozen=True)
class JobOptions:
    """How to run conditions.

    Attributes:
        directory: where outputs go; None is ``runs/NAME``.
        from_checkpoint: use the committed checkpoints instead of training.
        skip_without_checkpoint: leave out, with a line that says so, what then has no checkpoint (full fine-tuning is
            too large to commit); else that is an error.
        record: keep what is measured in ``results/``, and enter the scores of a row that has none yet into the YAML;
            only of a run from nothing.
        store_checkpoint: keep the trained adapter in ``checkpoints/``; likewise.
    """

    directory: Path | None = None
    from_checkpoint: bool = False
    skip_without_checkpoint: bool = False
    display_commands: bool = False
    record: bool = False
    store_checkpoint: bool = False


def run_job(
    reproduction: Reproduction, conditions: Sequence[Condition], options: JobOptions
) -> tuple[list[Comparison], bool]:
    """Run conditions one after the other; one that fails is said, and does not keep the others from running.

    Returns:
        Every comparison, and whether all is well: nothing failed, and no score was missed.
    """
    comparisons: list[Comparison] = []
    failed = False
    for condition in conditions:
        label = _label(reproduction, condition)
        if options.skip_without_checkpoint and options.from_checkpoint and _lacks_checkpoint(reproduction, condition):
            click.echo(f"{label}: left out, no checkpoint of it is committed", err=True)
            continue
        try:
            comparisons += _run(reproduction, condition, options)
        except IaaRetrievalError as error:
            _report(label, error)
            failed = True
    missed = any(comparison.outcome in MISSES for comparison in comparisons)
    return comparisons, not (failed or missed)


def search_job(reproduction: Reproduction, conditions: Sequence[Condition], options: JobOptions) -> bool:
    """Try the learning rates of every condition that is trained; whether none failed."""
    well = True
    for condition in conditions:
        if condition.method == UNTUNED:
            continue
        label = _label(reproduction, condition)
        try:
            tried = search_rates(reproduction, condition, options.directory or runs_directory(reproduction))
            scores = ", ".join(f"{rate}: {score:.4f}" for rate, score in tried.scores.items())
            click.echo(f"{label}: dev {tried.metric} {scores}; best {tried.best}")
        except IaaRetrievalError as error:
            _report(label, error)
            well = False
    return well


def _label(reproduction: Reproduction, condition: Condition) -> str:
    return f"{reproduction.name} {condition.name} ({condition.stage})"


def _report(label: str, error: IaaRetrievalError) -> None:
    click.echo(f"Error: {label}: {' '.join(str(error).splitlines())}", err=True)


def show_commands(reproduction: Reproduction, conditions: Sequence[Condition], options: JobOptions) -> None:
    """Print what ``run_job`` would run."""
    directory = options.directory or runs_directory(reproduction)
    for condition in conditions:
        lines: dict[str, None] = {}
        for seed in condition.seeds[:1] if options.from_checkpoint else condition.seeds:
            commands = commands_of(
                reproduction, condition, directory, seed=seed, from_checkpoint=options.from_checkpoint
            )
            lines |= dict.fromkeys(commands)
        click.echo(f"# {condition.name} ({condition.stage})")
        click.echo("\n".join(lines))


def _lacks_checkpoint(reproduction: Reproduction, condition: Condition) -> bool:
    return trains(reproduction, condition) and not reproduction.checkpoint(condition).is_dir()


def _run(reproduction: Reproduction, condition: Condition, options: JobOptions) -> list[Comparison]:
    directory = options.directory or runs_directory(reproduction)
    result = run_condition(
        reproduction,
        condition,
        directory,
        from_checkpoint=options.from_checkpoint,
        display_commands=options.display_commands,
    )
    if options.record:
        path = result_file(reproduction, condition)
        write_result(path, result)
        click.echo(f"wrote {path}")
        if not condition.scores:
            enter_scores(reproduction, condition, result)
            click.echo(f"entered the scores into {reproduction.name}.yaml; write the pages with --generate-report")
    if options.store_checkpoint:
        _store_checkpoint(reproduction, condition, directory)
    return compare(reproduction, condition, result)


def _store_checkpoint(reproduction: Reproduction, condition: Condition, directory: Path) -> None:
    """The first seed's."""
    topics = next(iter(reproduction.columns(condition)))
    for step in reproduction.chain(condition, topics):
        if step.trains:
            target = reproduction.checkpoint(condition)
            size = store_checkpoint(directory / step.name, target)
            click.echo(f"wrote {target} ({size:,} bytes)")
