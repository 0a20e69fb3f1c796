"""Relevance judgments by any name: a file, a collection's split or an ir_datasets id."""

from __future__ import annotations

from pathlib import Path

from iaa_retrieval.collections.loading import load_collection
from iaa_retrieval.collections.qrels_files import read_qrels_file
from iaa_retrieval.collections.types import Qrels


def read_qrels(source: str | Path) -> Qrels:
    """Judgments from a file, a collection's split (``SPEC:SPLIT``) or an ir_datasets id.

    Args:
        source: a file (see ``qrels_files.read_qrels_file``), or what ``loading.load_collection`` takes.

    Returns:
        Query id -> document id -> grade, a whole number; above 0 is relevant.

    Raises:
        IaaRetrievalError: a malformed line, named by file and line.
        UsageError: neither a file nor a collection, or a collection without judgments or of which no split was chosen.
    """
    if Path(source).is_file():
        return read_qrels_file(source)
    return load_collection(str(source)).qrels()
