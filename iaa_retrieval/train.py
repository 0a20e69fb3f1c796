"""``python -m iaa_retrieval.train``: tune a bi-encoder or a cross-encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from iaa_retrieval.cli import Verb
from iaa_retrieval.jobs.train_vector_adapter import VectorAdapterOptions
from iaa_retrieval.options import build, click_options
from iaa_retrieval.training.option_files import read_config
from iaa_retrieval.training.options import TrainOptions

if TYPE_CHECKING:
    from iaa_retrieval.training.run import TrainResult

config_option = click.option(
    "--config",
    type=click.Path(dir_okay=False),
    is_eager=True,
    expose_value=False,
    callback=read_config,
    help="YAML file with any of these options; the command line wins.",
)


def _list_methods(ctx: click.Context, param: click.Parameter, form: str | None) -> None:
    """``--list-methods``: print the registry and end."""
    if form is None:
        return
    from iaa_retrieval.tuning.listing import COSTS_FILE, methods_page, methods_table, read_costs

    click.echo(methods_page(read_costs(COSTS_FILE)) if form == "markdown" else methods_table(), nl=False)
    ctx.exit()


list_methods_option = click.option(
    "--list-methods",
    type=click.Choice(("table", "markdown")),
    is_flag=False,
    flag_value="table",
    is_eager=True,
    expose_value=False,
    callback=_list_methods,
    help="Print all methods and end; 'markdown' prints the documentation page (docs/methods.md).",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@list_methods_option
def main() -> None:
    """Tune a retriever: a bi-encoder for first-stage search, or a cross-encoder for re-ranking; or a map over vectors
    of queries alone.

    \b
    Example (BEIR SciFact, IAA-L with 0.5% of the parameters):
      python -m iaa_retrieval.train bi-encoder --collection beir/scifact/train \\
          --dev-fraction 0.1 --method iaa-l --budget 0.5% --output runs/scifact-iaa-l
    """


@main.command("bi-encoder", cls=Verb)
@config_option
@click_options(TrainOptions, "bi-encoder")
@list_methods_option
def bi_encoder(**values: Any) -> None:
    """Train query and document vectors with in-batch and hard negatives."""
    from iaa_retrieval.jobs.train import train_bi_encoder

    _report(train_bi_encoder(**values))


@main.command("cross-encoder", cls=Verb)
@config_option
@click_options(TrainOptions, "cross-encoder")
@list_methods_option
def cross_encoder(**values: Any) -> None:
    """Train a re-ranker: one positive against the negatives of its query."""
    from iaa_retrieval.jobs.train import train_cross_encoder

    _report(train_cross_encoder(**values))


@main.command("vector-adapter", cls=Verb)
@click_options(VectorAdapterOptions)
def vector_adapter(**values: Any) -> None:
    """Train a small map over query vectors, for an encoder whose weights are out of reach (an API's).

    \b
    Example (the encoder is never loaded; documents are not encoded again):
      python -m iaa_retrieval.train vector-adapter --queries runs/train-queries --index runs/index \\
          --qrels beir/scifact/train --output runs/adapter
      python -m iaa_retrieval.encode query-vectors --vectors runs/test-queries \\
          --adapter runs/adapter --output runs/adapted-queries
      python -m iaa_retrieval.search faiss --index runs/index --topics beir/scifact/test \\
          --encoded-queries runs/adapted-queries --output run.trec
    """
    from iaa_retrieval.jobs.train_vector_adapter import train_on_vectors

    result = train_on_vectors(build(VectorAdapterOptions, values))
    scores = "".join(
        f", dev {name} {value:.4f} (before: {result.dev_scores_before[name]:.4f})"
        for name, value in result.dev_scores.items()
    )
    click.echo(f"{result.output}: epoch {result.epoch} is kept{scores}")


def _report(result: TrainResult) -> None:
    scores = "".join(f", dev {name} {value:.4f}" for name, value in result.dev_scores.items())
    click.echo(f"{result.output}: trained in {result.seconds:.0f} s{scores}")


if __name__ == "__main__":
    main(prog_name="python -m iaa_retrieval.train")
