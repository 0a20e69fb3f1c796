"""Is a difference between two runs more than chance?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from iaa_retrieval.errors import IaaRetrievalError


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
    tests = [paired_t_test(a, b) for a, b in pairs]
    adjusted = holm([test.p_value for test in tests])
    return [PairedTest(test, p) for test, p in zip(tests, adjusted, strict=True)]


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for having made several comparisons (Holm 1979), in the given order."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for position, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (len(p_values) - position) * p_values[index]))
        adjusted[index] = largest
    return adjusted
