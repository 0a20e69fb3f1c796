"""Reading text files line by line, gzipped or not, with errors that name ``file:line``."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from iaa_retrieval.errors import IaaRetrievalError


def read_lines(path: str | Path) -> Iterator[tuple[str, str]]:
    """Yield ``(place, line)`` for every line that is not blank; ``place`` is ``file:line`` for messages.

    Raises:
        IaaRetrievalError: the file cannot be read, is not UTF-8, or is a damaged ``.gz``.
    """
    path = Path(path)
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as stream:
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


def read_json_lines(path: str | Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ``(place, record)`` for every line of a JSONL file; each line must hold a JSON object."""
    for place, line in read_lines(path):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise IaaRetrievalError(f"{place} is not valid JSON: {error}") from error
        if not isinstance(record, dict):
            raise IaaRetrievalError(f"{place} holds {type(record).__name__}, not a JSON object")
        yield place, record


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
    """Refuse an id that a TREC run cannot hold."""
    if value.split() != [value]:
        raise IaaRetrievalError(f"{place}: {value!r} is empty or has white space, which a run cannot hold")
    return value


def text_field(record: Mapping[str, Any], names: tuple[str, ...], place: str) -> str:
    """The record's text, under the first of ``names`` that it has."""
    for name in names:
        if name in record:
            return optional_text(record, name, place)
    raise IaaRetrievalError(f"{place} has no text (looked for {', '.join(names)})")


def optional_text(record: Mapping[str, Any], name: str, place: str) -> str:
    """A text field that may be missing or null, which reads as the empty string."""
    value = record.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise IaaRetrievalError(f"{place}: {name!r} must be text, not {type(value).__name__}")
    return value


def strip_gz(path: str | Path) -> str:
    """The suffix of a file name without ``.gz``, such as ``.jsonl``."""
    path = Path(path)
    return (path.with_suffix("") if path.suffix == ".gz" else path).suffix.lower()
