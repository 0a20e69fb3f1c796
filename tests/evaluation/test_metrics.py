from math import log2
from pathlib import Path

import pytest

from iaa_retrieval.collections.qrels import read_qrels
from iaa_retrieval.collections.runs import read_run
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.evaluation.metrics import evaluate, mean, parse_metrics

QRELS = """
q1 0 a 2
q1 0 b 1
q1 0 c 0
q2 0 a 1
q3 0 a 0
q4 0 a 1
"""
# q1 ranks x (unjudged), b, c, a; q2 ties a with z, and z, the greater id, comes first; q4 is missing.
RUN = """
q1 Q0 x 1 4 t
q1 Q0 b 2 3 t
q1 Q0 c 3 2 t
q1 Q0 a 4 1 t
q2 Q0 a 1 1 t
q2 Q0 z 2 1 t
q3 Q0 a 1 1 t
q9 Q0 a 1 1 t
"""


@pytest.fixture
def qrels_and_run(tmp_path: Path):
    (tmp_path / "qrels").write_text(QRELS)
    (tmp_path / "run").write_text(RUN)
    return read_qrels(tmp_path / "qrels"), read_run(tmp_path / "run")


@pytest.mark.parametrize(("name", "q1", "q2"), [
    ("nDCG@10", (1 / log2(3) + 2 / log2(5)) / (2 + 1 / log2(3)), 1 / log2(3)),
    ("nDCG@2", (1 / log2(3)) / (2 + 1 / log2(3)), 1 / log2(3)),
    ("R@2", 0.5, 1.0),
    ("R@4", 1.0, 1.0),
    ("MRR", 0.5, 0.5),
    ("MRR@2", 0.5, 0.5),
    ("MRR@1", 0.0, 0.0),
    ("MAP", (1 / 2 + 2 / 4) / 2, 0.5),
    ("MAP@3", (1 / 2) / 2, 0.5),
    ("P@4", 0.5, 0.25),
    ("Success@1", 0.0, 0.0),
    ("Success@2", 1.0, 1.0),
])  # fmt: skip
def test_values_worked_out_by_hand(qrels_and_run, name: str, q1: float, q2: float) -> None:
    qrels, run = qrels_and_run
    scores = evaluate(qrels, run, parse_metrics(name))
    assert scores == {name: pytest.approx({"q1": q1, "q2": q2, "q3": 0.0, "q4": 0.0})}
    assert mean(scores[name]) == pytest.approx((q1 + q2) / 4)


def test_relevance_level_binarises_everything_but_ndcg(qrels_and_run) -> None:
    qrels, run = qrels_and_run
    metrics = parse_metrics("nDCG@10 MRR R@2")
    loose, strict = evaluate(qrels, run, metrics), evaluate(qrels, run, metrics, relevance_level=2)
    assert strict["nDCG@10"] == loose["nDCG@10"]
    assert strict["MRR"] == pytest.approx({"q1": 0.25, "q2": 0.0, "q3": 0.0, "q4": 0.0})
    assert strict["R@2"]["q1"] == 0.0


def test_mrr_cut_off_is_exact_at_every_rank() -> None:
    for position in range(1, 120):
        run = {"q": {f"d{n}": -float(n) for n in range(1, 121)}}
        qrels = {"q": {f"d{position + 1}": 1}}
        values = evaluate(qrels, run, parse_metrics(f"MRR@{position} MRR@{position + 1}"))
        assert values[f"MRR@{position}"]["q"] == 0.0
        assert values[f"MRR@{position + 1}"]["q"] == pytest.approx(1 / (position + 1))


def test_several_calls_do_not_remember_each_other(qrels_and_run) -> None:
    qrels, run = qrels_and_run
    metrics = parse_metrics("MRR")
    first = evaluate(qrels, run, metrics)
    evaluate(qrels, {"q1": {"a": 1.0}}, metrics)
    assert evaluate(qrels, run, metrics) == first


def test_names() -> None:
    metrics = parse_metrics("ndcg@10, RECALL@100 r@100  mrr@10 map Map@5 p@1 success@5 MRR")
    assert [metric.name for metric in metrics] == [
        "nDCG@10", "R@100", "MRR@10", "MAP", "MAP@5", "P@1", "Success@5", "MRR"
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["", "ndcg", "R", "MAP@", "MRR@0", "P@x", "bleu@4"])
def test_unknown_names_list_the_known(name: str) -> None:
    with pytest.raises(UsageError, match=r"unknown metric .*; known: nDCG@k, R@k"):
        parse_metrics(name)


def test_nothing_in_common_shows_both_sides() -> None:
    with pytest.raises(IaaRetrievalError, match="the run has 'r1', the judgments have 'j1', 'j2'"):
        evaluate({"j1": {"d": 1}, "j2": {"d": 1}}, {"r1": {"d": 1.0}}, parse_metrics("MRR"))


def test_scores_must_be_finite() -> None:
    with pytest.raises(IaaRetrievalError, match="query 'q', document 'd': score nan"):
        evaluate({"q": {"d": 1}}, {"q": {"d": float("nan")}}, parse_metrics("MRR"))


def test_published_bm25_run_has_its_published_score(data_dir: Path) -> None:
    qrels = read_qrels(data_dir / "msmarco-mini" / "qrels" / "dl19.tsv")
    run = read_run(data_dir / "msmarco-mini" / "runs" / "dl19.bm25-top100.trec")
    scores = evaluate(qrels, run, parse_metrics("nDCG@10"))
    assert round(mean(scores["nDCG@10"]), 4) == 0.5058
