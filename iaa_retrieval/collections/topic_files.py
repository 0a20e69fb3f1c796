"""Queries from files: tab-separated, JSONL, Pyserini's JSON and TREC topics."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from iaa_retrieval.collections.lines import (
    check_id,
    read_json_lines,
    read_lines,
    require_id,
    strip_gz,
    text_field,
)
from iaa_retrieval.collections.types import Query
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.files import atomic_file, read_json

_TREC_TOPIC = re.compile(r"<top>(.*?)(?:</top>|(?=<top>)|\Z)", re.DOTALL | re.IGNORECASE)
_TREC_FIELD = r"<{name}>\s*(?:{label}:)?\s*(.*?)\s*(?=<|\Z)"


def read_topics_file(path: str | Path) -> list[Query]:
    """Queries from one file; the format follows the name, gzipped or not except ``.json``.

    ``.tsv`` and ``.txt`` hold ``id<TAB>text``, ``.jsonl`` holds an id and a text per line, ``.json`` is
    Pyserini's ``{id: {"title": text}}`` and ``.trec`` holds TREC ``<top>`` records, whose title is taken.

    Raises:
        IaaRetrievalError: a malformed line, a missing or repeated id, or no query at all.
        UsageError: an unknown format.
    """
    readers = {".tsv": _tsv, ".txt": _tsv, ".jsonl": _jsonl, ".json": _pyserini_json, ".trec": _trec}
    reader = readers.get(strip_gz(path))
    if reader is None:
        raise UsageError(f"{path}: topics are read from {', '.join(readers)} files (.gz allowed)")
    queries: dict[str, Query] = {}
    for place, query in reader(Path(path)):
        if query.query_id in queries:
            raise IaaRetrievalError(f"{place}: query id {query.query_id!r} occurs twice")
        queries[query.query_id] = query
    if not queries:
        raise IaaRetrievalError(f"{path} holds no queries")
    return list(queries.values())


def write_topics(path: str | Path, queries: Iterable[Query]) -> None:
    """Write Pyserini's ``{id: {"title": text}}``, whole or not at all; ``path`` must end in ``.json``."""
    if Path(path).suffix != ".json":
        raise UsageError(f"{path}: Pyserini reads this format from a file named .json")
    topics = {query_id: {"title": text} for query_id, text in queries}
    with atomic_file(path) as stream:
        json.dump(topics, stream, indent=1, ensure_ascii=False)
        stream.write("\n")


def _tsv(path: Path) -> Iterator[tuple[str, Query]]:
    for place, line in read_lines(path):
        columns = line.split("\t")
        if len(columns) != 2:
            raise IaaRetrievalError(f"{place}: expected 2 tab-separated columns (id, text), found {len(columns)}")
        yield place, Query(check_id(columns[0], place), columns[1])


def _jsonl(path: Path) -> Iterator[tuple[str, Query]]:
    for place, record in read_json_lines(path):
        query_id = require_id(record, ("_id", "id", "qid", "query_id"), place)
        yield place, Query(query_id, text_field(record, ("text", "query", "title", "contents"), place))


def _pyserini_json(path: Path) -> Iterator[tuple[str, Query]]:
    topics = read_json(path)
    if not isinstance(topics, dict):
        raise IaaRetrievalError(f'{path} is not a Pyserini topics file ({{id: {{"title": text}}}})')
    for query_id, topic in topics.items():
        place = f"{path}, topic {query_id!r}"
        if not isinstance(topic, dict) or not isinstance(topic.get("title"), str):
            raise IaaRetrievalError(f'{place} has no "title"')
        yield place, Query(check_id(query_id, place), topic["title"])


def _trec(path: Path) -> Iterator[tuple[str, Query]]:
    text = "\n".join(line for _, line in read_lines(path))
    for position, match in enumerate(_TREC_TOPIC.finditer(text), start=1):
        place = f"{path}, topic {position}"
        query_id = _trec_field(match[1], "num", "Number", place)
        title = _trec_field(match[1], "title", "Topic", place)
        yield place, Query(check_id(query_id, place), title)


def _trec_field(topic: str, name: str, label: str, place: str) -> str:
    match = re.search(_TREC_FIELD.format(name=name, label=label), topic, re.DOTALL | re.IGNORECASE)
    if match is None or not match[1]:
        raise IaaRetrievalError(f"{place} has no <{name}>")
    return " ".join(match[1].split())
