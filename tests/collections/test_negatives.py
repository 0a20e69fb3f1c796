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


@pytest.mark.parametrize("arguments", [{"first_rank": 0}, {"first_rank": 9, "last_rank": 5}, {"per_query": 0}])
def test_impossible_arguments(arguments) -> None:
    with pytest.raises(UsageError):
        mine_negatives(RUN, QRELS, **arguments)
