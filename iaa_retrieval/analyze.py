"""``python -m iaa_retrieval.analyze``: instruments that show how tuning learns."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from iaa_retrieval.cli import Verb
from iaa_retrieval.jobs.analyze_convergence import ConvergenceOptions
from iaa_retrieval.options import build, click_options


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Show how tuning learns; each instrument writes a figure (PNG, SVG), its data (CSV) and a table (text)."""


@main.command("convergence", cls=Verb)
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click_options(ConvergenceOptions)
def convergence(**values: Any) -> None:
    """Loss and dev curves of trained runs: which method learns faster, and how far it gets.

    A RUN is a checkpoint directory, or the results file of a reproduced condition. Runs of different collections,
    backbones, batch sizes or losses are refused.

    \b
    Example:
      python -m iaa_retrieval.analyze convergence runs/iaa-l runs/adapter --output runs/convergence
    """
    from iaa_retrieval.analysis.convergence import convergence_text
    from iaa_retrieval.jobs.analyze_convergence import analyze_convergence

    found, files = analyze_convergence(build(ConvergenceOptions, values))
    click.echo(convergence_text(found))
    _list(files)


def _list(files: Iterable[Path]) -> None:
    click.echo("\n" + "\n".join(map(str, files)), err=True)


if __name__ == "__main__":
    main(prog_name="python -m iaa_retrieval.analyze")
