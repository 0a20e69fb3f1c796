"""Which rows of which reproductions the other machine shall measure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from iaa_retrieval.reproduction.loading import load_reproduction
from iaa_retrieval.reproduction.plan import ConditionPlan, Reproduction

EVERYTHING, RATES, ROWS = "all", "rates", "rows"


@dataclass(frozen=True)
class Selection:
    """What is asked for; plain values, which a bundle's manifest holds.

    Attributes:
        names: of the reproductions.
        stage: only this one; None is every stage.
        work: ``all``, only the ``rates`` that no results are kept of, or only the ``rows`` with the YAML's rates.
        again: also rows that have scores.
    """

    names: tuple[str, ...]
    stage: str | None = None
    work: str = EVERYTHING
    again: bool = False

    def reproductions(self, directory: Path | None = None) -> list[Reproduction]:
        """What the YAML files of these names say.

        Raises:
            UsageError: one is not there.
        """
        return [load_reproduction(name, directory) for name in self.names]

    def plans(self, reproduction: Reproduction) -> list[ConditionPlan]:
        """Its rows that are asked for and train something."""
        return [
            plan
            for plan in reproduction.plans
            if self.stage in (None, plan.stage) and plan.trains and (self.again or not plan.condition.is_measured)
        ]
