"""Case 07: half an emoji is a replacement character in every verb, and no traceback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas
import pytest
from click.testing import CliRunner

from iaa_retrieval.collections.loading import load_collection
from iaa_retrieval.collections.topics import read_topics
from iaa_retrieval.encode import main as encode
from iaa_retrieval.index import main as index
from iaa_retrieval.java import find_java, prepare_java
from iaa_retrieval.pyserini_plugin.rerankers import stored_text

pytestmark = pytest.mark.usefixtures("same_environment")
needs_java = pytest.mark.skipif(find_java() is None, reason="no Java 21 or newer on this machine")


@pytest.fixture
def case(reported_cases: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(reported_cases / "07-lone-surrogate", tmp_path / "case"))


@pytest.fixture
def contents(case: Path) -> dict[str, str]:
    """The contents of every document, read without our readers."""
    records = [json.loads(line) for line in (case / "docs.jsonl").read_text().splitlines()]
    texts = {record["id"]: record["text"] for record in records}
    clean = {doc_id: "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in texts[doc_id]) for doc_id in texts}
    assert clean != texts
    return clean


def run(command: object, *words: object) -> None:
    result = CliRunner().invoke(command, [str(word) for word in words])  # type: ignore[arg-type]
    assert result.exit_code == 0, (result.output, result.exception)


def test_documents_and_queries_are_encoded(
    case: Path, contents: dict[str, str], tiny_backbone: Callable[..., Path], tmp_path: Path
) -> None:
    plain = ["--encoder", tiny_backbone("bert"), "--precision", "fp32", "--device", "cpu"]
    source = ["input", "--corpus", case / "docs.jsonl", "output", "--embeddings", tmp_path / "documents"]
    run(encode, *source, "encoder", *plain, "--pooling", "mean")
    lines = (tmp_path / "documents" / "embeddings.jsonl").read_text().splitlines()
    assert {record["id"]: record["contents"] for record in map(json.loads, lines)} == contents
    run(encode, "queries", "--topics", case / "queries.jsonl", "--output", tmp_path / "queries", *plain)
    assert list(pandas.read_pickle(tmp_path / "queries" / "embedding.pkl")["text"]) == [
        query.text for query in read_topics(case / "queries.jsonl")
    ]
    assert "\ufffd" in read_topics(case / "queries.jsonl")[0].text


@needs_java
def test_documents_are_indexed_and_stored_with_the_same_text(
    case: Path, contents: dict[str, str], tmp_path: Path
) -> None:
    assert {d.doc_id: d.contents for d in load_collection(str(case / "docs.jsonl")).documents()} == contents
    run(index, "--collection", case / "docs.jsonl", "--output", tmp_path / "lucene", "--threads", 1)
    prepare_java()
    from pyserini.index.lucene import LuceneIndexReader

    reader = LuceneIndexReader(str(tmp_path / "lucene"))
    for doc_id, text in contents.items():
        assert stored_text(reader.doc_raw(doc_id), None, doc_id) == text


def test_a_stored_document_with_the_escape_is_read_the_same() -> None:
    assert stored_text('{"id": "1", "title": "a \\ud83d", "text": "b"}', None, "1") == "a \ufffd b"


def test_ids_with_it_are_refused_with_file_and_line(case: Path) -> None:
    (case / "docs.jsonl").write_text('{"id": "1", "contents": "a"}\n{"id": "\\ud83d", "contents": "b"}\n')
    (case / "queries.jsonl").write_text('{"_id": "q\\ude00", "text": "b"}\n')
    for words, place in (
        (["--collection", "docs.jsonl"], "docs.jsonl:2"),
        (["--collection", "queries.jsonl"], "queries.jsonl:1"),
    ):
        words[1] = str(case / words[1])
        result = CliRunner().invoke(index, [*words, "--output", str(case / "lucene"), "--threads", "1"])
        assert result.exit_code == 1 and f"{place}: id '" in result.output, result.output
        assert isinstance(result.exception, SystemExit)
    words = ["queries", "--topics", str(case / "queries.jsonl"), "--output", str(case / "q")]
    result = CliRunner().invoke(encode, [*words, "--encoder", "all-MiniLM-L6-v2"])
    assert result.exit_code == 1 and "queries.jsonl:1: id 'q\\ude00'" in result.output, result.output
