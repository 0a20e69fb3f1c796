"""What the ``reproduce`` verb does with the conditions that were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.files import atomic_file
from iaa_retrieval.jobs.reproduce_options import ReproduceOptions
from iaa_retrieval.reproduction.checkpoints import store_checkpoint
from iaa_retrieval.reproduction.commands import commands_of
from iaa_retrieval.reproduction.conditions import Role
from iaa_retrieval.reproduction.loading import load_reproduction, reproduction_names
from iaa_retrieval.reproduction.new_scores import enter_scores, enter_seeds
from iaa_retrieval.reproduction.pages.claim_figures import Figure
from iaa_retrieval.reproduction.pages.files import index_file, learning_efficiency_files, page_files
from iaa_retrieval.reproduction.plan import ConditionPlan, Reproduction
from iaa_retrieval.reproduction.rate_search import search_rates
from iaa_retrieval.reproduction.results import Result, read_result, with_further_seeds, write_result
from iaa_retrieval.reproduction.runner import MISSES, Comparison, compare, run_condition
from iaa_retrieval.reproduction.text_tables import comparison_table, condition_list


def reproduce(options: ReproduceOptions) -> bool:
    """Do what is asked and say what came out; whether all is well (nothing failed, no score missed, no page stale).

    Raises:
        UsageError: an unknown collection or condition, or options that contradict each other.
        IaaRetrievalError: a YAML is malformed.
    """
    names = reproduction_names() if options.everything else [options.collection]
    reproductions = [load_reproduction(name) for name in names]
    if options.list_conditions:
        headings = [f"# {name}\n" if options.everything else "" for name in names]
        click.echo("\n".join(head + condition_list(r) for head, r in zip(headings, reproductions, strict=True)))
        return True
    if options.generate_report or options.check_docs:
        pages, figures = _pages(reproductions, of_all=options.everything)
        return _check_pages(pages, figures) if options.check_docs else _write_pages(pages, figures)
    options.check_what_to_run()
    comparisons: list[Comparison] = []
    well = True
    for reproduction in reproductions:
        chosen = _choose(reproduction, options)
        if options.dry_run:
            _show_commands(chosen, options)
        elif options.search_rates:
            well = _search_rates(chosen, options) and well
        else:
            well = _run_all(chosen, options, comparisons) and well
    if not (options.dry_run or options.search_rates):
        click.echo(comparison_table(comparisons))
    return well


def _pages(reproductions: list[Reproduction], *, of_all: bool) -> tuple[dict[Path, str], list[Figure]]:
    """The pages of each collection, and, with all of them, those that are about all."""
    pages: dict[Path, str] = {}
    for reproduction in reproductions:
        pages |= page_files(reproduction)
    if not of_all:
        return pages, []
    about_learning, figures = learning_efficiency_files(reproductions)
    return pages | index_file(reproductions) | about_learning, figures


def _write_pages(pages: dict[Path, str], figures: Sequence[Figure]) -> bool:
    for figure in figures:
        if not figure.is_drawn:
            figure.draw()
            click.echo(f"wrote {figure.drawing_file}")
    for path, content in pages.items():
        with atomic_file(path) as stream:
            stream.write(content)
        click.echo(f"wrote {path}")
    return True


def _check_pages(pages: dict[Path, str], figures: Sequence[Figure]) -> bool:
    stale = [
        path for path, content in pages.items() if not path.is_file() or path.read_text(encoding="utf-8") != content
    ]
    stale += [figure.drawing_file for figure in figures if not figure.is_drawn]
    for path in stale:
        click.echo(f"{path} differs from what its YAML generates; run --generate-report", err=True)
    return not stale


def _choose(reproduction: Reproduction, options: ReproduceOptions) -> list[ConditionPlan]:
    """The conditions asked for; of every collection, one may have none of the stage."""
    if options.everything and options.stage is not None and options.stage not in reproduction.stages:
        return []
    chosen = reproduction.select(options.condition, options.stage)
    return [plan for plan in chosen if plan.condition.is_measured or not options.measured]


def _run_all(plans: Sequence[ConditionPlan], options: ReproduceOptions, comparisons: list[Comparison]) -> bool:
    """Run conditions one after the other; one that fails is said, and does not keep the others from running."""
    well = True
    for plan in plans:
        if options.from_checkpoint and options.condition is None and plan.lacks_checkpoint:
            click.echo(f"{plan.label}: left out, no checkpoint of it is committed", err=True)
            continue
        try:
            found = _add_seeds(plan, options) if options.further_seeds else _run(plan, options)
        except IaaRetrievalError as error:
            _report(plan, error)
            well = False
        else:
            comparisons += found
            well = well and not any(comparison.outcome in MISSES for comparison in found)
    return well


def _search_rates(plans: Sequence[ConditionPlan], options: ReproduceOptions) -> bool:
    """Try the learning rates of every condition that is trained; whether none failed."""
    well = True
    for plan in plans:
        if plan.role is Role.UNTUNED:
            continue
        try:
            tried = search_rates(plan, _directory(plan, options))
            scores = ", ".join(
                f"{rate}: {'diverged' if score is None else f'{score:.4f}'}" for rate, score in tried.scores.items()
            )
            edge = " (at the edge of the range)" if tried.at_edge else ""
            click.echo(f"{plan.label}: dev {tried.metric} {scores}; best {tried.best or 'none'}{edge}")
        except IaaRetrievalError as error:
            _report(plan, error)
            well = False
    return well


def _report(plan: ConditionPlan, error: IaaRetrievalError) -> None:
    click.echo(f"Error: {plan.label}: {' '.join(str(error).splitlines())}", err=True)


def _show_commands(plans: Sequence[ConditionPlan], options: ReproduceOptions) -> None:
    for plan in plans:
        directory = _directory(plan, options)
        lines: dict[str, None] = {}
        for seed in plan.condition.seeds[:1] if options.from_checkpoint else plan.condition.seeds:
            lines |= dict.fromkeys(commands_of(plan, directory, seed=seed, from_checkpoint=options.from_checkpoint))
        click.echo(f"# {plan.name} ({plan.stage})")
        click.echo("\n".join(lines))


def _directory(plan: ConditionPlan, options: ReproduceOptions) -> Path:
    return options.directory or plan.reproduction.printed_directory


def _run(plan: ConditionPlan, options: ReproduceOptions) -> list[Comparison]:
    directory = _directory(plan, options)
    result = run_condition(
        plan, directory, from_checkpoint=options.from_checkpoint, display_commands=options.display_commands
    )
    if options.record:
        record_result(plan, result)
    if options.store_checkpoint:
        _store_checkpoint(plan, directory)
    return compare(plan, result)


def _add_seeds(plan: ConditionPlan, options: ReproduceOptions) -> list[Comparison]:
    """Train a measured row with further seeds, and keep what comes out beside what is kept of its others."""
    further = options.further_seeds
    if not plan.result_file.is_file():
        raise IaaRetrievalError(f"{plan.result_file} is not there; measure the row without --add-seeds first")
    earlier = read_result(plan.result_file)
    if present := sorted(earlier.seeds.keys() & set(further)):
        raise IaaRetrievalError(f"{plan.result_file} holds seed {present[0]} already; leave it out of --add-seeds")
    condition = replace(plan.condition, seeds=(*earlier.seeds, *further), scores={})
    extended = replace(plan, condition=condition)
    later = run_condition(extended, _directory(plan, options), seeds=further, display_commands=options.display_commands)
    result = with_further_seeds(earlier, later)
    write_result(plan.result_file, result)
    enter_seeds(plan, result)
    click.echo(f"wrote {plan.result_file}, and the scores of all its seeds into {plan.reproduction.name}.yaml")
    return compare(extended, result)


def record_result(plan: ConditionPlan, result: Result) -> None:
    """Keep what a row measured and, of a new row, enter the scores into the YAML.

    Raises:
        IaaRetrievalError: see ``enter_scores``.
    """
    write_result(plan.result_file, result)
    click.echo(f"wrote {plan.result_file}")
    if not plan.condition.scores:
        enter_scores(plan, result)
        click.echo(f"entered the scores into {plan.reproduction.name}.yaml; write the pages with --generate-report")


def _store_checkpoint(plan: ConditionPlan, directory: Path) -> None:
    """The first seed's."""
    for step in plan.chain(next(iter(plan.columns))):
        if step.trains:
            size = store_checkpoint(directory / step.name, plan.checkpoint)
            click.echo(f"wrote {plan.checkpoint} ({size:,} bytes)")
