"""The test over queries and seeds: sums of squares by hand, its limits, and how often it errs where nothing differs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import t, ttest_rel

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.evaluation.significance import TTest, crossed_t_test, paired_t_test


def seeds_of(values: np.ndarray) -> list[dict[str, float]]:
    """Queries by seeds, as one mapping per seed."""
    return [{f"q{number}": float(value) for number, value in enumerate(column)} for column in values.T]


def test_one_seed_on_both_sides_is_the_paired_test() -> None:
    random = np.random.default_rng(1)
    a, b = random.normal(size=(2, 40, 1))
    test = crossed_t_test(seeds_of(a), seeds_of(b))
    expected = ttest_rel(b[:, 0], a[:, 0])
    assert (test.statistic, test.p_value) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-12)
    assert test == paired_t_test(seeds_of(a)[0], seeds_of(b)[0])


def test_sums_of_squares_by_hand() -> None:
    # Two queries, two seeds on each side.
    a = np.array([[1.0, 2.0], [3.0, 4.0]])  # seeds' means 2 and 3; no residual
    b = np.array([[5.0, 9.0], [6.0, 8.0]])  # seeds' means 5.5 and 8.5; means of queries 7 and 7
    # Differences of queries: 7 - 1.5 = 5.5 and 7 - 3.5 = 3.5; mean 4.5; variance 2, over 2 queries 1.
    # a: variance of seeds 0.5, residuals 0, so component 0.5; b: variance of seeds 4.5; residuals of mean 7:
    # 5 - 7 - 5.5 + 7 = -0.5, 0.5, 0.5, -0.5, sum of squares 1, 1 degree of freedom, over 2 queries 0.5; component 4.
    variance = 1 + 0.5 / 2 + 4 / 2
    squares = 1**2 / 1 + (0.5 / 2) ** 2 / 1 + (4.5 / 2) ** 2 / 1 + (0.5 / 2) ** 2 / 1
    degrees = min(variance**2 / squares, 1)
    test = crossed_t_test(seeds_of(a), seeds_of(b))
    statistic = 4.5 / math.sqrt(variance)
    assert test == pytest.approx(TTest(2, 4.5, statistic, 2 * t.sf(statistic, degrees)))


def test_a_general_design_by_the_table_of_an_analysis_of_variance() -> None:
    """Mean squares from the usual table of sums, with other numbers of seeds on the two sides."""
    random = np.random.default_rng(2)
    n = 40
    sides = [random.normal(size=(n, 1)) + random.normal(0, 0.6, k) + random.normal(0, 0.5, (n, k)) for k in (3, 4)]
    differences = [sum(sides[1][q]) / 4 - sum(sides[0][q]) / 3 for q in range(n)]
    mean = sum(differences) / n
    over_queries = sum((d - mean) ** 2 for d in differences) / (n - 1) / n
    variance, squares = over_queries, over_queries**2 / (n - 1)
    for values in sides:
        k = values.shape[1]
        correction = values.sum() ** 2 / (n * k)
        ss_queries = sum(row.sum() ** 2 for row in values) / k - correction
        ss_seeds = sum(column.sum() ** 2 for column in values.T) / n - correction
        ss_residual = (values**2).sum() - correction - ss_queries - ss_seeds
        ms_seeds, ms_residual = ss_seeds / (k - 1), ss_residual / ((n - 1) * (k - 1))
        assert ms_seeds > ms_residual
        variance += (ms_seeds - ms_residual) / (n * k)
        squares += (ms_seeds / (n * k)) ** 2 / (k - 1) + (ms_residual / (n * k)) ** 2 / ((n - 1) * (k - 1))
    statistic = mean / math.sqrt(variance)
    expected = 2 * t.sf(abs(statistic), variance**2 / squares)
    assert variance**2 / squares < n - 1
    test = crossed_t_test(seeds_of(sides[0]), seeds_of(sides[1]))
    assert (test.mean_difference, test.statistic, test.p_value) == pytest.approx((mean, statistic, expected))
    # The other way round nothing changes but the sign.
    back = crossed_t_test(seeds_of(sides[1]), seeds_of(sides[0]))
    assert (back.mean_difference, back.p_value) == pytest.approx((-mean, expected))


def test_a_side_of_one_seed_is_taken_to_vary_as_the_other() -> None:
    # No noise: the queries' differences are all 1, so what is left is the seeds' variance, 2 with 1 degree of freedom,
    # once by the two seeds and once by the one.
    a = np.array([[0.0, 2.0], [4.0, 6.0], [1.0, 3.0]])
    b = np.array([[2.0], [6.0], [3.0]])
    statistic = 1 / math.sqrt(2 / 2 + 2 / 1)
    assert crossed_t_test(seeds_of(a), seeds_of(b)) == pytest.approx(TTest(3, 1.0, statistic, 2 * t.sf(statistic, 1)))


def test_equal_values_and_equal_differences() -> None:
    values = np.array([[0.5, 0.5], [0.1, 0.1]])
    assert crossed_t_test(seeds_of(values), seeds_of(values)) == TTest(2, 0.0, 0.0, 1.0)
    assert crossed_t_test(seeds_of(values), seeds_of(values - 1))[1:] == (-1.0, -math.inf, 0.0)


@pytest.mark.parametrize(
    ("seeds", "seed_effect", "low", "high"),
    [
        ((3, 3), 0.02, 0.02, 0.075),
        ((3, 3), 0.0, 0.005, 0.065),
        ((1, 3), 0.01, 0.02, 0.1),  # the price of a side that does not say how much it varies
    ],
)
def test_it_errs_as_often_as_it_says(seeds: tuple[int, int], seed_effect: float, low: float, high: float) -> None:
    """Two equal methods, 60 queries: how often p is at most 0.05; over queries alone it is much more."""
    random = np.random.default_rng(3)
    rejected = by_queries_alone = 0
    trials = 600
    for _ in range(trials):
        queries = random.normal(0.5, 0.3, (60, 1))
        sides = [
            queries
            + random.normal(0, 0.05, (60, 1))
            + random.normal(0, seed_effect, k)
            + random.normal(0, 0.05, (60, k))
            for k in seeds
        ]
        test = crossed_t_test(*map(seeds_of, sides))
        rejected += test.p_value <= 0.05
        by_queries_alone += ttest_rel(sides[0].mean(axis=1), sides[1].mean(axis=1)).pvalue <= 0.05
    assert low <= rejected / trials <= high
    if seed_effect == 0.02:
        assert by_queries_alone / trials > 0.2


def test_it_finds_a_difference() -> None:
    random = np.random.default_rng(4)
    queries = random.normal(0.5, 0.3, (300, 1))
    a, b = (queries + level + random.normal(0, 0.005, 3) + random.normal(0, 0.1, (300, 3)) for level in (0, 0.05))
    assert crossed_t_test(seeds_of(a), seeds_of(b)).p_value < 0.01


def test_seeds_must_have_the_same_queries() -> None:
    one = {"a": 1.0, "b": 2.0}
    with pytest.raises(IaaRetrievalError, match="same queries in every seed; 'c' is not in all"):
        crossed_t_test([one, one], [one, {"a": 1.0, "b": 1.0, "c": 1.0}])
    with pytest.raises(IaaRetrievalError, match="at least two queries, not 1"):
        crossed_t_test([{"a": 1.0}, {"a": 2.0}], [{"a": 1.0}])
    with pytest.raises(IaaRetrievalError, match="at least one seed on each side"):
        crossed_t_test([], [one])
