"""``python -m benchmarks``: run what is missing, save every round, write docs/performance.md."""

from __future__ import annotations

import datetime
import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from benchmarks.page import performance_page
from benchmarks.section import Section
from iaa_retrieval.models.precision import hardware_class

RESULTS, PAGE = Path("docs/performance.json"), Path("docs/performance.md")
MODULES = (
    "encoding",
    "peak",
    "methods",
    "memory",
    "reranking",
    "training",
    "training_memory",
    "searching",
    "one_query",
    "starting",
    "index_types",
    "serving",
    "lucene_vectors",
)


def sections() -> list[Section]:
    """All benchmarks, in the order of the page."""
    return [importlib.import_module(f"benchmarks.{name}").SECTION for name in MODULES]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", multiple=True, type=click.Choice(MODULES), help="Run this one; may be given again.")
@click.option("--rounds", type=int, help="How many rounds of each.  [default: as many as the page has]")
@click.option("--again", is_flag=True, help="Forget the saved rounds of what is run.")
@click.option("--page", is_flag=True, help="Only write the page.")
@click.option("--directory", default="runs/bench", show_default=True, help="Where outputs go.")
@click.option("--one", hidden=True, help="Measure one round of a section here, and print what was found.")
def main(only: tuple[str, ...], rounds: int | None, again: bool, page: bool, directory: str, one: str | None) -> None:
    """Measure speed and memory beside what users would otherwise run (about two hours on two cores).

    Rounds that are saved in docs/performance.json are not run again, so an interrupted run is simply continued.
    """
    from iaa_retrieval.files import atomic_file, read_json, write_json
    from iaa_retrieval.versions import library_versions

    if one:
        section = next(section for section in sections() if section.name == one)
        work = Path(directory).absolute() / one
        work.mkdir(parents=True, exist_ok=True)
        click.echo(json.dumps(section.measure(work)))
        return
    results: dict[str, Any] = read_json(RESULTS) if RESULTS.is_file() else {}
    for section in sections():
        if page or (only and section.name not in only):
            continue
        if again:
            results.pop(section.name, None)
        wanted = rounds or section.rounds
        while len(results.get(section.name, {}).get("rounds", [])) < wanted:
            saved = results.get(section.name, {})
            done = saved.get("rounds", [])
            click.echo(f"{section.name}: round {len(done) + 1} of {wanted}", err=True)
            # In a process of its own: what one section leaves behind (threads, memory) must not touch the next.
            command = [sys.executable, "-m", "benchmarks", "--directory", directory, "--one", section.name]
            printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            found = json.loads(printed.splitlines()[-1])
            click.echo("  " + ", ".join(f"{key} {value:.4g}" for key, value in found.items()), err=True)
            results[section.name] = {
                "dates": sorted({*saved.get("dates", []), datetime.date.today().isoformat()}),
                "hardware": hardware_class(),
                "versions": library_versions(),
                "rounds": [*done, found],
            }
            write_json(RESULTS, results)
    with atomic_file(PAGE) as stream:
        stream.write(performance_page(sections(), results))


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
