import pytest

from iaa_retrieval.collections.holdout import hold_out
from iaa_retrieval.errors import IaaRetrievalError, UsageError

QRELS = {f"q{number}": {"d": 1} for number in range(100)}


def test_parts_are_disjoint_and_complete() -> None:
    training, held_out = hold_out(QRELS, 0.15, seed=1)
    assert len(held_out) == 15
    assert training.keys() | held_out.keys() == QRELS.keys()
    assert not training.keys() & held_out.keys()


def test_order_does_not_matter_and_the_seed_does() -> None:
    backwards = dict(reversed(QRELS.items()))
    assert hold_out(backwards, 0.15, seed=1)[1] == hold_out(QRELS, 0.15, seed=1)[1]
    assert hold_out(QRELS, 0.15, seed=2)[1] != hold_out(QRELS, 0.15, seed=1)[1]


def test_both_sides_get_a_query() -> None:
    two = {"a": {"d": 1}, "b": {"d": 1}}
    for fraction in (0.01, 0.99):
        assert [len(part) for part in hold_out(two, fraction, seed=1)] == [1, 1]


def test_errors() -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        hold_out(QRELS, 1.0, seed=1)
    with pytest.raises(IaaRetrievalError, match="there are only 1"):
        hold_out({"a": {"d": 1}}, 0.5, seed=1)
