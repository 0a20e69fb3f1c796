"""``python -m iaa_retrieval.index``: a Lucene (BM25) index of a collection."""

from __future__ import annotations

from typing import Any

import click

from iaa_retrieval.cli import Verb
from iaa_retrieval.jobs.index import IndexOptions, index_collection
from iaa_retrieval.options import build, click_options


@click.command(cls=Verb)
@click_options(IndexOptions)
def main(**values: Any) -> None:
    """Index the documents of a collection (title and text) for BM25 with Pyserini's own indexer.

    \b
    Examples:
      python -m iaa_retrieval.index --collection beir/scifact --output indexes/scifact
      python -m iaa_retrieval.index --collection corpus.jsonl --output indexes/mine
      python -m iaa_retrieval.index --collection chinese.jsonl --language zh --output indexes/chinese

    Search it with `python -m iaa_retrieval.search lucene --bm25 --index INDEX ...`. The index keeps the raw
    documents, so `rerank --index INDEX` can read their text.
    """
    report = index_collection(build(IndexOptions, values))
    missing = [(report.empty_documents, "empty"), (report.skipped_documents, "bad")]
    left_out = ", ".join(f"{count} {what}" for count, what in missing if count)
    left_out = f" ({left_out} left out)" if left_out else ""
    click.echo(f"Indexed {report.documents} documents{left_out} in {report.output}")


if __name__ == "__main__":
    main(prog_name="python -m iaa_retrieval.index")
