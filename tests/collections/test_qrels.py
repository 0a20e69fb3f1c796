import gzip
from pathlib import Path

import pytest

from iaa_retrieval.collections.qrels import read_qrels, write_qrels
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
