"""Is a method better than full fine-tuning, and than the best other method of its budget, by more than chance?

A two-tailed t-test of the difference of the means over queries and seeds together (``crossed_t_test``), p <= 0.05;
where both have one seed, that is the paper's paired t-test over the queries. Since many methods are compared, p-values
adjusted by Holm's procedure stand beside, over all comparisons of a table with the same kind of opponent in the same
column.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from iaa_retrieval.evaluation.significance import TTest, adjusted, crossed_t_test
from iaa_retrieval.reproduction.conditions import BEST_BASELINE, FULL, Role
from iaa_retrieval.reproduction.plan import ConditionPlan, Reproduction
from iaa_retrieval.reproduction.results import Result, Results

ALPHA = 0.05
Seeds = Sequence[Mapping[str, float]]  # one per seed, query id -> value


class Mark(NamedTuple):
    """One comparison of a condition with an opponent.

    Attributes:
        against: ``full`` or ``best-baseline``.
        opponent: the condition that this is.
        adjusted_p: Holm's p-value.
    """

    against: str
    opponent: str
    test: TTest
    adjusted_p: float

    @property
    def significant(self) -> bool:
        """Whether p <= 0.05, as the paper counts."""
        return self.test.p_value <= ALPHA

    @property
    def survives(self) -> bool:
        """Whether it is also significant for having been one of several comparisons."""
        return self.adjusted_p <= ALPHA

    @property
    def better(self) -> bool:
        """Whether the condition is the better one."""
        return self.test.mean_difference > 0


Cell = tuple[str, str, str, str]  # stage, condition, topic set, metric


def significance_marks(reproduction: Reproduction, results: Results) -> dict[Cell, list[Mark]]:
    """The comparisons of every tuned condition whose result is kept.

    A best baseline is only named when the results of all baselines of the budget are there.
    """
    marks: dict[Cell, list[Mark]] = {}
    for stage, table in reproduction.stages.items():
        plans = [plan for plan in reproduction.plans if plan.stage == stage and plan.role is not Role.UNTUNED]
        for topics, metrics in table.columns.items():
            for metric in metrics:
                column = _Column(plans, results, topics, metric)
                for against, opponent_of in ((FULL, column.full), (BEST_BASELINE, column.best_baseline)):
                    for name, mark in column.compare(against, opponent_of):
                        marks.setdefault((stage, name, topics, metric), []).append(mark)
    return marks


def values_of_seeds(result: Result, topics: str, metric: str) -> Seeds:
    """The queries' values of every seed."""
    return [seed.per_query[topics][metric] for seed in result.seeds.values()]


class _Column:
    """The queries' values of every condition in one column of a table, seed by seed."""

    def __init__(self, plans: list[ConditionPlan], results: Results, topics: str, metric: str) -> None:
        self.plans = plans
        self.values: dict[str, Seeds] = {}
        self.means: dict[str, float] = {}
        for plan in plans:
            result = results.get(plan.key)
            average = result.mean(topics, metric) if result else None
            if result is not None and average is not None:
                self.values[plan.name] = values_of_seeds(result, topics, metric)
                self.means[plan.name] = average

    def full(self, plan: ConditionPlan) -> str | None:
        return next((p.name for p in self.plans if p.role is Role.FULL and p.name in self.values), None)

    def best_baseline(self, plan: ConditionPlan) -> str | None:
        if plan.role is Role.FULL:
            return None
        budget = plan.condition.counts_as
        baselines = [p.name for p in self.plans if p.role is Role.BASELINE and p.condition.counts_as == budget]
        if not baselines or any(name not in self.values for name in baselines):
            return None
        return max(baselines, key=lambda name: self.means[name])

    def compare(self, against: str, opponent_of: Callable[[ConditionPlan], str | None]) -> list[tuple[str, Mark]]:
        compared = []
        for plan in self.plans:
            opponent = opponent_of(plan)
            if plan.name in self.values and opponent is not None and opponent != plan.name:
                compared.append((plan.name, opponent))
        tests = adjusted([crossed_t_test(self.values[opponent], self.values[name]) for name, opponent in compared])
        return [
            (name, Mark(against, opponent, found.test, found.adjusted_p))
            for (name, opponent), found in zip(compared, tests, strict=True)
        ]
