import gzip
import json
from pathlib import Path

import pytest

from iaa_retrieval.collections.loading import load_collection
from iaa_retrieval.collections.qrels import read_qrels
from iaa_retrieval.collections.topics import read_topics
from iaa_retrieval.collections.types import Document, Query
from iaa_retrieval.errors import IaaRetrievalError, UsageError

DOCUMENTS = [Document("d1", "A title", "Some text"), Document("d2", "", ""), Document("3", "", "Numbered")]


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    """Three documents (one empty), three queries, two splits."""
    directory = tmp_path / "beir"
    (directory / "qrels").mkdir(parents=True)
    (directory / "corpus.jsonl").write_text(
        '{"_id": "d1", "title": "A title", "text": "Some text", "metadata": {}}\n'
        '{"_id": "d2", "title": null, "text": ""}\n'
        '{"docid": 3, "text": "Numbered"}\n'
    )
    (directory / "queries.jsonl").write_text(
        "".join(json.dumps({"_id": f"q{n}", "text": f"query {n}"}) + "\n" for n in (1, 2, 3))
    )
    (directory / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq2\td1\t1\nq1\td1\t1\n")
    (directory / "qrels" / "test.tsv").write_text("q3 0 3 2\n")
    return directory


def test_beir_directory(beir: Path) -> None:
    collection = load_collection(str(beir), "train")
    assert collection.name == f"{beir}:train"
    assert list(collection.documents()) == DOCUMENTS
    assert collection.document_count() == 3
    assert collection.splits() == ["test", "train"]
    assert collection.queries() == [Query("q1", "query 1"), Query("q2", "query 2")]
    assert collection.qrels() == {"q2": {"d1": 1}, "q1": {"d1": 1}}


def test_contents_are_title_and_text() -> None:
    assert [document.contents for document in DOCUMENTS] == ["A title Some text", "", "Numbered"]


def test_gzipped_beir_directory(beir: Path) -> None:
    for path in [beir / "corpus.jsonl", beir / "queries.jsonl", beir / "qrels" / "test.tsv"]:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    collection = load_collection(str(beir), "test")
    assert list(collection.documents()) == DOCUMENTS
    assert collection.queries() == [Query("q3", "query 3")]
    assert collection.qrels() == {"q3": {"3": 2}}


def test_split_in_the_name(beir: Path) -> None:
    assert load_collection(f"{beir}:test").qrels() == {"q3": {"3": 2}}
    assert load_collection(f"{beir}:test", "train").name == f"{beir}:train"
    assert read_qrels(f"{beir}:test") == {"q3": {"3": 2}}
    assert read_topics(f"{beir}:test") == [Query("q3", "query 3")]


def test_without_a_split(beir: Path) -> None:
    collection = load_collection(str(beir))
    assert len(collection.queries()) == 3
    with pytest.raises(UsageError, match=r"choose a split of .*beir; available: test, train"):
        collection.qrels()
    (beir / "qrels" / "test.tsv").unlink()
    assert load_collection(str(beir)).name == f"{beir}:train"


def test_a_collection_says_its_split_and_whether_anybody_named_it(beir: Path) -> None:
    assert (load_collection(str(beir)).split, load_collection(str(beir)).split_was_chosen) == (None, False)
    (beir / "qrels" / "train.tsv").unlink()
    chosen, named = load_collection(str(beir)), load_collection(f"{beir}:test")
    assert (chosen.split, chosen.split_was_chosen) == ("test", True)
    assert (named.split, named.split_was_chosen) == ("test", False)
    assert load_collection(str(beir), "test").split_was_chosen is False
    assert [load_collection(name).split for name in ("embedded", "embedded:dev")] == [None, "dev"]
    assert load_collection(str(beir / "corpus.jsonl")).split is None


def test_unknown_split_names_the_others(beir: Path) -> None:
    with pytest.raises(UsageError, match="no split 'dev'; available: test, train"):
        load_collection(str(beir), "dev")


def test_get_documents(beir: Path) -> None:
    collection = load_collection(str(beir))
    assert collection.get_documents(["3", "d1", "3"]) == {"3": DOCUMENTS[2], "d1": DOCUMENTS[0]}
    assert collection.get_documents([]) == {}
    with pytest.raises(IaaRetrievalError, match=r"document 'd9' is not in collection .*beir"):
        collection.get_documents(["d1", "d9"])


def test_documents_are_streamed(beir: Path) -> None:
    with open(beir / "corpus.jsonl", "a") as stream:
        stream.write("damaged\n")
    documents = load_collection(str(beir)).documents()
    assert [next(documents) for _ in range(3)] == DOCUMENTS
    with pytest.raises(IaaRetrievalError, match=r"corpus\.jsonl:4 is not valid JSON"):
        next(documents)


@pytest.mark.parametrize(("line", "message"), [
    ('{"_id": "d1", "text": "again"}', r"corpus\.jsonl:4: document id 'd1' occurs twice"),
    ('{"title": "t", "text": "x"}', r"corpus\.jsonl:4 has no id \(looked for id, _id, docid\)"),
    ('{"_id": "", "text": "x"}', r"corpus\.jsonl:4: '_id' must be a non-empty string"),
    ('{"_id": "d 4", "text": "x"}', r"corpus\.jsonl:4: 'd 4' is empty or has white space"),
    ('{"_id": "d4", "title": "t"}', r"corpus\.jsonl:4 has no text"),
    ('{"_id": "d4", "text": ["x"]}', r"corpus\.jsonl:4: 'text' must be text, not list"),
    ("[1]", r"corpus\.jsonl:4 holds list, not a JSON object"),
])  # fmt: skip
def test_bad_corpus_lines_are_named(beir: Path, line: str, message: str) -> None:
    with open(beir / "corpus.jsonl", "a") as stream:
        stream.write(line + "\n")
    with pytest.raises(IaaRetrievalError, match=message):
        list(load_collection(str(beir)).documents())


def test_damaged_encodings_and_archives_are_named(tmp_path: Path) -> None:
    (tmp_path / "latin.tsv").write_bytes(b"1\tplain\n2\tcaf\xe9\n")
    with pytest.raises(IaaRetrievalError, match=r"latin\.tsv:2 is not UTF-8"):
        list(load_collection(str(tmp_path / "latin.tsv")).documents())
    (tmp_path / "cut.tsv.gz").write_bytes(gzip.compress(b"1\tplain\n" * 1000)[:-10])
    with pytest.raises(IaaRetrievalError, match=r"cannot read .*cut\.tsv\.gz"):
        load_collection(str(tmp_path / "cut.tsv.gz")).document_count()


def test_a_judgment_of_a_query_that_is_missing_is_kept(beir: Path, caplog: pytest.LogCaptureFixture) -> None:
    (beir / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq7\td1\t1\nq2\td9\t1\n")
    for _ in range(2):
        collection = load_collection(str(beir), "train")
        assert collection.qrels() == {"q7": {"d1": 1}, "q2": {"d9": 1}}
        assert collection.queries() == [Query("q2", "query 2")]
    assert len(caplog.messages) == 1
    assert "train.tsv: 1 of 2 judged queries are not in" in caplog.text and "'q7'" in caplog.text


def test_judgments_in_json_lines_are_a_split(beir: Path) -> None:
    judgment = '{"query-id": "q1", "corpus-id": "d1", "score": 1.0}\n'
    (beir / "qrels" / "dev.jsonl.gz").write_bytes(gzip.compress(judgment.encode()))
    (beir / "qrels" / "train.jsonl").write_text(judgment)  # BEIR's own counts
    assert load_collection(str(beir)).splits() == ["dev", "test", "train"]
    assert load_collection(str(beir), "dev").qrels() == {"q1": {"d1": 1}}
    assert load_collection(str(beir), "train").qrels() == {"q2": {"d1": 1}, "q1": {"d1": 1}}


def test_one_judged_query_must_exist(beir: Path) -> None:
    (beir / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq7\td1\t1\n")
    collection = load_collection(str(beir), "train")
    for read in (collection.queries, collection.qrels):
        with pytest.raises(IaaRetrievalError, match=r"train\.tsv judges query 'q7', which is not in "):
            read()


def test_directory_without_corpus(tmp_path: Path) -> None:
    with pytest.raises(IaaRetrievalError, match=r"not in BEIR layout: no corpus\.jsonl"):
        load_collection(str(tmp_path))


@pytest.mark.parametrize(("name", "text"), [
    ("c.jsonl", '{"id": "1", "contents": "one text"}\n{"id": "2", "title": "two", "text": "texts"}\n'),
    ("c.tsv", "1\tone text\n2\ttwo texts\n"),
])  # fmt: skip
@pytest.mark.parametrize("compress", [False, True])
def test_document_files(tmp_path: Path, name: str, text: str, compress: bool) -> None:
    path = tmp_path / (name + ".gz" if compress else name)
    path.write_bytes(gzip.compress(text.encode()) if compress else text.encode())
    collection = load_collection(str(path))
    assert [(d.doc_id, d.contents) for d in collection.documents()] == [("1", "one text"), ("2", "two texts")]
    assert collection.document_count() == 2
    assert collection.splits() == []
    with pytest.raises(UsageError, match="documents only"):
        collection.queries()
    with pytest.raises(UsageError, match="documents only"):
        collection.qrels()
    with pytest.raises(UsageError, match="no split 'train'"):
        load_collection(str(path), "train")


def test_bad_document_files(tmp_path: Path) -> None:
    (tmp_path / "c.tsv").write_text("1\ta\n2\n")
    with pytest.raises(IaaRetrievalError, match=r"c\.tsv:2: expected 2 tab-separated columns .* found 1"):
        list(load_collection(str(tmp_path / "c.tsv")).documents())
    (tmp_path / "c.xml").write_text("")
    with pytest.raises(UsageError, match=r"read from \.jsonl or \.tsv"):
        load_collection(str(tmp_path / "c.xml"))
    with pytest.raises(IaaRetrievalError, match="no such file or directory"):
        load_collection(str(tmp_path / "gone"))
