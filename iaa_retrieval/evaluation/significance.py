"""Is a difference between two runs more than chance?

Over queries alone the paired t-test answers. A method that is trained has another source of chance, the seed: another
one draws other initial weights and batches and gives other scores for the same queries. With several seeds,
``crossed_t_test`` takes both as random, so that what it finds holds for further queries and further seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from iaa_retrieval.errors import IaaRetrievalError

if TYPE_CHECKING:
    import numpy as np


class TTest(NamedTuple):
    """A two-tailed paired t-test over ``n`` queries; ``mean_difference`` is the second minus the first."""

    n: int
    mean_difference: float
    statistic: float
    p_value: float


def paired_t_test(a: Mapping[str, float], b: Mapping[str, float]) -> TTest:
    """Compare the values of ``b`` with those of ``a``, query by query; equal values give p = 1.

    Raises:
        IaaRetrievalError: the two have different queries, or fewer than two.
    """
    if a.keys() != b.keys():
        example = min(a.keys() ^ b.keys())
        raise IaaRetrievalError(f"a paired test needs the same queries on both sides; {example!r} is on one")
    if len(a) < 2:
        raise IaaRetrievalError(f"a paired test needs at least two queries, not {len(a)}")
    differences = [b[query_id] - value for query_id, value in a.items()]
    mean_difference = sum(differences) / len(differences)
    if not any(differences):
        return TTest(len(differences), 0.0, 0.0, 1.0)
    from scipy.stats import ttest_1samp

    result = ttest_1samp(differences, 0.0)
    return TTest(len(differences), mean_difference, float(result.statistic), float(result.pvalue))


class _SeedMeanSquares(NamedTuple):
    """What one side's seeds say of chance, both as variances of a single seed's mean over the queries.

    Attributes:
        between: variance of the seeds' means over the queries; holds the seeds' own effect and the noise.
        noise: what ``between`` would be by what varies from seed to seed in each query alone.
    """

    n_seeds: int
    n_queries: int
    between: float
    noise: float

    @property
    def component(self) -> float:
        """The variance that is the seeds' own, without bias but never below 0."""
        return max(0.0, self.between - self.noise)

    @property
    def satterthwaite(self) -> float:
        """Each mean square's square by its degrees of freedom."""
        return (self.between**2 + self.noise**2 / (self.n_queries - 1)) / (self.n_seeds - 1)


def crossed_t_test(a: Sequence[Mapping[str, float]], b: Sequence[Mapping[str, float]]) -> TTest:
    """Compare the mean of ``b`` with that of ``a`` over queries and seeds, both of them random.

    The model is that of a two-way analysis of variance with crossed random effects: a value is the mean of its side,
    plus effects of the query, of the query on that side, of the seed, and noise; seeds belong to one side (the same
    number is not the same draw for another method). The variance of the difference of the means is

        ``var_q / n_q + component_a / s_a + component_b / s_b``

    with ``var_q`` the variance over the ``n_q`` queries of the difference of the seeds' averages, and ``component`` the
    variance of a seed's own effect, which is the variance of the seeds' means less what noise in the queries would give
    (mean square of seeds less residual mean square, over ``n_q``), and not below 0. The degrees of freedom are
    Satterthwaite's, and at most ``n_q - 1``.

    A side of one seed does not say how much seeds matter. If the other side has several, it is taken to vary as that
    one does. If both have one, the test is ``paired_t_test`` itself, and the seeds' variance is not in it.

    Args:
        a: one mapping per seed, query id -> value.
        b: the same for the other side.

    Raises:
        IaaRetrievalError: two seeds have different queries, fewer than two, or a side has no seed.
    """
    if not a or not b:
        raise IaaRetrievalError("a test over queries and seeds needs at least one seed on each side")
    for other in (*a, *b):
        if other.keys() != a[0].keys():
            example = min(a[0].keys() ^ other.keys())
            raise IaaRetrievalError(f"a paired test needs the same queries in every seed; {example!r} is not in all")
    if len(a) == len(b) == 1 or len(a[0]) < 2:
        return paired_t_test(a[0], b[0])
    import numpy as np
    from scipy.stats import t

    first, second = (np.array([[values[query] for values in side] for query in a[0]]) for side in (a, b))
    differences = second.mean(axis=1) - first.mean(axis=1)
    n_queries, mean_difference = len(differences), float(differences.mean())
    over_queries = float(differences.var(ddof=1)) / n_queries
    variance, squares = over_queries, over_queries**2 / (n_queries - 1)
    for side, share in _seed_shares(first, second):
        variance += share * side.component
        squares += share**2 * side.satterthwaite
    if variance == 0.0:
        if mean_difference == 0.0:
            return TTest(n_queries, 0.0, 0.0, 1.0)
        return TTest(n_queries, mean_difference, math.copysign(math.inf, mean_difference), 0.0)
    statistic = mean_difference / variance**0.5
    degrees = min(variance**2 / squares, n_queries - 1)
    return TTest(n_queries, mean_difference, statistic, float(2 * t.sf(abs(statistic), degrees)))


def _seed_shares(first: np.ndarray, second: np.ndarray) -> list[tuple[_SeedMeanSquares, float]]:
    """The sides that have several seeds, each with the share of its seeds' variance in that of the difference."""
    shares = [1 / side.shape[1] for side in (first, second)]
    several = [(side, share) for side, share in zip((first, second), shares, strict=True) if side.shape[1] > 1]
    if len(several) == 1:
        several = [(several[0][0], sum(shares))]
    return [(_seed_mean_squares(side), share) for side, share in several]


def _seed_mean_squares(values: np.ndarray) -> _SeedMeanSquares:
    """Of one side's values, queries by seeds."""
    n_queries, n_seeds = values.shape
    seeds = values.mean(axis=0)
    residuals = values - values.mean(axis=1, keepdims=True) - seeds + values.mean()
    residual_square = float((residuals**2).sum()) / ((n_queries - 1) * (n_seeds - 1))
    return _SeedMeanSquares(n_seeds, n_queries, float(seeds.var(ddof=1)), residual_square / n_queries)


class PairedTest(NamedTuple):
    """One of several comparisons; ``adjusted_p`` is its p-value after Holm's procedure over all of them."""

    test: TTest
    adjusted_p: float


def paired_tests(pairs: Sequence[tuple[Mapping[str, float], Mapping[str, float]]]) -> list[PairedTest]:
    """Compare the second of every pair with the first, and adjust for having made all these comparisons.

    Args:
        pairs: each the values of two runs, query id -> value (see ``paired_t_test``); together they are the family
            over which Holm's procedure goes.

    Returns:
        One test per pair, in the order of ``pairs``.

    Raises:
        IaaRetrievalError: the two of a pair have different queries, or fewer than two.
    """
    return adjusted([paired_t_test(a, b) for a, b in pairs])


def adjusted(tests: Sequence[TTest]) -> list[PairedTest]:
    """Every test with its p-value after Holm's procedure over all of them, in the given order."""
    adjusted_p = holm([test.p_value for test in tests])
    return [PairedTest(test, p) for test, p in zip(tests, adjusted_p, strict=True)]


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for having made several comparisons (Holm 1979), in the given order."""
    adjusted_p = [0.0] * len(p_values)
    largest = 0.0
    for position, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (len(p_values) - position) * p_values[index]))
        adjusted_p[index] = largest
    return adjusted_p
