"""A document in an answer has the form that Pyserini 2.x gives it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from iaa_retrieval.java import find_java, prepare_java
from iaa_retrieval.pyserini_generations import is_second_generation
from iaa_retrieval.serving.documents import as_answer

RECORDS: list[tuple[str, Any]] = [
    ('{"id": "d1", "contents": "the text"}', "the text"),
    ('{"_id": "d1", "title": "T", "text": "the text"}', {"title": "T", "text": "the text"}),
    ('{"docid": "d1", "a": 1, "b": [1, "x"], "c": {"id": 2}}', {"a": "1", "b": [1, "x"], "c": {"id": 2}}),
    ('{"id": "d1"}', {}),
    ("no JSON at all", "no JSON at all"),
    ("[1, 2]", [1, 2]),
    ('"text"', "text"),
]


@pytest.mark.parametrize(("raw", "parsed"), RECORDS)
def test_forms(raw: str, parsed: Any) -> None:
    assert as_answer(raw, parse=True) == parsed
    assert as_answer(raw, parse=False) == raw


def test_only_texts_are_shortened() -> None:
    record = {"title": "a long title", "Text": "a long text", "contents": ["a list"]}
    assert as_answer(json.dumps(record), parse=True, longest=3) == {**record, "Text": "a l"}
    assert as_answer('{"id": "d", "contents": "words"}', parse=True, longest=3) == "wor"


@pytest.mark.skipif(not is_second_generation() or find_java() is None, reason="needs Pyserini 2.x and Java")
@pytest.mark.parametrize("raw", [raw for raw, _ in RECORDS])
@pytest.mark.usefixtures("same_environment")
def test_pyserini_gives_the_same(raw: str) -> None:
    prepare_java()
    from pyserini.server.document_format import format_lucene_document, truncate_document_payload

    class Stored:
        def raw(self) -> str:
            return raw

    for parse in (True, False):
        assert as_answer(raw, parse=parse) == format_lucene_document(Stored(), parse)
    stock = truncate_document_payload(format_lucene_document(Stored(), True), max_doc_length=4)
    assert as_answer(raw, parse=True, longest=4) == stock
