"""``python -m iaa_retrieval.serve``: searches over HTTP or MCP, and a page that compares systems."""

from __future__ import annotations

from typing import Any

import click

from iaa_retrieval.cli import Verb
from iaa_retrieval.jobs.serve_options import ServeOptions
from iaa_retrieval.options import build, click_options


@click.command(cls=Verb, context_settings={"help_option_names": ["-h", "--help"]})
@click_options(ServeOptions)
def main(**values: Any) -> None:
    """Answer searches: BM25, Faiss and Lucene's vectors, with our encoders and re-rankers, and show a page.

    \b
    What quickstart built, at http://127.0.0.1:8081/ :
      python -m iaa_retrieval.serve
    Indexes and checkpoints of your own:
      python -m iaa_retrieval.serve --config FILE.yaml

    /v1/INDEX/search?query=TEXT and /v1/INDEX/doc/ID answer as Pyserini 2.x's REST server does, with two more
    parameters: checkpoint=NAME encodes the query, and rerank=NAME re-ranks the hits.
    """
    from iaa_retrieval.jobs.serve import serve

    serve(build(ServeOptions, values))


if __name__ == "__main__":
    main(prog_name="python -m iaa_retrieval.serve")
