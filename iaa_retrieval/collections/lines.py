"""Reading text files line by line, gzipped or not, with errors that name ``file:line``."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from iaa_retrieval.errors import IaaRetrievalError

# Half of a UTF-16 pair, which a JSON escape can smuggle into a string although no text has it.
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")

# Names in the header of a table with an id and a text per line, without case and punctuation.
_ID_COLUMNS = ("id", "qid", "queryid", "topicid", "docid", "docno", "documentid", "pid", "passageid", "corpusid")
_TEXT_COLUMNS = ("text", "query", "querytext", "question", "title", "contents", "passage", "document", "body")


def read_lines(path: str | Path) -> Iterator[tuple[str, str]]:
    """Yield ``(place, line)`` for every line that is not blank; ``place`` is ``file:line`` for messages.

    Raises:
        IaaRetrievalError: the file cannot be read, is not UTF-8, or is a damaged ``.gz``.
    """
    path = Path(path)
    number = 0
    try:
        with open_binary(path) as stream:
            for number, raw in enumerate(stream, start=1):
                # A byte order mark in front of the first field would become part of an id.
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                if line.strip():
                    yield f"{path}:{number}", line
    except UnicodeDecodeError as error:
        raise IaaRetrievalError(f"{path}:{number} is not UTF-8: {error.reason}") from error
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise IaaRetrievalError(f"cannot read {path} (after line {number}): {reason}") from error


def read_rows(path: str | Path) -> Iterator[tuple[str, str, str]]:
    """Yield ``(place, id, text)`` for every line of a tab-separated table; a header line is passed over.

    Raises:
        IaaRetrievalError: as ``read_lines``, and for a line without two columns.
    """
    for number, (place, line) in enumerate(read_lines(path)):
        columns = line.split("\t")
        if len(columns) != 2:
            raise IaaRetrievalError(f"{place}: expected 2 tab-separated columns (id, text), found {len(columns)}")
        if number or not is_header(line):
            yield place, columns[0], columns[1]


def is_header(line: str) -> bool:
    """Whether the first line of a tab-separated table names an id and a text, instead of having them."""
    names = [re.sub(r"[\W_]", "", name).lower() for name in line.split("\t")]
    return len(names) == 2 and names[0] in _ID_COLUMNS and names[1] in _TEXT_COLUMNS


def read_text(path: str | Path) -> str:
    """All of a file whose format has no lines.

    Raises:
        IaaRetrievalError: as ``read_lines``.
    """
    path = Path(path)
    try:
        with open_binary(path) as stream:
            data = stream.read()
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = 1 + error.object.count(b"\n", 0, error.start)
        raise IaaRetrievalError(f"{path}:{number} is not UTF-8: {error.reason}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise IaaRetrievalError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


@contextmanager
def open_binary(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, uncompressed where its name ends in ``.gz``."""
    with gzip.open(path, "rb") if path.suffix.lower() == ".gz" else open(path, "rb") as stream:
        yield cast(IO[bytes], stream)


def read_json_lines(path: str | Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ``(place, record)`` for every line of a JSONL file; each line must hold a JSON object."""
    for place, line in read_lines(path):
        yield place, parse_record(line, place)


def parse_record(line: str, place: str) -> dict[str, Any]:
    """One JSON object."""
    try:
        return require_record(json.loads(line), place)
    except (ValueError, RecursionError) as error:
        raise IaaRetrievalError(f"{place} is not valid JSON: {error}") from error


def require_record(value: Any, place: str) -> dict[str, Any]:
    """``value``, which must be a JSON object."""
    if not isinstance(value, dict):
        raise IaaRetrievalError(f"{place} holds {type(value).__name__}, not a JSON object")
    return value


def require_id(record: Mapping[str, Any], names: tuple[str, ...], place: str) -> str:
    """The record's id, under the first of ``names`` that it has.

    Whitespace in an id is refused here because no TREC run could hold it later.
    """
    for name in names:
        value = record.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if isinstance(value, str) and value:
            return check_id(value, place)
        if value is not None:
            raise IaaRetrievalError(f"{place}: {name!r} must be a non-empty string, not {value!r}")
    raise IaaRetrievalError(f"{place} has no id (looked for {', '.join(names)})")


def check_id(value: str, place: str) -> str:
    """Refuse an id that a TREC run, or the tools that read one, cannot hold."""
    if value.split() != [value]:
        raise IaaRetrievalError(f"{place}: {value!r} is empty or has white space, which a run cannot hold")
    return check_characters(value, place)


def check_characters(value: str, place: str) -> str:
    """Refuse an id with a character that no file holds (half a surrogate pair) or that ends a C string (NUL)."""
    if "\0" in value or _LONE_SURROGATE.search(value):
        # Two ids that differ only there must not become one, so nothing is put in its place.
        raise IaaRetrievalError(f"{place}: id {value!r} has a character that is not text; give it another id")
    return value


def clean_text(text: str) -> str:
    """``text`` with U+FFFD for every half of a surrogate pair, which no encoding and no tokenizer takes."""
    return text if text.isascii() else _LONE_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)


def text_field(record: Mapping[str, Any], names: tuple[str, ...], place: str) -> str:
    """The record's text, under the first of ``names`` that is not null; empty where all that it has are null."""
    found = [name for name in names if name in record]
    for name in found:
        if record[name] is not None:
            return optional_text(record, name, place)
    if found:
        return ""
    raise IaaRetrievalError(f"{place} has no text (looked for {', '.join(names)})")


def optional_text(record: Mapping[str, Any], name: str, place: str) -> str:
    """A text field that may be missing or null, which reads as the empty string; see ``clean_text``."""
    value = record.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise IaaRetrievalError(f"{place}: {name!r} must be text, not {type(value).__name__}")
    return clean_text(value)


def strip_gz(path: str | Path) -> str:
    """The suffix of a file name without ``.gz``, such as ``.jsonl``."""
    path = Path(path)
    return (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()
