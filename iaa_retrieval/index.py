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
@click.option(
    "--language",
    metavar="CODE",
    default="en",
    show_default=True,
    help="Language of the text, as Pyserini abbreviates it (de, zh, ...); searches of the index follow it.",
)
@click.option("--pretokenized", is_flag=True, help="The text is tokens between spaces: no stemming, no stop words.")
@click.option("--skip-bad", is_flag=True, help="Leave out documents that Lucene cannot take, instead of failing.")
def main(collection: str, output: Path, threads: int, language: str, pretokenized: bool, skip_bad: bool) -> None:
    """Index the documents of a collection (title and text) for BM25 with Pyserini's own indexer.

    \b
    Examples:
      python -m iaa_retrieval.index --collection beir/scifact --output indexes/scifact
      python -m iaa_retrieval.index --collection corpus.jsonl --output indexes/mine
      python -m iaa_retrieval.index --collection chinese.jsonl --language zh --output indexes/chinese

    Search it with `python -m iaa_retrieval.search lucene --bm25 --index INDEX ...`. The index keeps the raw
    documents, so `rerank --index INDEX` can read their text.
    """
    from iaa_retrieval.pyserini_plugin.lucene_analysis import Analysis
    from iaa_retrieval.pyserini_plugin.lucene_index import IndexOptions, build_index

    report = build_index(IndexOptions(collection, output, threads, Analysis(language, pretokenized), skip_bad))
    missing = [(report.empty_documents, "empty"), (report.skipped_documents, "bad")]
    left_out = ", ".join(f"{count} {what}" for count, what in missing if count)
    left_out = f" ({left_out} left out)" if left_out else ""
    click.echo(f"Indexed {report.documents} documents{left_out} in {report.output}")


if __name__ == "__main__":
    main(prog_name="python -m iaa_retrieval.index")
