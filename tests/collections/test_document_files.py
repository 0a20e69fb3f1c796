"""A file or a folder of documents is the same documents to every verb, whatever its form."""

from __future__ import annotations

import gzip
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from iaa_retrieval import notices
from iaa_retrieval.collections.loading import load_collection
from iaa_retrieval.collections.types import Document
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.inference.corpus_reader import Corpus

RECORDS: list[dict[str, Any]] = [
    {"_id": "a", "title": "Water ", "text": " is wet"},
    {"id": 7, "contents": "one line\nand another"},
    {"_id": None, "docid": "c", "contents": None, "title": None, "text": "nul \0, bell \a and caf\u00e9 "},
    {"id": "d", "title": "only a title", "text": None},
    {"id": "e", "text": None, "title": "of the contents", "contents": "of the contents\nand more"},
]
CONTENTS = {
    "a": "Water   is wet",
    "7": "one line\nand another",
    "c": "nul \0, bell \a and caf\u00e9",
    "d": "only a title",
    "e": "of the contents\nand more",
}
LINES = "".join(json.dumps(record) + "\n" for record in RECORDS)


@pytest.fixture(autouse=True)
def nothing_said() -> None:
    notices.begin_run()


def encoded(source: Path, **options: Any) -> dict[str, str]:
    """What encode takes for the text of every document."""
    return {doc_id: " ".join(fields).strip() for doc_id, fields in Corpus(str(source), **options)}


def read(source: Path) -> dict[str, str]:
    """The contents of every document, which every way of reading must agree about."""
    collection = load_collection(str(source))
    contents = {document.doc_id: document.contents for document in collection.documents()}
    assert encoded(source) == contents
    assert collection.document_count() == len(contents)
    found = collection.get_documents(reversed(contents))
    assert {doc_id: document.contents for doc_id, document in found.items()} == contents
    return contents


def refusal(source: Path) -> str:
    """The one message with which every way of reading refuses a source."""
    messages = set()
    for documents in (lambda: load_collection(str(source)).documents(), lambda: Corpus(str(source))):
        with pytest.raises(IaaRetrievalError) as caught:
            list(documents())
        messages.add((type(caught.value), str(caught.value)))
    assert len(messages) == 1
    return messages.pop()[1]


