"""Writing the files of a directory in BEIR layout, with the same bytes every time; judgments are in ``qrels_files``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from iaa_retrieval.collections.types import Document, Query


def write_corpus(path: Path, documents: Iterable[Document]) -> None:
    """Write documents as BEIR's ``corpus.jsonl``."""
    _write_json_lines(path, ({"_id": doc_id, "title": title, "text": text} for doc_id, title, text in documents))


def write_queries(path: Path, queries: Iterable[Query]) -> None:
    """Write queries as BEIR's ``queries.jsonl``."""
    _write_json_lines(path, ({"_id": query_id, "text": text} for query_id, text in queries))


def _write_json_lines(path: Path, records: Iterable[dict[str, str]]) -> None:
    with open(path, "w", encoding="utf-8") as stream:
        for record in records:
            stream.write(json.dumps(record, ensure_ascii=False) + "\n")
