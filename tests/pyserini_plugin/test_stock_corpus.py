"""What stock pyserini.encode is given to read: the documents that every verb reads."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from checkpoints import DOCUMENTS, write_collection, write_jsonl

from iaa_retrieval.collections.loading import load_collection
from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.java import find_java, prepare_java
from iaa_retrieval.notices import begin_run
from iaa_retrieval.pyserini_plugin.stock_corpus import corpus_for_stock, with_corpus

pytestmark = pytest.mark.usefixtures("same_environment")
needs_java = pytest.mark.skipif(find_java() is None, reason="no Java 21 or newer on this machine")


@pytest.fixture(autouse=True)
def nothing_said() -> None:
    begin_run()


def read(source: Path | str, *fields: str, **options: str) -> dict[str, list[str]]:
    """What Pyserini's own reader finds: id -> the values of the fields."""
    prepare_java()  # which importing anything of Pyserini starts
    from pyserini.encode import JsonlCollectionIterator

    with corpus_for_stock(str(source), fields, **options) as path:
        found = JsonlCollectionIterator(path, list(fields) or None).all_info
    rows = zip(*(found[name] for name in fields or ("text",)), strict=True)
    return {doc_id: list(row) for doc_id, row in zip(found["id"], rows, strict=True)}


@needs_java
def test_every_form_of_a_collection_reaches_pyserini(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_collection(tmp_path / "beir")
    packed = tmp_path / "corpus.jsonl.gz"
    packed.write_bytes(gzip.compress((folder / "corpus.jsonl").read_bytes()))
    texts = {doc_id: [text] for doc_id, (_, text) in DOCUMENTS.items()}
    for source in (folder, folder / "corpus.jsonl", packed):
        caplog.clear()
        assert read(source) == texts
        assert [record.getMessage().partition(" are not")[0] for record in caplog.records] == [
            f"{source}: the titles of 7 of 8 documents"
        ]
        caplog.clear()
        assert read(source, "title", "text") == {d: [title, text] for d, (title, text) in DOCUMENTS.items()}
        assert not caplog.records
    (tmp_path / "d.tsv").write_text("1\tone\n2\ttwo\n")
    assert read(tmp_path / "d.tsv") == {"1": ["one"], "2": ["two"]}
    assert len(read("embedded")) == load_collection("embedded").document_count()


@needs_java
def test_fields_ids_and_delimiter_are_pyserinis(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "d.jsonl", [{"key": "a", "contents": "T|x"}, {"key": "b", "contents": "|"}])
    found = read(path, "title", "text", docid_field="key", delimiter="|")
    assert found == {"a": ["T", "x"], "b": ["", ""]}  # and not null, which its encoders cannot take


def test_what_cannot_be_read_is_named_before_pyserini_starts(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "d.jsonl", [{"id": "a", "text": "x"}, {"id": "a", "text": "y"}])
    with (
        pytest.raises(IaaRetrievalError, match=r"d\.jsonl:2: document id 'a' occurs twice"),
        corpus_for_stock(str(path)),
    ):
        pass


@pytest.mark.parametrize(("name", "fields"), [("bright/d.jsonl", ()), ("d.jsonl", ("text", "image_path"))])
def test_what_only_pyserini_reads_is_left_to_it(name: str, fields: tuple[str, ...], tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / name, [{"id": "a", "text": "x"}])
    for source in (str(path), "nowhere"):
        with corpus_for_stock(source, fields) as found:
            assert found == source


def test_a_command_line_reads_the_other_file() -> None:
    words = ["input", "--corpus=a", "--docid-field", "key", "--fields", "text", "output", "--embeddings", "b"]
    assert with_corpus(words, "c") == ["input", "--corpus", "c", "--fields", "text", "output", "--embeddings", "b"]
    assert with_corpus(["input", "--corpus", "a"], "c") == ["input", "--corpus", "c"]
