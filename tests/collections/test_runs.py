import gzip
from pathlib import Path

import pytest

from iaa_retrieval.collections.runs import rank, read_run, write_run
from iaa_retrieval.errors import IaaRetrievalError


def test_equal_scores_are_ordered_by_descending_document_id() -> None:
    # "9" > "10" as strings, as in trec_eval.
    assert [doc_id for doc_id, _ in rank({"10": 1.0, "9": 1.0, "a": 2.0, "b": 0.5})] == ["a", "9", "10", "b"]


def test_scores_that_a_file_cannot_tell_apart_are_equal() -> None:
    assert rank({"a": 1.00000004, "b": 1.0}) == [("b", 1.0), ("a", 1.0)]
    assert rank({"a": 1.000001, "b": 1.0}) == [("a", 1.000001), ("b", 1.0)]


def test_rank_agrees_with_trec_eval() -> None:
    import pytrec_eval

    hits = {"d1": 0.5, "d2": 0.5, "d10": 0.5, "d3": 0.75}
    for position, (doc_id, _) in enumerate(rank(hits), start=1):
        evaluator = pytrec_eval.RelevanceEvaluator({"q": {doc_id: 1}}, {"recip_rank"})
        assert evaluator.evaluate({"q": hits})["q"]["recip_rank"] == pytest.approx(1 / position)


def test_a_written_run_has_one_form(tmp_path: Path) -> None:
    path = tmp_path / "r.trec"
    write_run(path, {"q2": {"d1": 0.1234567}, "q1": {"a": 1.0, "b": 1.0, "c": -2}}, "tag")
    assert path.read_text() == (
        "q1 Q0 b 1 1.000000 tag\nq1 Q0 a 2 1.000000 tag\nq1 Q0 c 3 -2.000000 tag\nq2 Q0 d1 1 0.123457 tag\n"
    )
    again = tmp_path / "again.trec"
    write_run(again, read_run(path), "tag")
    assert again.read_bytes() == path.read_bytes()


def test_reads_gzip_and_ignores_the_rank_column(tmp_path: Path) -> None:
    (tmp_path / "r.gz").write_bytes(gzip.compress(b"q1\tQ0\td1 7 0.5 x\nq1 Q0 d2 7 1e-1 x\n"))
    assert read_run(tmp_path / "r.gz") == {"q1": {"d1": 0.5, "d2": 0.1}}


@pytest.mark.parametrize(("text", "message"), [
    ("q1 Q0 d1 1 0.5 x\nq1 Q0 d2 2 0.4\n", "r:2: expected 6 columns .* found 5"),
    ("q1 Q0 d1 1 high x\n", "r:1: score 'high' is not a finite number"),
    ("q1 Q0 d1 1 nan x\n", "r:1: score 'nan' is not a finite number"),
    ("q1 Q0 d1 1 1 x\n\nq1 Q0 d1 2 0.5 x\n", "r:3: document 'd1' occurs twice for query 'q1'"),
    ("", "holds no hits"),
])  # fmt: skip
def test_bad_files_are_named_by_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r").write_text(text)
    with pytest.raises(IaaRetrievalError, match=message):
        read_run(tmp_path / "r")


@pytest.mark.parametrize(("run", "tag", "message"), [
    ({"q 1": {"d": 1.0}}, "x", "'q 1'"),
    ({"q": {"d 1": 1.0}}, "x", "'d 1'"),
    ({"q": {"d": 1.0}}, "", "tag of .*r.trec"),
    ({"q": {"d": float("nan")}}, "x", "query 'q', document 'd': score nan"),
])  # fmt: skip
def test_an_unwritable_run_leaves_the_old_file(tmp_path: Path, run, tag: str, message: str) -> None:
    path = tmp_path / "r.trec"
    path.write_text("old")
    with pytest.raises(IaaRetrievalError, match=message):
        write_run(path, run, tag)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
