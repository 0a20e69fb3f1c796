"""Is a method better than full fine-tuning, and than the best other method of its budget, by more than chance?

As in the paper: a two-tailed paired t-test over the queries, p <= 0.05. Since many methods are compared, p-values
adjusted by Holm's procedure stand beside, over all comparisons of a table with the same kind of opponent in the same
column. With several seeds the first one's run is tested.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from iaa_retrieval.evaluation.metrics import mean
from iaa_retrieval.evaluation.significance import TTest, holm, paired_t_test
from iaa_retrieval.reproduction.conditions import BEST_BASELINE, FULL, UNTUNED, Condition, Reproduction
from iaa_retrieval.reproduction.results import Results

ALPHA = 0.05


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
        conditions = [c for c in reproduction.conditions if c.stage == stage and c.method != UNTUNED]
        for topics, metrics in table.columns.items():
            for metric in metrics:
                column = _Column(conditions, results, topics, metric)
                for against, opponent_of in ((FULL, column.full), (BEST_BASELINE, column.best_baseline)):
                    for name, mark in column.compare(against, opponent_of):
                        marks.setdefault((stage, name, topics, metric), []).append(mark)
    return marks


class _Column:
    """The queries' values of every condition in one column of a table."""

    def __init__(self, conditions: list[Condition], results: Results, topics: str, metric: str) -> None:
        self.conditions = conditions
        self.values = {}
        for condition in conditions:
            result = results.get((condition.stage, condition.name))
            if result is not None and metric in result.first.per_query.get(topics, {}):
                self.values[condition.name] = result.first.per_query[topics][metric]

    def full(self, condition: Condition) -> str | None:
        return next((c.name for c in self.conditions if c.method == "full" and c.name in self.values), None)

    def best_baseline(self, condition: Condition) -> str | None:
        if condition.method == "full":
            return None
        baselines = [c.name for c in self.conditions if c.is_baseline and c.counts_as == condition.counts_as]
        if not baselines or any(name not in self.values for name in baselines):
            return None
        return max(baselines, key=lambda name: mean(self.values[name]))

    def compare(self, against: str, opponent_of: Callable[[Condition], str | None]) -> list[tuple[str, Mark]]:
        tests: list[tuple[str, str, TTest]] = []
        for condition in self.conditions:
            opponent = opponent_of(condition)
            if condition.name in self.values and opponent not in (None, condition.name):
                test = paired_t_test(self.values[str(opponent)], self.values[condition.name])
                tests.append((condition.name, str(opponent), test))
        adjusted = holm([test.p_value for _, _, test in tests])
        return [
            (name, Mark(against, opponent, test, p)) for (name, opponent, test), p in zip(tests, adjusted, strict=True)
        ]
