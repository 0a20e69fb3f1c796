"""What the records of ir_datasets become, without its data."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from iaa_retrieval.collections.ir_datasets_collection import IrDatasetsCollection
from iaa_retrieval.collections.types import Document, Query
from iaa_retrieval.errors import IaaRetrievalError


def collection_of(documents: list[Any], queries: list[Any]) -> IrDatasetsCollection:
    collection = object.__new__(IrDatasetsCollection)
    collection.name = "some/collection"
    collection._dataset = SimpleNamespace(
        has_docs=lambda: True,
        has_queries=lambda: True,
        docs_iter=lambda: iter(documents),
        queries_iter=lambda: iter(queries),
        docs_store=lambda: SimpleNamespace(get_many=lambda ids: {d.doc_id: d for d in documents if d.doc_id in ids}),
    )
    return collection


def test_half_an_emoji_becomes_a_replacement_character() -> None:
    collection = collection_of(
        [
            SimpleNamespace(doc_id="1", title="cut \ud83d", text="\udc00 x"),
            SimpleNamespace(doc_id="2", default_text=lambda: "y \ud83d"),
        ],
        [SimpleNamespace(query_id="1", text="\ud83d"), SimpleNamespace(query_id="2", default_text=lambda: "\udfff")],
    )
    documents = [Document("1", "cut \ufffd", "\ufffd x"), Document("2", "", "y \ufffd")]
    assert list(collection.documents()) == documents
    assert list(collection.get_documents(["1", "2"]).values()) == documents
    assert collection.queries() == [Query("1", "\ufffd"), Query("2", "\ufffd")]


def test_an_id_with_it_is_refused() -> None:
    record = SimpleNamespace(doc_id="\ud83d", query_id="\ud83d", text="x")
    collection = collection_of([record], [record])
    for read in (lambda: list(collection.documents()), collection.queries):
        with pytest.raises(IaaRetrievalError, match=r"some/collection: id '\\ud83d' has a character that is not text"):
            read()
