"""What a claim is, and what can be said of it on one table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from iaa_retrieval.evaluation.significance import PairedTest, TTest
from iaa_retrieval.reproduction.claims.cases import Case
from iaa_retrieval.reproduction.plan import ConditionPlan
from iaa_retrieval.reproduction.significance import ALPHA


class Verdict(Enum):
    """What the numbers say of a claim."""

    CONFIRMED = "confirmed"
    CONTRADICTED = "contradicted"
    NOT_DECIDED = "not decided"
    NOT_MEASURED = "not measured"


class Judgement(NamedTuple):
    """A claim on one table and budget; ``numbers`` is a sentence that says why."""

    case: Case
    verdict: Verdict
    numbers: str


@dataclass(frozen=True)
class Claim:
    """One claim, judged wherever it can be.

    Attributes:
        claim: in one sentence.
        rule: when it counts as confirmed and when as contradicted, in one sentence.
    """

    claim: str
    rule: str
    judgements: Sequence[Judgement]

    def count(self, verdict: Verdict) -> int:
        """On how many tables that is the verdict."""
        return Counter(judged.verdict for judged in self.judgements)[verdict]


def judged_together(
    cases: Sequence[Case],
    test_of: Callable[[Case], TTest | str],
    adjust: Callable[[Sequence[TTest]], list[PairedTest]],
    judge: Callable[[Case, PairedTest], Judgement],
) -> list[Judgement]:
    """Judge every case by a test that is adjusted for all the others.

    Args:
        test_of: the test, or why there is none.
        adjust: gives each test its adjusted p-value.
        judge: from the adjusted test to the judgement.
    """
    found = [(case, test_of(case)) for case in cases]
    tests = iter(adjust([test for _, test in found if not isinstance(test, str)]))
    return [
        Judgement(case, Verdict.NOT_MEASURED, test) if isinstance(test, str) else judge(case, next(tests))
        for case, test in found
    ]


def by_sign(difference: float, adjusted_p: float) -> Verdict:
    """Confirmed where a difference is clearly positive, contradicted where it is clearly negative."""
    if adjusted_p > ALPHA:
        return Verdict.NOT_DECIDED
    return Verdict.CONFIRMED if difference > 0 else Verdict.CONTRADICTED


def p_value(p: float) -> str:
    """As it is printed."""
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.4f}"


def listed(names: Sequence[str]) -> str:
    """Names one after the other, as in prose."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def seed_count(case: Case, *plans: ConditionPlan) -> str:
    """With how many seeds rows ran, where any has several; otherwise that each has one."""
    counts = [len(case.result(plan).seeds) for plan in plans]
    return "one seed each" if set(counts) == {1} else f"{listed([str(count) for count in counts])} seeds"
