"""All units of the rows that are asked for, which of them are done, and which can begin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from iaa_retrieval.remote.selection import RATES, ROWS, Selection
from iaa_retrieval.remote.units import Digests, Unit, dev_scores, rows_of, shared_units, trials_of
from iaa_retrieval.reproduction.plan import ConditionPlan, Reproduction
from iaa_retrieval.reproduction.tried_rates import tried_rates


@dataclass
class Outcome:
    """What came of a unit: its record, or why there is none."""

    unit: Unit
    record: dict[str, Any] | None = None
    problem: str = ""
    seconds: float = 0.0


class Matrix:
    """The units of a selection.

    Args:
        earlier: key -> record of a unit that came back before.

    Attributes:
        outcomes: key -> of the units that were run now.
        begun: keys of the units that were begun now, those that were ended before their time left out.
    """

    def __init__(
        self,
        selection: Selection,
        reproductions: list[Reproduction],
        digests: Digests,
        earlier: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.plans = [plan for reproduction in reproductions for plan in selection.plans(reproduction)]
        self.outcomes: dict[str, Outcome] = {}
        self.begun: set[str] = set()
        self._digests, self._earlier = digests, earlier
        self._work = selection.work
        self._keys: dict[tuple[str, str, str | None], str] = {}
        self._rows: dict[tuple[int, str | None], list[Unit]] = {}
        self._trials = {id(plan): [] if selection.work == ROWS else trials_of(plan) for plan in self.plans}
        possible = [unit for plan in self.plans for unit in self.possible(plan)]
        self.shared = {
            reproduction.name: shared_units(reproduction, [u for u in possible if u.reproduction == reproduction.name])
            for reproduction in reproductions
        }

    def possible(self, plan: ConditionPlan) -> list[Unit]:
        """The trials and rows of a condition, the rows with the YAML's rate."""
        return [*self._trials[id(plan)], *(self._rows_at(plan, None) if self._work != RATES else [])]

    def units(self) -> list[Unit]:
        """Every unit that is known by now; the rows of a condition are when each of its rates has been tried."""
        trials = [unit for plan in self.plans for unit in self._trials[id(plan)]]
        if self._work == RATES:
            return trials
        rows = [(seed, unit) for plan in self.plans for seed, unit in enumerate(self.rows(plan))]
        # The first seed of each row comes first, so that a table is full before a second seed is begun.
        return [*trials, *(unit for _, unit in sorted(rows, key=lambda row: row[0]))]

    def rows(self, plan: ConditionPlan) -> list[Unit]:
        """The units of a row, with the best rate that it tried; none before that is known, or where all diverged."""
        trials = self._trials[id(plan)]
        records = [record for unit in trials if (record := self.record_of(unit)) is not None]
        if len(records) < len(trials):
            return []
        if not trials:
            return self._rows_at(plan, None)
        found = dev_scores((unit, record["dev_score"]) for unit, record in zip(trials, records, strict=True))
        best = tried_rates("", "", "", found).best
        return [] if best is None else self._rows_at(plan, best)

    def ready(self) -> list[Unit]:
        """The units that can begin and have not: those that others start from, then trials, then rows."""
        first: dict[str, Unit] = {}
        ready = []
        for unit in self.units():
            if not self.is_to_do(unit):
                continue
            missing = [one for one in self._shared_by(unit) if not self._was_made(one)]
            first |= {self.key_of(one): one for one in missing if self.key_of(one) not in self.begun}
            if not missing:
                ready.append(unit)
        return [*first.values(), *ready]

    def unfinished(self) -> int:
        """How many units that are known by now have no outcome, failures not counted."""
        return sum(self.record_of(unit) is None and self.key_of(unit) not in self.outcomes for unit in self.units())

    def key_of(self, unit: Unit) -> str:
        """See ``Digests.key_of``."""
        name = unit.kind, unit.name, unit.rate
        if name not in self._keys:
            self._keys[name] = self._digests.key_of(unit, self.shared[unit.reproduction])
        return self._keys[name]

    def record_of(self, unit: Unit) -> Mapping[str, Any] | None:
        """What a unit left, now or before; None where it has not been run, or failed."""
        key = self.key_of(unit)
        outcome = self.outcomes.get(key)
        return (outcome.record if outcome else None) or self._earlier.get(key)

    def is_to_do(self, unit: Unit) -> bool:
        """Whether a unit was neither begun now nor came back before."""
        key = self.key_of(unit)
        return key not in self.begun and key not in self._earlier

    def _shared_by(self, unit: Unit) -> list[Unit]:
        return [self.shared[unit.reproduction][name] for name in unit.shared]

    def _was_made(self, unit: Unit) -> bool:
        outcome = self.outcomes.get(self.key_of(unit))
        return outcome is not None and outcome.record is not None

    def _rows_at(self, plan: ConditionPlan, rate: str | None) -> list[Unit]:
        if (id(plan), rate) not in self._rows:
            self._rows[id(plan), rate] = rows_of(plan, rate)
        return self._rows[id(plan), rate]
