"""``python -m iaa_retrieval.index``: a Lucene (BM25) index of a collection."""

from __future__ import annotations

import os
from pathlib import Path

import click

from iaa_retrieval.cli import Verb


@click.command(cls=Verb)
@click.option(
    "--collection",
    required=True,
    metavar="ID|DIR|FILE",
    help="An ir_datasets id (beir/scifact), a directory in BEIR layout, a file or folder of documents, or `embedded`.",
)
@click.option("--output", required=True, type=click.Path(path_type=Path), help="The index directory to make.")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=os.cpu_count() or 1,
    show_default=True,
    help="Indexing threads.",
)
def main(collection: str, output: Path, threads: int) -> None:
    """Index the documents of a collection (title and text) for BM25 with Pyserini's own indexer.

    \b
    Examples:
      python -m iaa_retrieval.index --collection beir/scifact --output indexes/scifact
      python -m iaa_retrieval.index --collection corpus.jsonl --output indexes/mine

    Search it with `python -m iaa_retrieval.search lucene --bm25 --index INDEX ...`. The index keeps the raw
    documents, so `rerank --index INDEX` can read their text.
    """
    from iaa_retrieval.pyserini_plugin.lucene_index import IndexOptions, build_index

    report = build_index(IndexOptions(collection, output, threads))
    left_out = f" ({report.empty_documents} empty left out)" if report.empty_documents else ""
    click.echo(f"Indexed {report.documents} documents{left_out} in {report.output}")


if __name__ == "__main__":
    main(prog_name="python -m iaa_retrieval.index")
