"""A Lucene (BM25) index of a collection."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from iaa_retrieval.options import Checked, at_least, option

if TYPE_CHECKING:
    from iaa_retrieval.pyserini_plugin.lucene_index import IndexReport


@dataclass(frozen=True)
class IndexOptions(Checked):
    """What to index, into which new directory, and how its text is cut into terms, which searches follow."""

    collection: str = option(
        help="An ir_datasets id (beir/scifact), a directory in BEIR layout, a file or folder of documents, "
        "`embedded` or `python-packages`.",
        metavar="ID|DIR|FILE",
    )
    output: Path = option(help="The index directory to make.", type=click.Path(path_type=Path))
    threads: int = option(os.cpu_count() or 1, help="Indexing threads.", type=click.IntRange(min=1), check=at_least(1))
    language: str = option(
        "en",
        help="Language of the text, as Pyserini abbreviates it (de, zh, ...); searches of the index follow it.",
        metavar="CODE",
    )
    pretokenized: bool = option(False, help="The text is tokens between spaces: no stemming, no stop words.")
    skip_bad: bool = option(False, help="Leave out documents that Lucene cannot take, instead of failing.")


def index_collection(options: IndexOptions) -> IndexReport:
    """Index ``contents`` (title and text) of every document with Pyserini's own indexer.

    Args:
        options: what to index and where to.

    Returns:
        How many documents are in the index, and how many were left out.

    Raises:
        UsageError: an unknown language or an unknown collection.
        IaaRetrievalError: see ``lucene_index.build_index``.
    """
    from iaa_retrieval.pyserini_plugin.lucene_analysis import Analysis
    from iaa_retrieval.pyserini_plugin.lucene_index import build_index

    return build_index(
        options.collection,
        options.output,
        threads=options.threads,
        analysis=Analysis(options.language, options.pretokenized),
        skip_bad=options.skip_bad,
    )
