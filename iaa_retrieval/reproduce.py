"""``python -m iaa_retrieval.reproduce``: re-run published conditions and check every score."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from iaa_retrieval.cli import Verb
from iaa_retrieval.errors import UsageError

if TYPE_CHECKING:
    from iaa_retrieval.reproduction.conditions import Condition, Reproduction

ALL_COLLECTIONS = "all"


@click.command(cls=Verb, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--collection", required=True, metavar="NAME", help="E.g. beir-scifact (see reproductions/), or all.")
@click.option("--condition", metavar="C", help="E.g. bm25 or iaa-l-0.5.")
@click.option("--all", "all_conditions", is_flag=True, help="Every condition.")
@click.option("--measured", is_flag=True, help="Every condition with a score that was measured here.")
@click.option("--stage", type=click.Choice(("retrieval", "reranking")), help="Only this stage.  [default: both]")
@click.option("--from-checkpoint", is_flag=True, help="Use the committed checkpoint instead of training.")
@click.option("--search-rates", is_flag=True, help="Only try learning rates on the dev queries, and keep the scores.")
@click.option("--dry-run", is_flag=True, help="Show the commands and run nothing.")
@click.option("--display-commands", is_flag=True, help="Show each command as it runs.")
@click.option("--list-conditions", is_flag=True, help="List the conditions and their expected scores.")
@click.option("--record", is_flag=True, help="Keep what is measured: results/ and, for a new row, the YAML.")
@click.option("--store-checkpoint", is_flag=True, help="Keep the trained adapter in reproductions/checkpoints/.")
@click.option("--generate-report", is_flag=True, help="Write the Markdown and HTML page (with all: and the index).")
@click.option("--check-docs", is_flag=True, help="Fail when a page differs from what would be generated.")
@click.option("--directory", metavar="RUNS", help="Where outputs go.  [default: runs/NAME]")
def main(
    collection: str,
    condition: str | None,
    all_conditions: bool,
    measured: bool,
    stage: str | None,
    from_checkpoint: bool,
    search_rates: bool,
    dry_run: bool,
    display_commands: bool,
    list_conditions: bool,
    record: bool,
    store_checkpoint: bool,
    generate_report: bool,
    check_docs: bool,
    directory: str | None,
) -> None:
    """Run conditions of a reproduction from raw collection to score; a miss or a failed command exits with 1.

    \b
    Examples:
      python -m iaa_retrieval.reproduce --collection beir-scifact --list-conditions
      python -m iaa_retrieval.reproduce --collection beir-scifact --condition bm25
      python -m iaa_retrieval.reproduce --collection all --measured --from-checkpoint
      python -m iaa_retrieval.reproduce --collection beir-scifact --stage retrieval --all --search-rates
    """
    from iaa_retrieval.reproduction.loading import load_reproduction, reproduction_names
    from iaa_retrieval.reproduction.text_tables import comparison_table, condition_list

    everything = collection == ALL_COLLECTIONS
    reproductions = [load_reproduction(name) for name in (reproduction_names() if everything else [collection])]
    if list_conditions:
        headings = [f"# {reproduction.name}\n" if everything else "" for reproduction in reproductions]
        click.echo("\n".join(head + condition_list(r) for head, r in zip(headings, reproductions, strict=True)))
        return
    if generate_report or check_docs:
        pages = _pages(reproductions, with_index=everything)
        sys.exit(_check_pages(pages) if check_docs else _write_pages(pages))
    if (condition is not None) + all_conditions + measured != 1:
        raise UsageError("say what to run: --condition C, --all or --measured (see --list-conditions)")
    if everything and (condition or directory):
        raise UsageError("--condition and --directory are of one collection; name it with --collection")
    if from_checkpoint and (record or store_checkpoint):
        raise UsageError(
            "--record and --store-checkpoint keep what a run from nothing gives; leave out --from-checkpoint"
        )

    if search_rates and (dry_run or from_checkpoint or record or store_checkpoint):
        raise UsageError(
            "--search-rates only tries learning rates and keeps their dev scores; leave out --dry-run, "
            "--from-checkpoint, --record and --store-checkpoint"
        )

    from iaa_retrieval.reproduction.job import JobOptions, run_job, search_job, show_commands

    options = JobOptions(
        directory=Path(directory) if directory else None,
        from_checkpoint=from_checkpoint,
        skip_without_checkpoint=condition is None,
        display_commands=display_commands,
        record=record,
        store_checkpoint=store_checkpoint,
    )
    comparisons, well = [], True
    for reproduction in reproductions:
        chosen = _choose(reproduction, condition, stage, measured=measured, or_none=everything)
        if dry_run:
            show_commands(reproduction, chosen, options)
        elif search_rates:
            well = search_job(reproduction, chosen, options) and well
        else:
            found, fine = run_job(reproduction, chosen, options)
            comparisons += found
            well = well and fine
    if not (dry_run or search_rates):
        click.echo(comparison_table(comparisons))
    sys.exit(0 if well else 1)


def _choose(
    reproduction: Reproduction, condition: str | None, stage: str | None, *, measured: bool, or_none: bool
) -> list[Condition]:
    """The conditions asked for; with ``or_none`` a collection may have none of the stage."""
    if or_none and stage is not None and stage not in reproduction.stages:
        return []
    chosen = reproduction.select(condition, stage)
    return [entry for entry in chosen if entry.is_measured or not measured]


def _pages(reproductions: list[Reproduction], *, with_index: bool) -> dict[Path, str]:
    from iaa_retrieval.reproduction.pages.files import index_file, page_files

    pages: dict[Path, str] = {}
    for reproduction in reproductions:
        pages |= page_files(reproduction)
    return pages | (index_file(reproductions) if with_index else {})


def _write_pages(pages: dict[Path, str]) -> int:
    from iaa_retrieval.files import atomic_file

    for path, content in pages.items():
        with atomic_file(path) as stream:
            stream.write(content)
        click.echo(f"wrote {path}")
    return 0


def _check_pages(pages: dict[Path, str]) -> int:
    stale = [
        path for path, content in pages.items() if not path.is_file() or path.read_text(encoding="utf-8") != content
    ]
    for path in stale:
        click.echo(f"{path} differs from what its YAML generates; run --generate-report", err=True)
    return 1 if stale else 0


if __name__ == "__main__":
    main(prog_name="python -m iaa_retrieval.reproduce")
