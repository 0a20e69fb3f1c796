import gzip
import json
from pathlib import Path

import pytest

from iaa_retrieval.collections.qrels import read_qrels
from iaa_retrieval.collections.qrels_files import write_qrels
from iaa_retrieval.errors import IaaRetrievalError

QRELS = {"q1": {"d1": 2, "d2": 0}, "q2": {"d1": 1}}


@pytest.mark.parametrize("text", [
    "q1 0 d1 2\nq1 0 d2 0\n\nq2 0 d1 1\n",
    "q1\t0\td1\t2\nq1\t0\td2\t0\nq2\t0\td1\t1\n",
    "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td1\t1\n",
    "query-id\tcorpus-id\tscore\r\nq1\td1\t2\r\nq1\td2\t0\r\nq2\td1\t1\r\n",
])  # fmt: skip
@pytest.mark.parametrize("compress", [False, True])
def test_reads_trec_and_beir(tmp_path: Path, text: str, compress: bool) -> None:
    path = tmp_path / ("q.tsv.gz" if compress else "q.tsv")
    path.write_bytes(gzip.compress(text.encode()) if compress else text.encode())
    assert read_qrels(path) == QRELS


@pytest.mark.parametrize("text", [
    "q1\td1\t2\nq1\td2\t0\nq2\td1\t1\n",
    "q1\td1\t2.0\nq1\td2\t0\nq2\td1\t1.0\n",
    "q1 d1 2\nq1 d2 0.0\nq2 d1 1\n",
    "\ufeffq1\td1\t2.00\r\nq1\td2\t0\r\nq2\td1\t1e0\r\n",
    "q1 0 d1 2.0\nq1 0 d2 0.0\nq2 0 d1 1.0\n",
    "q1 0\td1\t2\nq1 0\td2\t0\nq2 0\td1\t1\n",
    "q1\td1\t2 \nq1\t d2\t0\nq2\td1\t1\n",
    "qid docid rel\nq1 d1 2\nq1 d2 0\nq2 d1 1\n",
    "query_id\tdoc_id\trelevance\nq1\td1\t2\nq1\td2\t0\nq2\td1\t1\n",
    "Query ID\tPassage ID\tGrade\nq1\td1\t2\nq1\td2\t0\nq2\td1\t1\n",
    "corpus-id\tquery-id\tscore\nd1\tq1\t2\nd2\tq1\t0\nd1\tq2\t1\n",
    "topic iteration docno judgment\nq1 0 d1 2\nq1 0 d2 0\nq2 0 d1 1\n",
    '{"query-id": "q1", "corpus-id": "d1", "score": 2}\n{"query-id": "q1", "corpus-id": "d2", "score": 0.0}\n'
    '{"query-id": "q2", "corpus-id": "d1", "score": 1.0}\n',
    '{"query": "text", "query_id": "q1", "corpus_id": "d1", "relevance": "2"}\n\n'
    '{"query_id": "q1", "corpus_id": "d2", "relevance": 0}\n{"qid": "q2", "docid": "d1", "label": 1}\n',
])  # fmt: skip
@pytest.mark.parametrize("compress", [False, True])
def test_reads_what_common_tools_write(tmp_path: Path, text: str, compress: bool) -> None:
    path = tmp_path / ("q.gz" if compress else "q")
    path.write_bytes(gzip.compress(text.encode()) if compress else text.encode())
    assert read_qrels(path) == QRELS


@pytest.mark.parametrize("indent", [None, 0, 1, 4])
@pytest.mark.parametrize("name", ["q.json", "q.qrels", "q.json.gz"])
def test_reads_one_json_object_or_array(tmp_path: Path, name: str, indent: int | None) -> None:
    records = [
        {"query-id": q, "corpus-id": d, "score": grade} for q, found in QRELS.items() for d, grade in found.items()
    ]
    for value in (QRELS, records):
        data = json.dumps(value, indent=indent).encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        assert read_qrels(tmp_path / name) == QRELS


