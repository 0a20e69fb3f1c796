"""What the kept results say, table by table, in sentences whose numbers are computed from them.

The best form of the subject and the best other method of a budget, what is not above the rows without training, the
spread over seeds, and rows that are not yet run. Whether differences are more than chance, the claims say.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from iaa_retrieval.reproduction.claims.cases import Case
from iaa_retrieval.reproduction.conditions import Role
from iaa_retrieval.reproduction.plan import ConditionPlan


def finding_of(case: Case) -> str:
    """A Markdown paragraph."""
    sentences = [
        f"**{case.table}, {case.budget}.**",
        _best(case),
        *(_not_above(case, level) for level in case.untuned),
        _spreads(case),
        _missing(case),
    ]
    return " ".join(filter(None, sentences))


def _best(case: Case) -> str:
    kinds = (
        (f"the best form of {case.subject} is ", Role.SUBJECT),
        ("the best other method ", Role.BASELINE),
        ("", Role.FULL),
    )
    parts = []
    for words, role in kinds:
        best = case.best(role)
        if best is not None:
            rest = ", ".join(case.scored(plan) for plan in case.measured(role) if plan is not best)
            parts.append(f"{words}{case.scored(best)}" + (f" (before {rest})" if rest else ""))
    queries = len(case.seeds(case.measured()[0])[0])
    return f"By {case.metric} over {queries} queries: {', '.join(parts)}."


def _not_above(case: Case, level: ConditionPlan) -> str:
    below = [case.scored(plan) for plan in case.measured() if case.mean(plan) <= case.mean(level)]
    return f"Not above {case.scored(level)}: {', '.join(below) or 'none'}."


def _spreads(case: Case) -> str:
    """Mean and standard deviation (n - 1) of every method that ran with several seeds; empty without any."""
    spreads = []
    for plan in case.measured():
        of_seed = case.seed_means(plan)
        if len(of_seed) > 1:
            seeds, deviation = ", ".join(map(str, of_seed)), statistics.stdev(of_seed.values())
            spreads.append(f"{case.scored(plan)} (sd {deviation:.4f}, seeds {seeds})")
    return f"Over several seeds: {', '.join(spreads)}." if spreads else ""


def _missing(case: Case) -> str:
    names = ", ".join(plan.condition.display_name for plan in case.missing)
    return f"Not yet run: {names}." if names else ""


def findings_of(cases: Sequence[Case]) -> str:
    """A Markdown list of the findings of all cases."""
    return "\n".join(f"- {finding_of(case)}" for case in cases)
