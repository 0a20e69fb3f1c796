import gzip
import json
from pathlib import Path

import pytest

from iaa_retrieval.collections.topics import read_topics, write_topics
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
    ("t.xml", "", "topics are read from"),
])  # fmt: skip
def test_bad_files_are_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(IaaRetrievalError, match=message):
        read_topics(tmp_path / name)


def test_a_missing_file_is_not_looked_for_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(IaaRetrievalError, match="no such file"):
        read_topics(tmp_path / "gone.tsv")
