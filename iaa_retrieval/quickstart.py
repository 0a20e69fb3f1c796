"""``python -m iaa_retrieval.quickstart``: the whole job on a small real collection, in minutes."""

from __future__ import annotations

from typing import Any

import click

from iaa_retrieval.cli import Verb, precision_option


@click.command(cls=Verb, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--collection",
    default="embedded",
    show_default=True,
    help="A collection with train and test queries: 'embedded' (Python's own documentation), an ir_datasets "
    "id such as beir/scifact, or a directory in BEIR layout.",
)
@click.option(
    "--output",
    default=None,
    help="Working directory; what is valid there is used again.  "
    "[default: runs/quickstart, for another collection runs/quickstart-NAME]",
)
@click.option(
    "--backbone", default="all-MiniLM-L6-v2", show_default=True, metavar="PATH-or-HUB-ID", help="Pretrained encoder."
)
@click.option(
    "--test-queries", type=click.IntRange(min=0), default=300, show_default=True, help="The most test queries (0: all)."
)
@click.option(
    "--train-queries",
    type=click.IntRange(min=0),
    default=1600,
    show_default=True,
    help="The most training queries (0: all).",
)
@click.option("--seed", type=int, default=42, show_default=True, help="Seed of everything random.")
@precision_option
def main(collection: str, output: str | None, test_queries: int, train_queries: int, **values: Any) -> None:
    """Search, tune and re-rank a small real collection, and print what each step gained.

    BM25 (Pyserini), the untuned MiniLM, an IAA-L bi-encoder and an IAA-L cross-encoder over the BM25 run, each
    tuned with 0.5% of the parameters. Scores, tests and seconds are also written to OUTPUT/results.json.
    """
    from iaa_retrieval.reproduction.quickstart_job import results_table, run_quickstart
    from iaa_retrieval.reproduction.quickstart_plan import QuickstartOptions

    options = QuickstartOptions.of_collection(
        collection, output, test_queries=test_queries or None, train_queries=train_queries or None, **values
    )
    click.echo(results_table(run_quickstart(options)))
    click.echo(f"\nWritten to {options.output}/results.json")


if __name__ == "__main__":
    main(prog_name="python -m iaa_retrieval.quickstart")
