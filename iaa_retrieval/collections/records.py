"""The records of one file of documents: JSON (lines, arrays, single objects) or tab-separated lines."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from iaa_retrieval.collections.lines import (
    is_header,
    open_binary,
    parse_record,
    read_lines,
    read_rows,
    read_text,
    require_record,
    strip_gz,
)
from iaa_retrieval.errors import IaaRetrievalError

JSON_SUFFIXES = (".jsonl", ".json")
TSV_SUFFIXES = (".tsv", ".txt")
NAMES_READ = "documents are read from .jsonl or .tsv files (also .json and .txt; .gz allowed)"

ID_FIELDS = ("id", "_id", "docid")
"""Where a document's id is looked for; the order is that of ``pyserini.encode``."""
TEXT_FIELDS = ("text", "contents")

_PEEK = 1 << 16  # bytes that decide about a file whose name says nothing
_SPACE = re.compile(r"\s*")
_DECODER = json.JSONDecoder()

Record = dict[str, Any]


def read_records(path: Path) -> Iterator[tuple[str, Record]]:
    """Yield ``(place, record)`` for every document of one file; a tab-separated line has ``id`` and ``text``.

    The header line of a tab-separated table is no document.

    JSON lines and tab-separated lines are streamed; a JSON array, or an object over several lines, is read whole.

    Raises:
        IaaRetrievalError: a malformed line, named by file and line.
    """
    if _is_json(path):
        yield from _json_records(path)
        return
    for place, doc_id, text in read_rows(path):
        yield place, {"id": doc_id, "text": text}


def count_records(path: Path) -> int:
    """How many documents a file holds."""
    first = next(read_lines(path), None)
    if first is None:
        return 0
    is_json = _is_json(path)
    if is_json and _is_whole(path, first[1]):
        return sum(1 for _ in read_records(path))
    return sum(1 for _ in read_lines(path)) - (not is_json and is_header(first[1]))


def has_known_name(path: Path) -> bool:
    """Whether the name alone says that a file holds documents."""
    return strip_gz(path) in JSON_SUFFIXES + TSV_SUFFIXES


def looks_like_json(path: Path) -> bool:
    """Whether a file of whatever name begins with a JSON object or array."""
    return _beginning(path)[:1] in ("{", "[")


def looks_like_documents(path: Path) -> bool:
    """Whether a file beside documents is one of them, and not a read-me, a log or somebody's settings.

    ``.jsonl`` and ``.tsv`` are always meant. Of the others the beginning decides; a first record that has neither
    an id nor a text is no document.
    """
    suffix = strip_gz(path)
    if suffix in (".jsonl", ".tsv"):
        return True
    beginning = _beginning(path)
    if suffix == ".txt" and beginning[:1] != "{":
        return "\t" in beginning.partition("\n")[0]
    if suffix != ".json" and beginning[:1] != "{":  # which the part-00000 of a cluster job begins with
        return False
    try:
        first = next(_json_records(path), None)
    except IaaRetrievalError:
        return suffix == ".json"  # damaged: reading it says where
    return first is not None and any(name in first[1] for name in ID_FIELDS + TEXT_FIELDS)


def _is_json(path: Path) -> bool:
    suffix = strip_gz(path)
    if suffix in JSON_SUFFIXES:
        return True
    return _beginning(path)[:1] == "{" if suffix in TSV_SUFFIXES else True


def _beginning(path: Path) -> str:
    """The first characters that are not white space; empty for what cannot be read."""
    try:
        with open_binary(path) as stream:
            return stream.read(_PEEK).decode("utf-8-sig", errors="replace").lstrip()
    except (OSError, EOFError, zlib.error):
        return ""


def _json_records(path: Path) -> Iterator[tuple[str, Record]]:
    lines = read_lines(path)
    first = next(lines, None)
    if first is None:
        return
    if _is_whole(path, first[1]):
        yield from json_values(path)
        return
    for place, line in chain([first], lines):
        yield place, parse_record(line, place)


def _is_whole(path: Path, first_line: str) -> bool:
    """Whether the file is one value (or values over several lines) instead of a record per line."""
    beginning = first_line.lstrip()[:1]
    # In a .jsonl a first line that is no record is damaged, and the file may be larger than memory.
    return beginning == "[" or (beginning == "{" and strip_gz(path) != ".jsonl" and not _is_record(first_line))


def _is_record(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def json_values(path: Path) -> Iterator[tuple[str, Record]]:
    """The objects of a JSON array, or of a file of objects one after another."""
    text = read_text(path)
    line, counted = 1, 0
    for start, value in _values(path, text):
        line += text.count("\n", counted, start)
        counted = start
        place = f"{path}:{line}"
        yield place, require_record(value, place)


def _values(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """Where each value starts, and the value; an array gives its elements."""
    position, in_array = _skip_space(text, 0), False
    try:
        while position < len(text):
            if text[position] == "[" and not in_array:
                in_array, position = True, _skip_space(text, position + 1)
                continue
            if text[position] == "]" and in_array:
                in_array, position = False, _skip_space(text, position + 1)
                continue
            start = position
            value, position = _DECODER.raw_decode(text, start)
            yield start, value
            position = _skip_space(text, position)
            if in_array and text[position : position + 1] == ",":
                position = _skip_space(text, position + 1)
            elif in_array and text[position : position + 1] != "]":
                raise json.JSONDecodeError("expected a comma or the end of the array", text, position)
        if in_array:
            raise json.JSONDecodeError("the array does not end", text, position)
    except json.JSONDecodeError as error:
        raise IaaRetrievalError(f"{path}:{error.lineno} is not valid JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise IaaRetrievalError(f"{path} is not valid JSON: {error}") from error


def _skip_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position
