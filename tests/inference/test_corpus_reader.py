"""Documents as stock Pyserini parses them, with mistakes named by file and line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from checkpoints import DOCUMENTS, write_collection

from iaa_retrieval.collections.loading import load_collection
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.inference.corpus_reader import Corpus

CORPORA: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [
    (
        {"fields": ["text"]},
        [{"id": "a", "contents": "water"}, {"id": 7, "contents": " land "}, {"_id": "c", "text": " h "}],
    ),
    (
        {"fields": ["title", "text"]},
        [{"_id": "a", "title": " one ", "text": "two"}, {"id": "b", "contents": "one\ntwo\n"}],
    ),
    ({"fields": ["title", "text"]}, [{"id": "a", "contents": "one \n two"}, {"id": "b", "contents": "only a title\n"}]),
    ({"fields": ["text", "title"], "delimiter": "##"}, [{"id": "a", "contents": "text## title##"}]),
    ({"fields": ["url", "text"], "delimiter": "\t"}, [{"id": "a", "contents": "there\there"}]),
    ({"fields": ["text"], "docid_field": "key"}, [{"id": "no", "key": "yes", "contents": "water"}]),
]


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def read(path: Path, **options: Any) -> list[tuple[str, tuple[str, ...]]]:
    return [tuple(document) for document in Corpus(str(path), **options)]


@pytest.mark.parametrize(("options", "records"), CORPORA)
def test_fields_are_those_that_stock_pyserini_finds(
    options: dict[str, Any], records: list[dict[str, Any]], tmp_path: Path, java: None
):
    from pyserini.encode import JsonlCollectionIterator

    path = write(tmp_path / "corpus.jsonl", *records)
    stock = JsonlCollectionIterator(
        str(path), options.get("fields", ["text"]), options.get("docid_field"), options.get("delimiter", "\n")
    ).all_info
    fields = options.get("fields", ["text"])
    expected = [(doc_id, tuple(stock[name][i] for name in fields)) for i, doc_id in enumerate(stock["id"])]
    assert read(path, **options) == expected


@pytest.mark.parametrize(("count", "shards"), ((10, 3), (2, 3), (9, 1), (8, 4)))
def test_shards_are_cut_as_stock_pyserini_cuts_them(count: int, shards: int, tmp_path: Path, java: None):
    from pyserini.encode import JsonlCollectionIterator

    path = write(tmp_path / "corpus.jsonl", *({"id": f"d{i}", "contents": "water"} for i in range(count)))
    stock = JsonlCollectionIterator(str(path), ["text"])
    together = []
    for shard in range(shards):
        ids = [doc_id for doc_id, _ in read(path, shard_id=shard, shard_num=shards)]
        assert ids == [doc_id for batch in stock(100, shard, shards) for doc_id in batch["id"]]
        together += ids
    assert together == [f"d{i}" for i in range(count)]


def test_a_directory_is_read_file_by_file_in_order(tmp_path: Path):
    for name in ("b", "a", "c"):
        write(tmp_path / f"{name}.jsonl", {"id": name, "contents": "water"})
    assert [doc_id for doc_id, _ in read(tmp_path)] == ["a", "b", "c"]


def test_gzip_and_a_byte_order_mark_are_read(tmp_path: Path):
    with gzip.open(tmp_path / "corpus.jsonl.gz", "wt", encoding="utf-8-sig") as stream:
        stream.write('{"id": "a", "contents": "wäter"}\n\n')
    assert read(tmp_path / "corpus.jsonl.gz") == [("a", ("", "wäter"))]


def test_a_collection_is_title_and_text(tmp_path: Path):
    directory = write_collection(tmp_path / "collection")
    corpus = Corpus(str(directory))
    assert corpus.is_collection and corpus.fields == ("title", "text")
    assert [tuple(document) for document in corpus] == list(DOCUMENTS.items())
    assert [tuple(document) for document in corpus] == list(DOCUMENTS.items())  # it can be read again
    assert read(directory, fields=["text"])[1] == ("d1", ("land and water made the world",))
    with pytest.raises(UsageError, match="has title and text, no url"):
        Corpus(str(directory), ["url", "text"])


def test_a_collection_has_ids_and_fields_of_its_own(tmp_path: Path):
    directory = write_collection(tmp_path / "collection")
    for options, name in (({"docid_field": "key"}, "--docid-field"), ({"delimiter": "##"}, "--delimiter")):
        with pytest.raises(UsageError, match=f"{name} is for files of documents, and .* is a collection"):
            Corpus(str(directory), **options)


def test_the_id_of_another_field_leaves_title_and_text_as_they_are(tmp_path: Path):
    path = write(tmp_path / "corpus.jsonl", {"id": "no", "key": "yes", "title": " one", "text": "two\nthree "})
    assert read(path, docid_field="key") == [("yes", ("one", "two\nthree"))]
    with pytest.raises(IaaRetrievalError, match=r"corpus.jsonl:1 has no id \(looked for name\)"):
        read(path, docid_field="name")


GOOD = {"id": "a", "contents": "water"}


@pytest.mark.parametrize(
    ("line", "message"),
    (
        ("{", "not valid JSON"),
        ('["a"]', "not a JSON object"),
        ({"contents": "water"}, r"has no id \(looked for id, _id, docid\)"),
        ({"id": None, "contents": "water"}, "has no id"),
        ({"id": "", "contents": "water"}, "'id' must be a non-empty string"),
        ({"id": "a\nb", "contents": "water"}, "is empty or has white space"),
        ({"id": "a", "contents": "water"}, r"document id 'a' occurs twice, first in .*corpus.jsonl:1"),
        ({"id": "b", "title": "water"}, r"has no text \(looked for text, contents\)"),
        ({"id": "b", "text": 5}, "'text' must be text, not int"),
        ({"id": 1.5, "text": "water"}, "'id' must be a non-empty string, not 1.5"),
        ({"id": True, "text": "water"}, "'id' must be a non-empty string, not True"),
        ({"id": ["b"], "text": "water"}, "'id' must be a non-empty string"),
    ),
)
def test_a_bad_line_is_named_as_every_verb_names_it(line: object, message: str, tmp_path: Path):
    path = write(tmp_path / "corpus.jsonl", GOOD, "", line)
    with pytest.raises(IaaRetrievalError, match=message) as error:
        read(path)
    assert f"{path}:3" in str(error.value)
    with pytest.raises(IaaRetrievalError) as others:
        list(load_collection(str(path)).documents())
    assert str(others.value) == str(error.value)


@pytest.mark.parametrize(
    ("line", "message"),
    (
        ({"id": "b", "contents": "one\ntwo\nthree"}, r"contents has 3 fields, but 1 were named \(text\)"),
        ({"id": "b", "title": "water"}, "has no text, and no contents to find the fields in; see --fields"),
        ({"id": "b", "text": ["water"]}, "'text' must be text, not list"),
    ),
)
def test_a_line_without_the_fields_that_were_asked_for_is_named(line: object, message: str, tmp_path: Path):
    path = write(tmp_path / "corpus.jsonl", GOOD, "", line)
    with pytest.raises(IaaRetrievalError, match=message) as error:
        read(path, fields=["text"])
    assert f"{path}:3" in str(error.value)


def test_an_id_in_two_files_is_refused(tmp_path: Path):
    for name in "ab":
        write(tmp_path / name, GOOD)
    with pytest.raises(IaaRetrievalError, match=r"b:1: document id 'a' occurs twice, first in .*a:1"):
        read(tmp_path)


def test_bytes_that_are_not_utf8_are_named(tmp_path: Path):
    path = tmp_path / "corpus.jsonl"
    path.write_bytes(b'{"id": "a", "contents": "water"}\n{"id": "b", "contents": "\xff"}\n')
    with pytest.raises(IaaRetrievalError, match=r"corpus.jsonl:2 is not UTF-8"):
        read(path)


def test_options_that_cannot_be_meant(tmp_path: Path):
    path = str(write(tmp_path / "corpus.jsonl", GOOD))
    for shard_id, shard_num in ((3, 3), (-1, 2), (0, 0)):
        with pytest.raises(UsageError, match=f"--shard-id {shard_id} must lie between 0 and --shard-num {shard_num}"):
            Corpus(path, shard_id=shard_id, shard_num=shard_num)
    with pytest.raises(UsageError, match=r"the input fields \(title\) must include text"):
        Corpus(path, ["title"])
    with pytest.raises(IaaRetrievalError, match=r"missing\.jsonl"):
        Corpus(str(tmp_path / "missing.jsonl"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        IaaRetrievalError, match=r"holds no file of documents: documents are read from \.jsonl or \.tsv"
    ):
        Corpus(str(tmp_path / "empty"))
