"""``python -m iaa_retrieval.remote``: a bundle for a machine with a GPU, its run there, and what comes back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from iaa_retrieval.cli import Verb
from iaa_retrieval.device_options import PRECISIONS

STORE = Path("runs") / "remote"
PATH = click.Path(path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run reproductions on another machine, which has a GPU and reaches nothing outside.

    \b
    Example:
      python -m iaa_retrieval.remote bundle python-packages beir-scifact --output build/gpu
      python3 build/gpu/run.py --output results     # there, with Python 3.12 and PyTorch
      python -m iaa_retrieval.remote collect results
    """


@main.command(cls=Verb)
@click.argument("names", nargs=-1, required=True)
@click.option("--output", type=PATH, default=Path("build/gpu"), show_default=True, help="Folder to make.")
@click.option("--stage", type=click.Choice(("retrieval", "reranking")), help="Only this stage.")
@click.option(
    "--work",
    type=click.Choice(("all", "rates", "rows")),
    default="all",
    show_default=True,
    help="Learning rates that are not kept yet and then the rows; or one of both, rows with the YAML's rates.",
)
@click.option("--again", is_flag=True, help="Also rows that have scores.")
@click.option(
    "--training-precision",
    type=click.Choice(("as stated", *PRECISIONS)),
    default="bf16",
    show_default=True,
    help="Of trainings, whatever their commands say; everything else is computed as its command says.",
)
@click.option("--store", type=PATH, default=STORE, show_default=True, help="Keeps what came back before.")
def bundle(names: tuple[str, ...], stage: str | None, work: str, again: bool, **values: Any) -> None:
    """Make a bundle of at most 60 MiB: source, packages, halved backbone, collections, BM25 runs."""
    from iaa_retrieval.remote.bundle import PACKAGE, BundleOptions, make_bundle
    from iaa_retrieval.remote.collecting import read_store
    from iaa_retrieval.remote.packages import PYTHON
    from iaa_retrieval.remote.selection import Selection

    options = BundleOptions(
        Selection(names, stage, work, again),
        values["output"],
        values["training_precision"],
        PACKAGE.parent / "constraints" / f"python{PYTHON}.txt",
        cache=Path("build") / "gpu-packages",
    )
    make_bundle(options, read_store(values["store"]))
    click.echo(f"{options.output}: there, run: python3 {options.output}/run.py --output DIR --minutes 9")


@main.command(cls=Verb, hidden=True)
@click.argument("work", type=PATH)
@click.option("--manifest", type=PATH, required=True)
@click.option("--output", type=PATH, required=True)
@click.option("--started", type=float, required=True)
@click.option("--minutes", type=float, required=True)
@click.option("--at-once", type=click.IntRange(min=1), required=True)
@click.option("--device", required=True)
def run(**values: Any) -> None:
    """Work through an unpacked bundle; ``run.py`` of the bundle calls it."""
    from iaa_retrieval.remote.working import RunOptions, run_bundle

    sys.exit(0 if run_bundle(RunOptions(**values)) else 1)


@main.command(cls=Verb)
@click.argument("source", type=PATH, required=False)
@click.option("--store", type=PATH, default=STORE, show_default=True, help="Keeps all that ever came back.")
@click.option("--replace", is_flag=True, help="Also rows that have a result already.")
def collect(source: Path | None, store: Path, replace: bool) -> None:
    """Take in what came back: results, learning rates and checkpoints of every row that is complete."""
    from iaa_retrieval.remote.collecting import CollectOptions
    from iaa_retrieval.remote.collecting import collect as take_in
    from iaa_retrieval.reproduction.text_tables import comparison_table

    click.echo(comparison_table(take_in(CollectOptions(source, store, replace))))


if __name__ == "__main__":
    main(prog_name="python -m iaa_retrieval.remote")
