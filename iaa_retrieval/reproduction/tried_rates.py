"""What the learning rates that a condition tried gave on the dev queries, and how sure the choice among them is."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.files import read_json, write_json
from iaa_retrieval.reproduction.plan import ConditionPlan


@dataclass(frozen=True)
class TriedRates:
    """The dev score of each rate that a condition tried.

    Attributes:
        scores: rate as written in the YAML (``1e-3``) -> score, the mean where there are several seeds; None where
            training diverged (with any seed).
        seeds: rate -> seed -> score or None, where several seeds were tried.
    """

    date: str
    hardware: str
    metric: str
    scores: dict[str, float | None]
    seeds: dict[str, dict[str, float | None]] = field(default_factory=dict)

    @property
    def best(self) -> str | None:
        """The rate with the best dev score; of equals the first; None where every training diverged."""
        ranked = self._ranked()
        return ranked[0] if ranked else None

    @property
    def diverged(self) -> int:
        """At how many rates training diverged."""
        return sum(score is None for score in self.scores.values())

    @property
    def at_edge(self) -> bool:
        """Whether the best is the lowest or the highest of several rates, so that a better one may lie beyond."""
        if self.best is None or len(self.scores) < 2:
            return False
        values = sorted(map(float, self.scores))
        return float(self.best) in (values[0], values[-1])

    def deviation(self, rate: str) -> float | None:
        """Standard deviation over the seeds (n - 1); None where there are none, or one diverged."""
        scores = [score for score in self.seeds.get(rate, {}).values() if score is not None]
        return statistics.stdev(scores) if len(scores) == len(self.seeds.get(rate, {})) > 1 else None

    @property
    def rival(self) -> str | None:
        """The second best rate, where it is behind by no more than the spread over seeds of either of the two."""
        ranked = self._ranked()
        spreads = [spread for rate in ranked[:2] if (spread := self.deviation(rate)) is not None]
        if len(ranked) < 2 or not spreads:
            return None
        behind = (self.scores[ranked[0]] or 0.0) - (self.scores[ranked[1]] or 0.0)
        return ranked[1] if behind <= max(spreads) else None

    def _ranked(self) -> list[str]:
        scored = {rate: score for rate, score in self.scores.items() if score is not None}
        return sorted(scored, key=lambda rate: -scored[rate])


def tried_rates(metric: str, date: str, hardware: str, found: Mapping[str, Mapping[str, float | None]]) -> TriedRates:
    """What the trainings gave.

    Args:
        found: rate -> seed -> dev score; None where training diverged.
    """
    several = any(len(seeds) > 1 for seeds in found.values())
    return TriedRates(
        date,
        hardware,
        metric,
        {rate: _mean(seeds.values()) for rate, seeds in found.items()},
        {rate: dict(seeds) for rate, seeds in found.items()} if several else {},
    )


def _mean(scores: Collection[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return round(statistics.fmean(known), 4) if len(known) == len(scores) else None


def write_tried_rates(plan: ConditionPlan, tried: TriedRates) -> None:
    """Keep what a condition tried."""
    values = asdict(tried)
    write_json(plan.rates_file, values if tried.seeds else {key: values[key] for key in values if key != "seeds"})


def read_tried_rates(plan: ConditionPlan) -> TriedRates | None:
    """What a condition tried; None where that is not kept.

    Raises:
        IaaRetrievalError: the file is damaged.
    """
    path = plan.rates_file
    if not path.is_file():
        return None
    try:
        return TriedRates(**read_json(path))
    except TypeError as error:
        raise IaaRetrievalError(f"{path} holds no learning rates that were tried: {error}; search again") from error