FORMS = {
    "lines.jsonl": LINES,
    "lines.json": LINES,
    "lines.txt": LINES,
    "lines": LINES,
    "bom.jsonl": "\ufeff" + LINES.replace("\n", "\r\n\r\n"),
    "array.json": json.dumps(RECORDS),
    "array.jsonl": json.dumps(RECORDS),
    "LINES.JSONL": LINES,
    "indented.json": json.dumps(RECORDS, indent=2),
    "bom.json": "\ufeff\n" + json.dumps(RECORDS, indent=2),
    "objects.json": "\n".join(json.dumps(record, indent=1) for record in RECORDS),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("compress", [False, True])
def test_every_form_of_json_is_read_the_same(name: str, compress: bool, tmp_path: Path) -> None:
    path = tmp_path / (f"{name}.{'GZ' if name.isupper() else 'gz'}" if compress else name)
    path.write_bytes(gzip.compress(FORMS[name].encode()) if compress else FORMS[name].encode())
    assert read(path) == CONTENTS


def test_a_single_object_is_a_document(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(json.dumps(RECORDS[0], indent=2))
    (tmp_path / "two.json").write_text(json.dumps(RECORDS[1]))
    assert read(tmp_path / "one.json") == {"a": CONTENTS["a"]}
    assert read(tmp_path) == {"a": CONTENTS["a"], "7": CONTENTS["7"]}


@pytest.mark.parametrize("name", ["d.tsv", "d.txt", "d.tsv.gz"])
def test_tab_separated_lines_are_read_the_same(name: str, tmp_path: Path) -> None:
    data = "\ufeff1\t one text\r\n\r\n2\ttwo \0 texts\r\n".encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert read(tmp_path / name) == {"1": "one text", "2": "two \0 texts"}
    assert read(tmp_path) == {"1": "one text", "2": "two \0 texts"}


@pytest.mark.parametrize("header", ["id\ttext", "pid\tpassage", "doc_id\tcontents", "docno\ttext"])
def test_the_header_of_a_table_is_no_document(header: str, tmp_path: Path) -> None:
    (tmp_path / "d.tsv").write_text(f"{header}\n1\tone text\nid\ttext\n")
    assert read(tmp_path / "d.tsv") == {"1": "one text", "id": "text"}
    assert load_collection(str(tmp_path / "d.tsv")).document_count() == 2


def test_a_collection_is_the_same_by_its_folder_and_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text(LINES)
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "water"}\n')
    assert read(tmp_path) == read(tmp_path / "corpus.jsonl") == CONTENTS
    (tmp_path / "corpus.jsonl").write_text('{"_id": "a", "title": "T", "text": "x"}\n')
    for fields in (["text"], ["title", "text"]):
        by_folder, by_file = (encoded(path, fields=fields) for path in (tmp_path, tmp_path / "corpus.jsonl"))
        assert by_folder == by_file == {"a": "x" if fields == ["text"] else "T x"}


@pytest.mark.parametrize(("name", "text", "message"), [
    ("a.json", '[{"id": "1", "text": "x"},\n {"id": "2", "text" "y"}]', "a.json:2 is not valid JSON: Expecting ':'"),
    ("a.json", '[{"id": "1", "text": "x"}\n {"id": "2"}]', "a.json:2 is not valid JSON: expected a comma or the end"),
    ("a.json", '[\n{"id": "1", "text": "x"},\n', "a.json:3 is not valid JSON: the array does not end"),
    ("a.json", '[\n{"id": "1", "text": "x"},\n\n3]', "a.json:4 holds int, not a JSON object"),
    ("a.json", '[\n{"id": "1", "text": "x"},\n{"id": "1", "text": "y"}]', "a.json:3: document id '1' occurs twice"),
    ("a.json", '{\n"id": "1"\n}', "a.json:1 has no text"),
    ("a.jsonl", '{"id": "1", "text": "x"}\n{"id": "2"', "a.jsonl:2 is not valid JSON"),
    ("a.jsonl", '{\n"id": "1", "text": "x"}\n', "a.jsonl:1 is not valid JSON"),
    ("a.jsonl", "[" * 100_000, "a.jsonl is not valid JSON"),
    ("a.jsonl", '{"id": {"$oid": "1"}, "text": "x"}', "a.jsonl:1: 'id' must be a non-empty string"),
    ("a.jsonl", '{"id": null, "text": "x"}', r"a.jsonl:1 has no id \(looked for id, _id, docid\)"),
    ("a.jsonl", '{"id": "1", "text": 3.5}', "a.jsonl:1: 'text' must be text, not float"),
    ("a.jsonl", '{"id": "1", "title": ["x"], "text": "y"}', "a.jsonl:1: 'title' must be text, not list"),
    ("a.jsonl", '{"id": "1", "contents": {"a": "b"}}', "a.jsonl:1: 'contents' must be text, not dict"),
    ("a.tsv", "1\tx\n1\ty\n", "a.tsv:2: document id '1' occurs twice, first in .*a.tsv:1"),
    ("a.tsv", "1\tx\ty\n", "a.tsv:1: expected 2 tab-separated columns"),
    ("a.xml", "<doc/>", "documents are read from .jsonl or .tsv files .* or from a folder of them"),
])  # fmt: skip
def test_what_one_verb_refuses_all_refuse_in_the_same_words(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert re.search(message, refusal(tmp_path / name))


def test_of_two_ids_the_same_counts_everywhere_and_a_warning_says_which(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "mongo.jsonl"
    path.write_text('{"_id": "64f0", "id": "d1", "text": "x"}\n{"_id": "d2", "id": "d2", "text": "y"}\n')
    assert list(read(path)) == ["d1", "d2"]
    warning = f"documents with two ids, of which the first of id, _id, docid counts: 1 (e.g. {path}:1)"
    assert caplog.messages == [warning]
    assert list(encoded(path, docid_field="_id")) == ["64f0", "d2"]


def test_a_title_that_contents_lack_is_not_read_and_a_warning_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(
        '{"id": "1", "title": "T", "contents": "T\\nbody"}\n{"id": "2", "title": "Lost", "contents": "body"}\n'
        '{"id": "3", "title": [1], "contents": "x"}\n{"id": "4", "title": "y", "contents": null}\n'
    )
    assert read(path) == {"1": "T\nbody", "2": "body", "3": "x", "4": ""}
    warning = f"documents with a title that their contents lack and that is not read, as in Anserini: 2 (e.g. {path}:2)"
    assert caplog.messages == [warning]


# Folders.


def document(number: int) -> str:
    return json.dumps({"id": f"d{number}", "text": f"text {number}"}) + "\n"


def test_sub_folders_are_read_in_a_fixed_order(tmp_path: Path) -> None:
    for number, name in enumerate(["b/part.jsonl", "a/z/part.jsonl.gz", "a/part.json", "part-0.jsonl", "c.tsv"]):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        data = document(number) if name != "c.tsv" else "d4\ttext 4\n"
        (tmp_path / name).write_bytes(gzip.compress(data.encode()) if name.endswith("gz") else data.encode())
    assert list(read(tmp_path)) == ["d2", "d1", "d0", "d4", "d3"]


def test_what_is_no_document_is_passed_over_with_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "part-00000").write_text(document(0))  # of a cluster job
    (tmp_path / "part-1.jsonl").write_text(document(1))
    (tmp_path / "part-2.jsonl").write_text("")
    os.mkfifo(tmp_path / "pipe.jsonl")
    others = {
        "README.txt": b"10 documents\n", "README.md": b"# Documents\n", "_SUCCESS": b"", "image.png": b"\x89PNG\r\n\0",
        "queries.dev.tsv": b"q1\tair\n", "topics.jsonl": b'{"id": "q1", "text": "air"}\n', "qrels.tsv": b"q1 0 d1 1\n",
        "settings.json": b'{"language": "en"}', "run.log": b'{"level": "info"}\n', "broken.gz": b"\x1f\x8b\x08broken",
        "statistics.txt": b"documents\t10\n", "latin.txt": b"caf\xe9 au lait\n", "notebook.ipynb": b'{\n"cells": []}',
    }  # fmt: skip
    for name, data in others.items():
        (tmp_path / name).write_bytes(data)
    for name in (".DS_Store", ".part-3.jsonl.crc", ".git/part.jsonl", "sub/.ipynb_checkpoints/part.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(document(9))
    assert list(read(tmp_path)) == ["d0", "d1"]
    names = sorted(others)
    assert caplog.messages == [
        f"{tmp_path}: files passed over, for they hold no documents: {len(names)} ({', '.join(names[:5])} ...)"
    ]


def test_a_folder_without_documents_says_which_names_are_read(tmp_path: Path) -> None:
    assert "holds no file of documents: documents are read from .jsonl or .tsv files" in refusal(tmp_path)
    (tmp_path / "a.parquet").write_bytes(b"PAR1\0")
    assert "holds no file of documents (a.parquet): documents are read from .jsonl" in refusal(tmp_path)


def test_links_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "part.jsonl").write_text(document(0))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "part-1.jsonl").write_text(document(1))
    os.symlink(tmp_path / "elsewhere", folder / "linked")
    os.symlink(tmp_path / "elsewhere", folder / "linked-again")
    os.symlink(folder, folder / "loop")
    os.symlink(tmp_path, folder / "above")
    assert list(read(folder)) == ["d0", "d1"]
    os.symlink(tmp_path / "gone.jsonl", folder / "part-2.jsonl")
    assert "part-2.jsonl" in refusal(folder) and "No such file" in refusal(folder)


def test_an_id_in_two_files_of_a_folder_is_refused_with_both_places(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part.jsonl").write_text(document(0))
    a, b = (tmp_path / name / "part.jsonl:1" for name in "ab")
    assert refusal(tmp_path) == f"{b}: document id 'd0' occurs twice, first in {a}"


def test_queries_and_judgments_are_never_read_as_documents(tmp_path: Path) -> None:
    beir = tmp_path / "scifact"
    (beir / "qrels").mkdir(parents=True)
    (beir / "queries.jsonl").write_text('{"_id": "q1", "text": "water"}\n')
    (beir / "part.jsonl").write_text(document(0))
    assert "is not in BEIR layout: no corpus.jsonl or corpus.jsonl.gz" in refusal(beir)
    assert "its sub-folder scifact is in BEIR layout; name that one" in refusal(tmp_path)


def test_a_folder_of_documents_has_no_queries_judgments_or_splits(tmp_path: Path) -> None:
    (tmp_path / "part.jsonl").write_text(document(0))
    collection = load_collection(str(tmp_path))
    assert collection.name == str(tmp_path) and collection.splits() == [] and collection.split is None
    for ask in (collection.queries, collection.qrels):
        with pytest.raises(UsageError, match="holds documents only"):
            ask()
    with pytest.raises(UsageError, match="holds documents only and has no split 'test'"):
        load_collection(f"{tmp_path}:test")


def test_files_beside_a_corpus_without_queries_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "corpus.jsonl").write_text(document(0))
    (tmp_path / "2024").mkdir()
    (tmp_path / "2024" / "part.jsonl").write_text(document(1))
    assert list(read(tmp_path)) == ["d0"]
    assert len(caplog.messages) == 1 and "that are not read: 1 (2024/part.jsonl)" in caplog.text
    notices.begin_run()
    caplog.clear()
    (tmp_path / "queries.jsonl").write_text("")
    assert list(read(tmp_path)) == ["d0"] and not caplog.messages


# Half a surrogate pair.


@pytest.mark.parametrize("name", ["d.jsonl", "d.json", "d.txt"])
def test_half_an_emoji_becomes_a_replacement_character_everywhere(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(
        '{"id": "a", "title": "\\udc00cut", "text": "half \\ud83d"}\n'
        '{"id": "b", "contents": "\\ud83d\\ude00 \\ude00\\ud83d"}\n'
    )
    assert read(tmp_path / name) == {"a": "\ufffdcut half \ufffd", "b": "\U0001f600 \ufffd\ufffd"}
    named = Corpus(str(tmp_path / name), ["text"])
    assert [document.fields for document in named] == [("half \ufffd",), ("\U0001f600 \ufffd\ufffd",)]


@pytest.mark.parametrize("bad", ["d\\ud83d", "d\\u0000"])
def test_an_id_with_a_character_that_is_not_text_is_refused_with_file_and_line(bad: str, tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(f'{{"id": "a", "text": "x"}}\n{{"id": "{bad}", "text": "y"}}\n')
    assert refusal(path).startswith(f"{path}:2: id 'd\\") and "not text" in refusal(path)


def test_a_file_of_documents_is_streamed(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(document(0) + "damaged\n")
    assert next(load_collection(str(path)).documents()) == Document("d0", "", "text 0")
    assert next(iter(Corpus(str(path)))).doc_id == "d0"
