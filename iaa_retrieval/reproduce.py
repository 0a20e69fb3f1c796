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
    from iaa_retrieval.reproduction.runner import Comparison


@click.command(cls=Verb, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--collection", required=True, metavar="NAME", help="E.g. beir-scifact (see reproductions/).")
@click.option("--condition", metavar="C", help="E.g. bm25 or iaa-l-0.5.")
@click.option("--all", "all_conditions", is_flag=True, help="Every condition.")
@click.option("--stage", type=click.Choice(("retrieval", "reranking")), help="Only this stage.  [default: both]")
@click.option("--dry-run", is_flag=True, help="Show the commands and run nothing.")
@click.option("--display-commands", is_flag=True, help="Show each command as it runs.")
@click.option("--list-conditions", is_flag=True, help="List the conditions and their expected scores.")
@click.option("--generate-report", is_flag=True, help="Write the Markdown and HTML page from the YAML.")
@click.option("--check-docs", is_flag=True, help="Fail when a page differs from what the YAML generates.")
@click.option("--directory", metavar="RUNS", help="Where outputs go.  [default: runs/NAME]")
def main(
    collection: str,
    condition: str | None,
    all_conditions: bool,
    stage: str | None,
    dry_run: bool,
    display_commands: bool,
    list_conditions: bool,
    generate_report: bool,
    check_docs: bool,
    directory: str | None,
) -> None:
    """Run conditions of a reproduction from raw collection to score; a miss exits with 1.

    \b
    Examples:
      python -m iaa_retrieval.reproduce --collection beir-scifact --list-conditions
      python -m iaa_retrieval.reproduce --collection beir-scifact --condition bm25
    """
    from iaa_retrieval.reproduction.conditions import load_reproduction, reproductions_directory
    from iaa_retrieval.reproduction.report import commands_of, page_files, runs_directory

    reproduction = load_reproduction(collection)
    if list_conditions:
        click.echo(_listing(reproduction))
        return
    if generate_report or check_docs:
        pages = page_files(reproduction, reproductions_directory())
        sys.exit(_check_pages(pages) if check_docs else _write_pages(pages))
    if all_conditions == (condition is not None):
        raise UsageError("say what to run: --condition C or --all (see --list-conditions)")
    chosen = reproduction.select(condition, stage)
    target = Path(directory) if directory else runs_directory(reproduction)
    if dry_run:
        for entry in chosen:
            click.echo(f"# {entry.name} ({entry.stage})")
            click.echo("\n".join(commands_of(reproduction, entry, target)))
        return
    sys.exit(_run(reproduction, chosen, target, display_commands))


def _run(reproduction: Reproduction, chosen: list[Condition], target: Path, display_commands: bool) -> int:
    from iaa_retrieval.reproduction.runner import Outcome, run_conditions

    comparisons = run_conditions(reproduction, chosen, target, display_commands=display_commands)
    click.echo(_comparison_table(comparisons))
    return 0 if all(c.outcome in (Outcome.OK, Outcome.PAPER) for c in comparisons) else 1


def _comparison_table(comparisons: list[Comparison]) -> str:
    lines = [f"{'condition':24}{'stage':12}{'metric':10}{'expected':>10}{'measured':>10}  outcome"]
    lines += [
        f"{c.condition:24}{c.stage:12}{c.metric:10}{c.expected.value:10.4f}{c.measured:10.4f}  {c.outcome.value}"
        for c in comparisons
    ]
    return "\n".join(lines)


def _listing(reproduction: Reproduction) -> str:
    return "\n".join(
        f"{c.name:20}{c.stage:12}"
        + "  ".join(f"{metric} {score.value:.4f} ({score.provenance})" for metric, score in c.scores.items())
        for c in reproduction.conditions
    )


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
