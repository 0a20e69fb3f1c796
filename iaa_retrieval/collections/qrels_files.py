"""Files of relevance judgments: TREC's four columns, BEIR's three, and JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from iaa_retrieval.collections.lines import check_id, parse_record, read_lines, require_id
from iaa_retrieval.collections.records import Record, json_values
from iaa_retrieval.collections.types import Qrels
from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.files import atomic_file

_TREC_COLUMNS = "4 columns (query, iteration, document, grade)"
_BEIR_COLUMNS = "3 tab-separated columns (query, document, grade)"

# Names of columns and of JSON fields, without case and punctuation. The first that is there counts.
_QUERY_NAMES = ("queryid", "qid", "topicid", "topicnumber", "questionid", "query", "topic", "question")
_DOCUMENT_NAMES = (
    *("corpusid", "docid", "docno", "documentid", "passageid", "pid", "did"),
    *("corpus", "document", "doc", "passage"),
)
_GRADE_NAMES = (
    *("score", "relevance", "rel", "relevancy", "label", "grade", "rating", "judgment", "judgement"),
    *("relevancescore", "relevancelabel", "relevancegrade", "gain", "qrel", "value"),
)
_GRADE = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)


class _Columns(NamedTuple):
    """How many columns a line has, what separates them (None is any white space) and where the three values are."""

    width: int
    separator: str | None
    query: int
    document: int
    grade: int


def read_qrels_file(path: str | Path) -> Qrels:
    """Judgments from one file, gzipped or not, in the form that its first line shows.

    TREC's four columns, BEIR's three (tab-separated; with or without a header), a JSON object per line
    (``{"query-id": ..., "corpus-id": ..., "score": ...}``) or an array of such objects, or one JSON object
    (``{query: {document: grade}}``, as BEIR's and trec_eval's libraries hold them). Grades are whole numbers, which may
    be written ``1.0``.

    Raises:
        IaaRetrievalError: a malformed line, a grade that is not whole or a document with two, named by file and line;
            or no judgment at all.
    """
    qrels: Qrels = {}
    lines = read_lines(path)
    first = next(lines, None)
    if first is None:
        raise IaaRetrievalError(f"{path} holds no judgments")
    if first[1].lstrip().startswith("["):
        for place, record in json_values(Path(path)):
            _add_record(qrels, place, record)
    elif _is_nested(first[1]):
        _add_nested(qrels, Path(path))
    elif first[1].lstrip().startswith("{"):
        for place, line in chain([first], lines):
            _add_record(qrels, place, parse_record(line, place))
    else:
        _add_columns(qrels, first, lines)
    if not qrels:
        raise IaaRetrievalError(f"{path} holds no judgments")
    return qrels


def _add_columns(qrels: Qrels, first: tuple[str, str], lines: Iterator[tuple[str, str]]) -> None:
    columns = _columns_of(*first)
    for place, line in lines if _is_header(first[1], columns) else chain([first], lines):
        _add_line(qrels, place, line, columns)


def write_qrels(path: str | Path, qrels: Qrels) -> None:
    """Write judgments, whole or not at all: BEIR's three columns for ``.tsv``, else TREC's four.

    Raises:
        IaaRetrievalError: an id that a run could not hold.
    """
    beir = Path(path).suffix == ".tsv"
    with atomic_file(path) as stream:
        if beir:
            stream.write("query-id\tcorpus-id\tscore\n")
        for query_id in sorted(qrels):
            for doc_id, grade in sorted(qrels[query_id].items()):
                check_id(query_id, str(path))
                check_id(doc_id, str(path))
                columns = [query_id, doc_id, str(grade)] if beir else [query_id, "0", doc_id, str(grade)]
                stream.write("\t".join(columns) + "\n")


def _columns_of(place: str, line: str) -> _Columns:
    """The form of a file, from its first line; the names in a header say which column is which."""
    words, cells = line.split(), line.split("\t")
    # Three cells and four words: an id with a space, or TREC's columns separated by tabs and spaces.
    if len(cells) == 3 and not (len(words) == 4 and words[1] in ("0", "Q0")):
        found = _Columns(3, "\t", 0, 1, 2)
    elif len(words) == 3:
        found = _Columns(3, None, 0, 1, 2)
    elif len(words) == 4:
        found = _Columns(4, None, 0, 2, 3)
    else:
        raise IaaRetrievalError(f"{place}: expected {_TREC_COLUMNS} or {_BEIR_COLUMNS}, found {len(words)}")
    if _is_header(line, found):
        names = [_plain(name) for name in _split(line, found)]
        query, document, grade = (
            next((names.index(name) for name in known if name in names), default)
            for known, default in (
                (_QUERY_NAMES, found.query),
                (_DOCUMENT_NAMES, found.document),
                (_GRADE_NAMES, found.grade),
            )
        )
        if len({query, document, grade}) == 3:
            return found._replace(query=query, document=document, grade=grade)
    return found


def _is_header(line: str, columns: _Columns) -> bool:
    """Whether a first line names the columns: it has no number, but a word that says what a column is."""
    values = _split(line, columns)
    return not any(_GRADE.fullmatch(value) for value in values) and any(
        name in (*_QUERY_NAMES, *_DOCUMENT_NAMES, *_GRADE_NAMES) or (name.endswith("id") and name.isalpha())
        for name in map(_plain, values)
    )


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _split(line: str, columns: _Columns) -> list[str]:
    return [value.strip() for value in line.split(columns.separator)]


def _add_line(qrels: Qrels, place: str, line: str, columns: _Columns) -> None:
    values = _split(line, columns)
    if len(values) != columns.width:
        beir = columns.width == 3
        hint = "" if beir or len(values) != 3 else "; a BEIR file starts with a header line or has 3 columns throughout"
        raise IaaRetrievalError(
            f"{place}: expected {_BEIR_COLUMNS if beir else _TREC_COLUMNS}, found {len(values)}{hint}"
        )
    _add(qrels, place, values[columns.query], values[columns.document], values[columns.grade])


def _is_nested(first_line: str) -> bool:
    """Whether a file that begins so is one object, with the judgments of each query in an object of its own."""
    if not first_line.lstrip().startswith("{"):
        return False
    try:
        values = json.loads(first_line)
    except (ValueError, RecursionError):
        # Over several lines, where the first name and what it holds may be on the next ones.
        return re.fullmatch(r"\s*\{\s*(\"[^\"]*\"\s*:\s*(\{.*)?)?", first_line) is not None
    return bool(values) and all(isinstance(value, dict) for value in values.values())


def _add_nested(qrels: Qrels, path: Path) -> None:
    for place, values in json_values(path):
        for query_id, grades in values.items():
            if not isinstance(grades, dict):
                raise IaaRetrievalError(f"{place}: query {query_id!r} must hold documents with a grade each")
            for doc_id, grade in grades.items():
                where = f"{place}, query {query_id!r}"
                if isinstance(grade, (bool, list, dict, type(None))):
                    raise IaaRetrievalError(f"{where}: document {doc_id!r} has no grade")
                _add(qrels, where, query_id, doc_id, str(grade))


def _add_record(qrels: Qrels, place: str, record: Record) -> None:
    fields = {_plain(name): name for name in reversed(record)}

    def names(known: tuple[str, ...], usual: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(fields[name] for name in known if name in fields) or usual

    query_id = require_id(record, names(_QUERY_NAMES, ("query-id", "query_id", "qid")), place)
    doc_id = require_id(record, names(_DOCUMENT_NAMES, ("corpus-id", "corpus_id", "docid")), place)
    grade = next((record[fields[name]] for name in _GRADE_NAMES if name in fields), None)
    if grade is None or isinstance(grade, (bool, list, dict)):
        raise IaaRetrievalError(f"{place} has no grade (looked for {', '.join(_GRADE_NAMES[:3])} ...)")
    _add(qrels, place, query_id, doc_id, str(grade))


def _add(qrels: Qrels, place: str, query_id: str, doc_id: str, written: str) -> None:
    grade = _grade(written, place)
    judged = qrels.setdefault(check_id(query_id, place), {})
    if judged.setdefault(check_id(doc_id, place), grade) != grade:
        raise IaaRetrievalError(
            f"{place}: document {doc_id!r} of query {query_id!r} has two grades, {judged[doc_id]} and {written}"
        )


def _grade(written: str, place: str) -> int:
    if not _GRADE.fullmatch(written):
        raise IaaRetrievalError(
            f"{place}: grade {written!r} is not a whole number; a header line names columns such as query-id, "
            "corpus-id and score"
        )
    value = float(written)
    if not value.is_integer():
        raise IaaRetrievalError(
            f"{place}: grade {written!r} is not a whole number; grades are 0 (not relevant), 1, 2 ..."
        )
    return int(value)
