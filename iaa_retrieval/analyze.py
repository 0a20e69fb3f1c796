"""``python -m iaa_retrieval.analyze``: instruments that show how tuning learns."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from iaa_retrieval.cli import Verb
from iaa_retrieval.jobs.analyze_convergence import ConvergenceOptions
from iaa_retrieval.jobs.analyze_cost import CostOptions
from iaa_retrieval.jobs.analyze_rates import RatesOptions
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


@main.command("rates", cls=Verb)
@click.argument("saved", metavar="[SAVED]...", nargs=-1, type=click.Path(path_type=Path))
@click_options(RatesOptions)
def rates(**values: Any) -> None:
    """Dev score against the learning rate: how wide the plateau is, and how many rates fail.

    A SAVED is a checkpoint, or a CONDITION.rates.json of a reproduction. With --collection, the runs are trained first,
    each into OUTPUT/runs/METHOD-RATE; the same command again continues where it was interrupted.

    \b
    Example:
      python -m iaa_retrieval.analyze rates reproductions/results/beir-scifact/retrieval/*.rates.json --output rates
      python -m iaa_retrieval.analyze rates --collection embedded --method lora --method iaa-l --output rates
    """
    from iaa_retrieval.analysis.rates import rates_text
    from iaa_retrieval.jobs.analyze_rates import analyze_rates

    found, files = analyze_rates(build(RatesOptions, values))
    click.echo(rates_text(found))
    _list(files)


@main.command("cost", cls=Verb)
@click_options(CostOptions)
def cost(**values: Any) -> None:
    """What training costs: parameters, optimiser state, peak memory, time and bytes of the checkpoint.

    Every method takes some steps in a process of its own, on texts that are all as long as they may be.

    \b
    Example:
      python -m iaa_retrieval.analyze cost --method full --method iaa-l --output runs/cost
    """
    from iaa_retrieval.jobs.analyze_cost import analyze_cost

    _, text, files = analyze_cost(build(CostOptions, values))
    click.echo(text)
    _list(files)


def _list(files: Iterable[Path]) -> None:
    click.echo("\n" + "\n".join(map(str, files)), err=True)


if __name__ == "__main__":
    main(prog_name="python -m iaa_retrieval.analyze")
