"""``python -m iaa_retrieval.rerank``: re-rank a run."""

from __future__ import annotations

from typing import Any

import click

from iaa_retrieval.cli import Verb
from iaa_retrieval.files import is_stream
from iaa_retrieval.jobs.rerank import RerankOptions, rerank_file
from iaa_retrieval.options import build, click_options


@click.command(cls=Verb, context_settings={"help_option_names": ["-h", "--help"]})
@click_options(RerankOptions)
def main(**values: Any) -> None:
    """Re-rank the first hits of a run with a cross-encoder.

    \b
    Example:
      python -m iaa_retrieval.rerank --run bm25.trec --topics beir/scifact/test \\
          --collection beir/scifact --encoder CHECKPOINT --output reranked.trec
    """
    options = build(RerankOptions, values)
    # A run that goes to standard output must stay a run.
    click.echo(f"{options.output}: {rerank_file(options)} queries", err=is_stream(options.output))


if __name__ == "__main__":
    main(prog_name="python -m iaa_retrieval.rerank")