@pytest.mark.parametrize(("text", "message"), [
    ('{"q1": {"d1": 0.5}}', "q.json:1, query 'q1': grade '0.5' is not a whole number"),
    ('{"q1": {"d1": null}}', "q.json:1, query 'q1': document 'd1' has no grade"),
    ('{"q1": {"d1": 1}}\n{"q1": {"d1": 2}}', "q.json:2, query 'q1': document 'd1' of query 'q1' has two grades"),
    ('{\n"q1": {\n"d1": 1\n},\n"q2": 3}', "q.json:1: query 'q2' must hold documents with a grade each"),
    ('{\n"q1": {\n"d1": 1,,\n}}', "q.json:3 is not valid JSON"),
    ('[\n{"query-id": "q1", "score": 1}]', "q.json:2 has no id"),
    ("[]", "holds no judgments"),
    ("{}", "has no id"),
])  # fmt: skip
def test_bad_json_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "q.json").write_text(text)
    with pytest.raises(IaaRetrievalError, match=message):
        read_qrels(tmp_path / "q.json")


def test_the_first_judgment_without_a_header_is_kept(tmp_path: Path) -> None:
    for first in ("q1\td1\t1", "q1\td1\t1.0", "query\tdoc\t1.0", "q1 d1 1.", "1 2 3", "1\t2\t-1"):
        (tmp_path / "q").write_text(f"{first}\nq9\td9\t1\n".replace("\t", "\t" if "\t" in first else " "))
        assert len(read_qrels(tmp_path / "q")) == 2


@pytest.mark.parametrize("name", ["q.tsv", "q.qrels"])
def test_written_qrels_read_back(tmp_path: Path, name: str) -> None:
    write_qrels(tmp_path / name, QRELS)
    assert read_qrels(tmp_path / name) == QRELS
    assert (tmp_path / name).read_text().startswith("query-id" if name == "q.tsv" else "q1\t0\td1\t2\n")


@pytest.mark.parametrize(("text", "message"), [
    ("q1 0 d1 2\nq1 0 d2\n", r"q:2: expected 4 columns .* found 3; a BEIR file starts with a header line or has 3"),
    ("q1 0 d1 high\n", "q:1: grade 'high' is not a whole number"),
    ("query-id\tcorpus-id\tscore\nq1\td1\n", "q:2: expected 3 tab-separated columns .* found 2"),
    ("q1 0 d1 2\nq1 0 d1 1\n", "q:2: document 'd1' of query 'q1' has two grades, 2 and 1"),
    ("q1\td1\t0.5\n", r"q:1: grade '0.5' is not a whole number; grades are 0 \(not relevant\), 1, 2"),
    ("q1 0 d1 nan\n", "q:1: grade 'nan' is not a whole number"),
    ("q1\td1\thigh\nq2\td1\t1\n", "q:1: grade 'high' is not a whole number; a header line names columns such as"),
    ("query-id\tcorpus-id\tscore\nq1\td1\thigh\n", "q:2: grade 'high' is not a whole number"),
    ("q1\td1\n", r"q:1: expected 4 columns \(.*\) or 3 tab-separated columns \(.*\), found 2"),
    ("q1 d1\n", "q:1: expected 4 columns .* found 2"),
    ("q 1\td1\t1\n", "q:1: 'q 1' is empty or has white space"),
    ('{"query-id": "q1", "corpus-id": "d1"}', r"q:1 has no grade \(looked for score, relevance, rel"),
    ('{"query-id": "q1", "corpus-id": "d1", "score": null}', "q:1 has no grade"),
    ('{"query-id": "q1", "corpus-id": "d1", "score": true}', "q:1 has no grade"),
    ('{"query-id": "q1", "corpus-id": "d1", "score": 0.5}', "q:1: grade '0.5' is not a whole number"),
    ('{"corpus-id": "d1", "score": 1}', r"q:1 has no id \(looked for query-id, query_id, qid\)"),
    ('{"query-id": "q1", "score": 1}', r"q:1 has no id \(looked for corpus-id, corpus_id, docid\)"),
    ('{"query-id": "q1", "corpus-id": "\\ud83d", "score": 1}', "q:1: id .* has a character that is not text"),
    ('{"query-id": "q1", "corpus-id": "d1", "score": 1}\nq1 0 d1 1', "q:2 is not valid JSON"),
    ("\n", "holds no judgments"),
    ("query-id\tcorpus-id\tscore\n", "holds no judgments"),
])  # fmt: skip
def test_bad_files_are_named_by_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "q").write_text(text)
    with pytest.raises(IaaRetrievalError, match=message):
        read_qrels(tmp_path / "q")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(IaaRetrievalError, match=r"gone\.tsv: no such file"):
        read_qrels(tmp_path / "gone.tsv")
