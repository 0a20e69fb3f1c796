import math
import random

import pytest

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.evaluation.significance import TTest, holm, paired_t_test, paired_tests


def test_agrees_with_scipy() -> None:
    from scipy.stats import ttest_rel

    generator = random.Random(7)
    for size in (2, 5, 50):
        a = {f"q{n}": generator.random() for n in range(size)}
        b = {query_id: value + generator.gauss(0.05, 0.1) for query_id, value in reversed(a.items())}
        expected = ttest_rel([b[query_id] for query_id in a], list(a.values()))
        test = paired_t_test(a, b)
        assert test.n == size
        assert (test.statistic, test.p_value) == pytest.approx((expected.statistic, expected.pvalue))


def test_worked_out_by_hand() -> None:
    # Differences 1, 2, 3: mean 2, standard deviation 1, t = 2 / (1 / sqrt(3)); with 2 degrees of freedom
    # the two-tailed p is 1 - t / sqrt(t^2 + 2) = 1 - sqrt(12 / 14).
    test = paired_t_test({"a": 0.0, "b": 0.0, "c": 1.0}, {"a": 1.0, "b": 2.0, "c": 4.0})
    assert test == pytest.approx(TTest(3, 2.0, 2 * math.sqrt(3), 1 - math.sqrt(12 / 14)))


def test_equal_values_are_no_difference() -> None:
    assert paired_t_test({"a": 0.5, "b": 0.1}, {"b": 0.1, "a": 0.5}) == TTest(2, 0.0, 0.0, 1.0)


def test_queries_must_match() -> None:
    with pytest.raises(IaaRetrievalError, match="same queries on both sides; 'c' is on one"):
        paired_t_test({"a": 1.0, "b": 1.0}, {"a": 1.0, "c": 1.0, "b": 0.0})
    with pytest.raises(IaaRetrievalError, match="at least two queries, not 1"):
        paired_t_test({"a": 1.0}, {"a": 0.5})


def test_holm_worked_out_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.6 times 4, 3, 2, 1 is 0.04, 0.06, 0.06, 0.6.
    assert holm([0.03, 0.01, 0.6, 0.02]) == pytest.approx([0.06, 0.04, 0.6, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.04]) == [0.04]
    assert holm([]) == []


def test_paired_tests_are_one_family_in_the_given_order() -> None:
    zeros = {"a": 0.0, "b": 0.0, "c": 0.0}
    values = {"a": 1.0, "b": 2.0, "c": 3.0}
    # By hand, as above: p = 1 - sqrt(12 / 14) = 0.0742; of two comparisons the smaller p counts twice.
    p = 1 - math.sqrt(12 / 14)
    (first, first_p), (second, second_p) = paired_tests([(zeros, zeros), (values, zeros)])
    assert (first.p_value, first_p) == (1.0, 1.0)
    assert (second.mean_difference, second.p_value, second_p) == pytest.approx((-2.0, p, 2 * p))
    assert paired_tests([]) == []
    with pytest.raises(IaaRetrievalError, match="same queries"):
        paired_tests([(zeros, values), (zeros, {"a": 1.0, "b": 1.0})])
