"""``python -m iaa_retrieval.quickstart``: the whole job on a small real collection, in minutes."""

from __future__ import annotations

from typing import Any

import click

from iaa_retrieval.cli import Verb, precision_option


def results_table(results: dict[str, Any]) -> str:
    """The results as text: scores with marks of significance, trained parameters, seconds per stage."""
    metrics = list(next(iter(results["runs"].values())))
    lines = [
        f"{results['collection']}: {results['documents']:,} documents, {results['queries']} test queries",
        "",
        f"{'run':18}" + "".join(f"{name:>11}" for name in metrics) + f"{'trained parameters':>22}",
    ]
    for name, scores in results["runs"].items():
        cells = "".join(f"{scores[metric]:9.4f}{_marks(results, name, metric):2}" for metric in metrics)
        trained = results["trainable_parameters"].get(name, 0)
        lines.append(f"{name:18}{cells}{trained:22,}")
    lines += [
        "",
        "b, u: significantly better than BM25, than the untuned encoder (two-tailed paired t-test, Holm-corrected "
        "p <= 0.05).",
        "",
        *(
            f"{name:24}{seconds:8.1f} s{'  (from an earlier run)' if name in results['reused'] else ''}"
            for name, seconds in results["seconds"].items()
        ),
    ]
    return "\n".join(lines)


def _marks(results: dict[str, Any], run: str, metric: str) -> str:
    marks = {"bm25": "b", "dense-untuned": "u"}
    return "".join(
        marks[test["baseline"]]
        for test in results["significance"]
        if test["run"] == run
        and test["metric"] == metric
        and test["p_value_holm"] <= 0.05
        and test["mean_difference"] > 0
    )


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
    from iaa_retrieval.reproduction.main_job import MainJobOptions, run_main_job

    embedded = collection == "embedded"
    name = "" if embedded else "-" + collection.strip("/").replace("/", "-").replace(":", "-")
    options = MainJobOptions(
        collection=collection,
        output=output or f"runs/quickstart{name}",
        test_queries=test_queries or None,
        train_queries=train_queries or None,
        # Definitions in source code are mostly short; abstracts and passages are not.
        max_length=160 if embedded else 256,
        pair_length=128 if embedded else 256,
        **values,
    )
    click.echo(results_table(run_main_job(options)))
    click.echo(f"\nWritten to {options.output}/results.json")


if __name__ == "__main__":
    main(prog_name="python -m iaa_retrieval.quickstart")
