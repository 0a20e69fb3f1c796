import gzip
import json
from pathlib import Path

import pytest

from iaa_retrieval.collections.topic_files import write_topics
from iaa_retrieval.collections.topics import read_topics
from iaa_retrieval.collections.types import Query
from iaa_retrieval.errors import IaaRetrievalError, UsageError

QUERIES = [Query("1", "what is wi-fi"), Query("2", "café au lait")]
FILES = {
    "t.tsv": "1\twhat is wi-fi\n2\tcafé au lait\n",
    "t.txt": "1\twhat is wi-fi\n2\tcafé au lait\n",
    "t.jsonl": '{"_id": "1", "text": "what is wi-fi"}\n{"qid": 2, "query": "café au lait"}\n',
    "t.trec": (
        "<top>\n<num> Number: 1\n<title> what is\nwi-fi\n\n<desc> Description:\nWhat it is.\n</top>\n"
        "<top>\n<num> 2 </num>\n<title> café au lait </title>\n</top>\n"
    ),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("compress", [False, True])
def test_reads_every_format(tmp_path: Path, name: str, compress: bool) -> None:
    content = FILES[name].encode()
    path = tmp_path / (name + ".gz" if compress else name)
    path.write_bytes(gzip.compress(content) if compress else content)
    assert read_topics(path) == QUERIES


def test_written_topics_are_pyserini_json(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    write_topics(path, QUERIES)
    assert json.loads(path.read_text()) == {"1": {"title": "what is wi-fi"}, "2": {"title": "café au lait"}}
    assert read_topics(path) == QUERIES
    with pytest.raises(UsageError, match=r"named \.json"):
        write_topics(tmp_path / "t.tsv", QUERIES)


def test_a_collection_names_its_queries() -> None:
    queries = read_topics("embedded:dev")
    assert len(queries) >= 100
    assert set(queries) < set(read_topics("embedded"))


@pytest.mark.parametrize(("name", "text", "message"), [
    ("t.tsv", "1\ta\tb\n", "t.tsv:1: expected 2 tab-separated columns"),
    ("t.tsv", "1\ta\n1\tb\n", "t.tsv:2: query id '1' occurs twice"),
    ("t.tsv", "", "holds no queries"),
    ("t.jsonl", '{"text": "a"}\n', "t.jsonl:1 has no id"),
    ("t.jsonl", '{"id": "1"}\n', "t.jsonl:1 has no text"),
    ("t.jsonl", '{"id": "1"\n', "t.jsonl:1 is not valid JSON"),
    ("t.jsonl", '["1"]\n', "t.jsonl:1 holds list, not a JSON object"),
    ("t.json", "[]", "t.json is not a Pyserini topics file"),
    ("t.json", '{"1": {"text": "a"}}', "t.json, topic '1' has no \"title\""),
    ("t.trec", "<top>\n<num> 1\n</top>\n", "t.trec, topic 1 has no <title>"),
    ("t.json", '{"1": "a"}', "t.json, topic '1' has no \"title\""),
    ("t.json", '{"1": {"title": "a"}, "1": {"title": "b"}}', "t.json is not valid JSON: '1' occurs twice"),
    ("t.jsonl", '{"id": "\\ud83d", "text": "a"}', r"t.jsonl:1: id '\\ud83d' has a character that is not text"),
    ("t.json", '{"\\ud83d": {"title": "a"}}', r"topic '\\ud83d': id '\\ud83d' has a character that is not text"),
    ("t.txt", "301 no tab\n", "t.txt:1: expected 2 tab-separated columns"),
    ("t.xml", "", "topics are read from"),
    ("topics", "301 no tab\n", "topics are read from .tsv, .txt, .jsonl, .json, .trec, .xml files"),
])  # fmt: skip
def test_bad_files_are_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(IaaRetrievalError, match=message):
        read_topics(tmp_path / name)


@pytest.mark.parametrize("name", ["t.json", "t.json.gz", "t.txt", "t"])
@pytest.mark.parametrize("text", [
    '\ufeff{"1": {"title": "what is wi-fi"},\n "2": {"title": "café au lait"}}',
    '{"_id": "1", "text": "what is wi-fi"}\r\n{"_id": "2", "title": "no", "text": "café au lait"}\r\n',
])  # fmt: skip
def test_json_topics_are_read_whatever_the_file_is_called(tmp_path: Path, name: str, text: str) -> None:
    data = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert read_topics(tmp_path / name) == QUERIES


def test_tab_separated_topics_of_any_name(tmp_path: Path) -> None:
    (tmp_path / "queries.dev").write_bytes(b"\xef\xbb\xbf1\t<b> & AT&T <5\r\n<2>\t<top>\r\n")
    assert read_topics(tmp_path / "queries.dev") == [("1", "<b> & AT&T <5"), ("<2>", "<top>")]
    (tmp_path / "q.tsv").write_text("<urn:1>\tfirst\n")
    assert read_topics(tmp_path / "q.tsv") == [("<urn:1>", "first")]


@pytest.mark.parametrize("header", ["qid\tquery", "query_id\ttext", "Topic ID\tQuery", "_id\ttext"])
def test_the_header_of_a_table_is_no_query(tmp_path: Path, header: str) -> None:
    (tmp_path / "q.tsv").write_text(f"{header}\n1\twhat is wi-fi\nid\ttext\n")
    assert read_topics(tmp_path / "q.tsv") == [("1", "what is wi-fi"), ("id", "text")]


def test_an_array_of_queries_is_read_like_its_lines(tmp_path: Path) -> None:
    (tmp_path / "q.json").write_text('[{"_id": "1", "text": "what is wi-fi"},\n{"qid": 2, "query": "café au lait"}]')
    assert read_topics(tmp_path / "q.json") == QUERIES
    (tmp_path / "q.json").write_text('[{"_id": "1", "text": "what is wi-fi"},\n{"query": "café au lait"}]')
    with pytest.raises(IaaRetrievalError, match=r"q\.json:2 has no id"):
        read_topics(tmp_path / "q.json")


def test_queries_without_text_are_counted_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"_id": "1", "text": " "}\n{"_id": "2", "text": null}\n{"_id": "3", "text": "x"}\n')
    for _ in range(2):
        assert [query.query_id for query in read_topics(path)] == ["1", "2", "3"]
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == [
        f"{path}: 2 of 3 queries have no text (e.g. 1)"
    ]


def test_half_an_emoji_in_a_query_becomes_a_replacement_character(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text('{"_id": "1", "text": "cut \\ud83d"}\n')
    (tmp_path / "q.json").write_text('{"1": {"title": "cut \\ud83d"}}')
    (tmp_path / "q.xml").write_text("<top><num>1<title>cut &#xd83d;</top>")
    for name in ("q.jsonl", "q.json", "q.xml"):
        assert read_topics(tmp_path / name) == [("1", "cut \ufffd")]
        write_topics(tmp_path / "written.json", read_topics(tmp_path / name))


def test_a_missing_file_is_not_looked_for_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(IaaRetrievalError, match="no such file"):
        read_topics(tmp_path / "gone.tsv")
