"""TREC topics: ``<top>`` records as SGML or XML, and the ``<topic number="...">`` of later tracks."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

from iaa_retrieval.collections.lines import check_id, clean_text, read_text
from iaa_retrieval.collections.types import Query
from iaa_retrieval.errors import IaaRetrievalError

_BEGINNING = re.compile(r"<(\?xml|!--|!doctype|/?[a-z][^<>\t]*>)", re.IGNORECASE)
_RECORD = re.compile(r"<(top|topic)(\s[^<>]*)?>(.*?)(?=</\1\s*>|<\1[\s>]|\Z)", re.DOTALL | re.IGNORECASE)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_LITERAL = re.compile(r"<!\[CDATA\[(.*?)\]\]>", re.DOTALL)
_ENTITY = re.compile(r"&(?:#\d+|#x[0-9a-f]+|[a-z]\w*);", re.IGNORECASE)  # with its semicolon: AT&T has none
_NUMBER_ATTRIBUTE = re.compile(r"""\b(?:number|num|id|qid|topic_?id)\s*=\s*["']?([^"'<>]*)["']?""", re.IGNORECASE)

# A field without a closing tag ends where one of these begins, or any tag at the beginning of a line. Other angle
# brackets ("<5 years") belong to the text.
_FIELDS = (
    *("num", "number", "title", "query", "question", "desc", "description", "narr", "narrative", "smry", "summary"),
    *("con", "fac", "def", "dom", "head", "subtopic", "top", "topic"),
)
_FIELD_END = rf"</?(?:{'|'.join(_FIELDS)})\b[^<>]*>|\n[ \t]*</?[a-z][\w-]*(?:\s[^<>]*)?>|\Z"


def looks_like_trec_topics(first_line: str) -> bool:
    """Whether a file that begins so holds TREC topics."""
    line = first_line.strip()
    if "\t" in line:  # perhaps the id of a tab-separated line
        return re.match(rf"<(?:{'|'.join(_FIELDS)}|topics)\b", line, re.IGNORECASE) is not None
    return _BEGINNING.match(line) is not None


def read_trec_topics(path: Path) -> Iterator[tuple[str, Query]]:
    """Yield ``(place, query)``: the title of a ``<top>``, the query (else the title) of a ``<topic>``.

    Raises:
        IaaRetrievalError: no topic, or one without a number or without a title or query.
    """
    text = _COMMENT.sub(lambda comment: "\n" * comment[0].count("\n"), read_text(path).replace("\r\n", "\n"))
    records = list(_RECORD.finditer(text))
    if not records:
        raise IaaRetrievalError(f"{path} holds no queries: no <top> or <topic> record")
    for position, match in enumerate(records, start=1):
        tag, attributes, body = match[1].lower(), match[2] or "", match[3]
        place = f"{path}, topic {position}"
        where = f"(line {text.count(chr(10), 0, match.start()) + 1})"
        number = _NUMBER_ATTRIBUTE.search(attributes)
        query_id = number[1].strip() if number else _field(body, ("num", "number", "identifier", "qid"), "Number")
        if not query_id:
            raise IaaRetrievalError(f"{place} has no <num> and no number attribute {where}")
        names = ("title", "query") if tag == "top" else ("query", "title")
        title = _field(body, names, "Topic")
        if not title and tag == "topic" and not re.search(r"<[a-z]", body, re.IGNORECASE):
            title = _plain(body)  # the clinical trials track has nothing but the text
        if not title:
            raise IaaRetrievalError(f"{place} has no <{names[0]}> or <{names[1]}> {where}")
        yield place, Query(check_id(query_id, f"{place} {where}"), title)


def _field(body: str, names: tuple[str, ...], label: str) -> str:
    """The text of the first of the fields that is there and not empty, without its old-style label."""
    for name in names:
        pattern = rf"<{name}(?:\s[^<>]*)?>(?:(.*?)</{name}\s*>|(.*?)(?={_FIELD_END}))"
        match = re.search(pattern, body, re.DOTALL | re.IGNORECASE)
        if match is None:
            continue
        text = match[1] if match[1] is not None else match[2]
        text = re.sub(rf"\A\s*{label}\s*:", "", text, flags=re.IGNORECASE)
        if plain := _plain(text):
            return plain
    return ""


def _plain(text: str) -> str:
    """Entities and literal sections as the characters that they stand for, white space as one space."""
    parts = _LITERAL.split(text)
    parts[::2] = [_ENTITY.sub(lambda entity: html.unescape(entity[0]), part) for part in parts[::2]]
    return " ".join(clean_text("".join(parts)).split())
