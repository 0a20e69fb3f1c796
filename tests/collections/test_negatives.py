import pytest

from iaa_retrieval.collections.negatives import MiningReport, mine_negatives
from iaa_retrieval.errors import UsageError

RUN = {"q1": {"a": 9.0, "pos": 8.0, "b": 7.5, "zero": 6.0, "c": 1.0}, "unjudged": {"a": 1.0}}
QRELS = {"q1": {"pos": 1, "zero": 0, "elsewhere": 2}, "q2": {"x": 1}}


def test_judged_relevant_documents_are_never_negatives() -> None:
    negatives, report = mine_negatives(RUN, QRELS)
    assert negatives == {"q1": ["a", "b", "zero", "c"], "q2": []}
    assert report == MiningReport(queries=2, queries_without_hits=1, dropped_positive=1, dropped_margin=0, kept=4)


def test_window_and_limit() -> None:
    assert mine_negatives(RUN, QRELS, first_rank=2, last_rank=4)[0]["q1"] == ["b", "zero"]
    negatives, report = mine_negatives(RUN, QRELS, first_rank=2, per_query=1)
    assert negatives["q1"] == ["b"]
    assert report.kept == 1


def test_margin_is_counted_from_the_best_positive() -> None:
    negatives, report = mine_negatives(RUN, QRELS, margin=1.0)  # a at 9 and b at 7.5 exceed 8 - 1
    assert negatives["q1"] == ["zero", "c"]
    assert report.dropped_margin == 2
    # The positive counts even when it lies outside the window.
    assert mine_negatives(RUN, QRELS, first_rank=3, margin=1.0)[0]["q1"] == ["zero", "c"]
    # Without a positive in the run there is nothing to measure from.
    assert mine_negatives({"q2": {"a": 5.0}}, {"q2": {"x": 1}}, margin=1.0)[0] == {"q2": ["a"]}


def test_a_relative_margin_is_a_share_of_the_best_positive() -> None:
    negatives, report = mine_negatives(RUN, QRELS, margin="90%")  # of 8: 7.2, which a and b exceed
    assert negatives["q1"] == ["zero", "c"]
    assert (report.dropped_margin, report.without_margin) == (2, 0)
    assert mine_negatives(RUN, QRELS, margin="75 %")[0]["q1"] == ["zero", "c"]  # 6 is no more than 6
    assert mine_negatives(RUN, QRELS, margin="74.9%")[0]["q1"] == ["c"]
    assert mine_negatives(RUN, QRELS, margin="100%")[0]["q1"] == ["b", "zero", "c"]
    assert mine_negatives(RUN, QRELS, margin="1.0") == mine_negatives(RUN, QRELS, margin=1.0)
    assert "has no share" not in str(report)


def test_a_share_of_a_score_that_is_not_above_zero_means_nothing() -> None:
    run = {"q1": {"a": 3.0, "pos": 0.0, "b": -1.0}, "q2": {"a": 2.0, "pos": -2.0}, "q3": {"a": 9.0, "pos": 9.0}}
    qrels = {query_id: {"pos": 1} for query_id in run}
    negatives, report = mine_negatives(run, qrels, margin="95%")
    assert negatives == {"q1": ["a", "b"], "q2": ["a"], "q3": []}
    assert (report.dropped_margin, report.without_margin) == (1, 2)
    assert "2 queries keep theirs whatever they score, for their positive scores 0 or less" in str(report)
    # A difference of scores means the same whatever their sign.
    assert mine_negatives(run, qrels, margin=0.5)[0] == {"q1": ["b"], "q2": [], "q3": []}


@pytest.mark.parametrize("margin", ["0%", "101%", "-1", -0.5, "nan", "much", "5%%", "", float("inf")])
def test_impossible_margins(margin: object) -> None:
    with pytest.raises(UsageError, match="neither a difference of scores, 0 or more, nor a share"):
        mine_negatives(RUN, QRELS, margin=margin)  # type: ignore[arg-type]


@pytest.mark.parametrize("arguments", [{"first_rank": 0}, {"first_rank": 9, "last_rank": 5}, {"per_query": 0}])
def test_impossible_arguments(arguments) -> None:
    with pytest.raises(UsageError):
        mine_negatives(RUN, QRELS, **arguments)


# q1 is a document too, as in ArguAna; so is q3, which is relevant to itself.
WITH_QUERIES = {
    "q1": {"q1": 99.0, "a": 9.0, "pos": 8.0, "b": 7.0, "c": 6.0},
    "q2": {"q1": 3.0, "q2": 2.0},
    "q3": {"q3": 5.0, "a": 1.0},
}
JUDGED = {"q1": {"pos": 1}, "q2": {"x": 1}, "q3": {"q3": 1}}


def test_a_document_that_is_the_query_itself_is_no_negative_unless_it_is_relevant() -> None:
    negatives, report = mine_negatives(WITH_QUERIES, JUDGED)
    assert negatives == {"q1": ["a", "b", "c"], "q2": ["q1"], "q3": ["a"]}
    assert (report.dropped_self, report.dropped_positive, report.kept) == (2, 2, 5)
    assert "2 that are relevant, 2 that are the query itself and 0 within the margin" in str(report)


def test_negatives_are_those_of_a_run_from_which_the_queries_were_removed() -> None:
    removed = {q: {d: s for d, s in hits.items() if d != q} for q, hits in WITH_QUERIES.items() if q != "q3"}
    for window in ({}, {"first_rank": 2, "last_rank": 3}, {"per_query": 1}, {"margin": 0.5}):
        left, _ = mine_negatives(WITH_QUERIES, {**JUDGED, "q3": {}}, **window)
        right, _ = mine_negatives(removed, JUDGED, **window)
        assert {q: left[q] for q in removed} == {q: right[q] for q in removed}


def test_a_query_that_only_finds_itself_has_no_hit() -> None:
    negatives, report = mine_negatives({"q1": {"q1": 1.0}}, {"q1": {"a": 1}})
    assert negatives == {"q1": []}
    assert (report.queries_without_hits, report.dropped_self) == (1, 1)
