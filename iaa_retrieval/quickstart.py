"""``python -m iaa_retrieval.quickstart``: the whole job on a small real collection, in minutes."""

from __future__ import annotations

from typing import Any

import click

from iaa_retrieval.cli import Verb
from iaa_retrieval.jobs.quickstart_options import QuickstartOptions
from iaa_retrieval.options import build, click_options


@click.command(cls=Verb, context_settings={"help_option_names": ["-h", "--help"]})
@click_options(QuickstartOptions)
def main(**values: Any) -> None:
    """Search, tune and re-rank a small real collection, and print what each step gained.

    BM25 (Pyserini), the untuned MiniLM, an IAA-L bi-encoder and an IAA-L cross-encoder over the BM25 run, each
    tuned with 0.5% of the parameters. Scores, tests and seconds are also written to OUTPUT/results.json.
    """
    from iaa_retrieval.jobs.quickstart import results_table, run_quickstart, serving_command

    results = run_quickstart(build(QuickstartOptions, values))
    click.echo(results_table(results))
    click.echo(f"\nWritten to {results['settings']['output']}/results.json")
    click.echo(f"A page that searches with these systems side by side: {serving_command(results)}")


if __name__ == "__main__":
    main(prog_name="python -m iaa_retrieval.quickstart")
