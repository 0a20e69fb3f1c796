"""What the claims are judged on: the tuned rows of one table at one budget, with full fine-tuning beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from iaa_retrieval.reproduction.conditions import Role
from iaa_retrieval.reproduction.plan import ConditionPlan, Reproduction
from iaa_retrieval.reproduction.results import Result, Results, read_results
from iaa_retrieval.reproduction.significance import Seeds, values_of_seeds


@dataclass(frozen=True)
class Case:
    """One table at one budget, of which something is measured.

    Attributes:
        rows: its tuned rows with that of full fine-tuning, measured or not.
        untuned: the measured rows of the table that train nothing.
        results: at least those of all measured rows.
    """

    reproduction: Reproduction
    stage: str
    budget: str
    rows: tuple[ConditionPlan, ...]
    untuned: tuple[ConditionPlan, ...]
    results: Results

    @property
    def subject(self) -> str:
        """What the reproduction is about, as prose calls it."""
        return self.reproduction.roles.subject

    @property
    def table(self) -> str:
        """The collection and stage, as prose calls them."""
        return f"{self.reproduction.title}, {self.reproduction.stages[self.stage].title.lower()}"

    @property
    def topics(self) -> str:
        """The topic set of the table's first column, which the claims are judged by."""
        return next(iter(self.reproduction.stages[self.stage].columns))

    @property
    def metric(self) -> str:
        """The metric of the table's first column."""
        return self.reproduction.stages[self.stage].columns[self.topics][0]

    @property
    def analyses(self) -> Path:
        """Where what ``iaa_retrieval.analyze`` wrote for this table is kept."""
        return self.reproduction.directory / "analysis" / self.reproduction.name / self.stage

    @property
    def missing(self) -> list[ConditionPlan]:
        """The rows that are not yet run."""
        return [plan for plan in self.rows if plan.key not in self.results]

    def measured(self, role: Role | None = None) -> list[ConditionPlan]:
        """The measured rows of a role (None: any)."""
        return [plan for plan in self.rows if plan.key in self.results and role in (None, plan.role)]

    def best(self, role: Role) -> ConditionPlan | None:
        """The measured row of a role with the best mean; None where there is none."""
        return max(self.measured(role), key=self.mean, default=None)

    def result(self, plan: ConditionPlan) -> Result:
        """Of a measured row."""
        return self.results[plan.key]

    def seeds(self, plan: ConditionPlan) -> Seeds:
        """The queries' values of every seed of a measured row."""
        return values_of_seeds(self.result(plan), self.topics, self.metric)

    def seed_means(self, plan: ConditionPlan) -> dict[int, float]:
        """Seed -> mean over the queries, of a measured row."""
        return self.result(plan).seed_means(self.topics, self.metric) or {}

    def mean(self, plan: ConditionPlan) -> float:
        """Over queries and seeds, of a measured row."""
        means = self.seed_means(plan)
        return sum(means.values()) / len(means)

    def scored(self, plan: ConditionPlan) -> str:
        """The row's name and mean."""
        return f"{plan.condition.display_name} {self.mean(plan):.4f}"


def cases_of(reproductions: Sequence[Reproduction]) -> list[Case]:
    """Every table and budget of which a row is measured, in the order of the files; none without a subject."""
    return [case for reproduction in reproductions if reproduction.roles.subject for case in _cases_of(reproduction)]


def _cases_of(reproduction: Reproduction) -> list[Case]:
    kept = read_results(reproduction)
    cases = []
    for stage, table in reproduction.stages.items():
        topics, metrics = next(iter(table.columns.items()))
        # A result of before the table had this column is as good as none.
        results = {key: result for key, result in kept.items() if result.seed_means(topics, metrics[0]) is not None}
        plans = [plan for plan in reproduction.plans if plan.stage == stage]
        tuned = [plan for plan in plans if plan.role is not Role.UNTUNED]
        untuned = tuple(plan for plan in plans if plan.role is Role.UNTUNED and plan.key in results)
        for budget in dict.fromkeys(plan.condition.counts_as for plan in tuned if plan.role is not Role.FULL):
            rows = tuple(plan for plan in tuned if plan.condition.counts_as == budget or plan.role is Role.FULL)
            if any(plan.key in results for plan in rows):
                cases.append(Case(reproduction, stage, budget, rows, untuned, results))
    return cases


def one_per_table(cases: Sequence[Case]) -> list[Case]:
    """Of every table the case with the most measured rows; of equals the first."""
    tables: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        tables.setdefault((case.reproduction.name, case.stage), []).append(case)
    return [max(of_table, key=lambda case: len(case.measured())) for of_table in tables.values()]
