"""Queries from files: tab-separated, JSONL, Pyserini's JSON and TREC topics."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from iaa_retrieval.collections.lines import (
    check_id,
    clean_text,
    read_json_lines,
    read_lines,
    read_rows,
    read_text,
    require_id,
    strip_gz,
    text_field,
)
from iaa_retrieval.collections.records import Record, read_records
from iaa_retrieval.collections.trec_topics import looks_like_trec_topics, read_trec_topics
from iaa_retrieval.collections.types import Query
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.files import atomic_file

_SUFFIXES = (".tsv", ".txt", ".jsonl", ".json", ".trec", ".xml")
_ID_FIELDS = ("_id", "id", "qid", "query_id")


def read_topics_file(path: str | Path) -> list[Query]:
    """Queries from one file, gzipped or not.

    ``.jsonl`` holds an id and a text per line and ``.json`` is Pyserini's ``{id: {"title": text}}``, or an array
    of records as in ``.jsonl``. In files of other names the first line decides: TREC topics (``<top>`` records, whose
    title is taken, or the ``<topic>`` of later tracks), JSON lines, or ``id<TAB>text`` (a header line is passed over).

    Raises:
        IaaRetrievalError: a malformed line, a missing or repeated id, or no query at all.
        UsageError: an unknown format.
    """
    queries: dict[str, Query] = {}
    for place, query in _read(Path(path)):
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


def _read(path: Path) -> Iterator[tuple[str, Query]]:
    suffix = strip_gz(path)
    if suffix == ".jsonl":
        return _jsonl(path)
    if suffix == ".json":
        return _json(path)
    first = next(read_lines(path), ("", ""))[1]
    if looks_like_trec_topics(first):
        return read_trec_topics(path)
    if first.lstrip().startswith("{"):
        return _json(path)
    if suffix in (".tsv", ".txt") or first.count("\t") == 1:
        return _tsv(path)
    raise UsageError(
        f"{path}: topics are read from {', '.join(_SUFFIXES)} files (.gz allowed): id<TAB>text, TREC <top> or <topic> "
        "records, or JSON"
    )


def _tsv(path: Path) -> Iterator[tuple[str, Query]]:
    for place, query_id, text in read_rows(path):
        yield place, Query(check_id(query_id, place), text)


def _jsonl(path: Path) -> Iterator[tuple[str, Query]]:
    return _records(read_json_lines(path))


def _records(records: Iterable[tuple[str, Record]]) -> Iterator[tuple[str, Query]]:
    for place, record in records:
        query_id = require_id(record, _ID_FIELDS, place)
        yield place, Query(query_id, text_field(record, ("text", "query", "title", "contents"), place))


def _json(path: Path) -> Iterator[tuple[str, Query]]:
    """Pyserini's topics; queries as JSON lines are often named so too."""
    text = read_text(path)
    try:
        topics = json.loads(text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data":
            return _jsonl(path)
        raise IaaRetrievalError(f"{path} is not valid JSON: {error}") from error
    if isinstance(topics, list) and topics:
        return _records(read_records(path))
    if isinstance(topics, dict) and any(isinstance(topics.get(name), (str, int)) for name in _ID_FIELDS):
        return _jsonl(path)  # a single line
    return _pyserini(path, topics)


def _pyserini(path: Path, topics: Any) -> Iterator[tuple[str, Query]]:
    if not isinstance(topics, dict):
        raise IaaRetrievalError(f'{path} is not a Pyserini topics file ({{id: {{"title": text}}}})')
    for query_id, topic in topics.items():
        place = f"{path}, topic {query_id!r}"
        if not isinstance(topic, dict) or not isinstance(topic.get("title"), str):
            raise IaaRetrievalError(f'{place} has no "title"')
        yield place, Query(check_id(query_id, place), clean_text(topic["title"]))


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} occurs twice")
    return values
