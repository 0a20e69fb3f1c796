"""Claims about the scores: better at equal budget, as good as full fine-tuning, spread over the seeds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from iaa_retrieval.evaluation.significance import PairedTest, TTest, adjusted, crossed_t_test, holm
from iaa_retrieval.reproduction.claims.cases import Case
from iaa_retrieval.reproduction.claims.judging import (
    Claim,
    Judgement,
    Verdict,
    by_sign,
    judged_together,
    listed,
    p_value,
    seed_count,
)
from iaa_retrieval.reproduction.conditions import Role
from iaa_retrieval.reproduction.plan import ConditionPlan
from iaa_retrieval.reproduction.significance import ALPHA

MARGIN = 0.01  # how far below still counts as reached
LARGE_BUDGET = "6.7%"  # of which the paper says that it beats full fine-tuning


def better_at_equal_budget(subject: str, cases: Sequence[Case]) -> Claim:
    """Is the best form of the subject better than the best other method of the budget?"""
    return _clear_difference(
        f"At equal budget the best form of {subject} is better than the best other parameter-efficient method.",
        Role.BASELINE,
        cases,
    )


def better_than_full(subject: str, cases: Sequence[Case]) -> Claim:
    """Is the best form of the subject better than full fine-tuning at the larger budget?

    Holm's procedure goes over the comparisons with full fine-tuning at all budgets, which these are some of.
    """
    claim = _clear_difference(
        f"With {LARGE_BUDGET} of the weights the best form of {subject} is better than full fine-tuning.",
        Role.FULL,
        cases,
    )
    return replace(claim, judgements=[judged for judged in claim.judgements if judged.case.budget == LARGE_BUDGET])


def _clear_difference(claim: str, opponent: Role, cases: Sequence[Case]) -> Claim:
    def judge(case: Case, found: PairedTest) -> Judgement:
        verdict = by_sign(found.test.mean_difference, found.adjusted_p)
        return Judgement(case, verdict, _numbers(case, opponent, found))

    return Claim(
        claim,
        f"Confirmed where the difference of the means is above 0 with Holm's p <= {ALPHA}, contradicted where it is "
        f"below 0 with Holm's p <= {ALPHA}, otherwise not decided.",
        judged_together(cases, lambda case: _test(case, opponent), adjusted, judge),
    )


def reaches_full(subject: str, cases: Sequence[Case]) -> Claim:
    """Is the best form of the subject as good as full fine-tuning?"""
    shifted = [_test(case, Role.FULL, MARGIN) for case in cases]
    not_inferior = iter(holm([test.p_value for test in shifted if not isinstance(test, str)]))
    above_margin = {
        id(case): not isinstance(test, str) and next(not_inferior) <= ALPHA and test.mean_difference > 0
        for case, test in zip(cases, shifted, strict=True)
    }

    def judge(case: Case, found: PairedTest) -> Judgement:
        verdict = by_sign(found.test.mean_difference, found.adjusted_p)
        if verdict is Verdict.NOT_DECIDED and above_margin[id(case)]:
            verdict = Verdict.CONFIRMED
        return Judgement(case, verdict, _numbers(case, Role.FULL, found))

    return Claim(
        f"The best form of {subject} reaches full fine-tuning.",
        f"Contradicted where it is below with Holm's p <= {ALPHA}; confirmed where it is above with Holm's p <= "
        f"{ALPHA}, or where being {MARGIN} or more below is excluded by the same test; otherwise not decided.",
        judged_together(cases, lambda case: _test(case, Role.FULL), adjusted, judge),
    )


def _test(case: Case, opponent_role: Role, margin: float = 0.0) -> TTest | str:
    """The best form of the subject, raised by ``margin``, against the best row of a role; or what is missing."""
    subject, opponent = case.best(Role.SUBJECT), case.best(opponent_role)
    if subject is None or opponent is None:
        return _absent(case, (Role.SUBJECT, opponent_role))
    raised = [{query: value + margin for query, value in seed.items()} for seed in case.seeds(subject)]
    return crossed_t_test(case.seeds(opponent), raised)


def _absent(case: Case, roles: Sequence[Role]) -> str:
    absent = [role for role in roles if not case.measured(role)]
    rows = [plan.condition.display_name for plan in case.missing if plan.role in absent]
    return f"Not yet run: {listed(rows)}." if rows else "The table has no such rows."


def _numbers(case: Case, opponent_role: Role, found: PairedTest) -> str:
    subject, opponent = case.best(Role.SUBJECT), case.best(opponent_role)
    if subject is None or opponent is None:  # there is a test only where both are measured
        raise AssertionError(case.table)
    return (
        f"{case.scored(subject)}, {case.scored(opponent)}: {found.test.mean_difference:+.4f}, "
        f"{p_value(found.test.p_value)}, Holm {p_value(found.adjusted_p)} ({case.metric}, {found.test.n} queries, "
        f"{seed_count(case, subject, opponent)})"
    )


class _Spread(NamedTuple):
    """Variance over seeds within methods, pooled, with its degrees of freedom."""

    variance: float
    degrees: int
    methods: int

    @property
    def text(self) -> str:
        of = "1 method" if self.methods == 1 else f"{self.methods} methods"
        return f"{self.variance**0.5:.4f} ({of}, {self.degrees} degrees of freedom)"


def spreads_more_than_full(subject: str, cases: Sequence[Case]) -> Claim:
    """Do other parameter-efficient methods spread more over the seeds than full fine-tuning?"""
    return _spread_claim(
        f"Parameter-efficient methods other than {subject} are unstable: their scores spread more over the seeds than "
        "those of full fine-tuning.",
        ("the others", Role.BASELINE),
        ("full fine-tuning", Role.FULL),
        cases,
    )


def spreads_less_than_others(subject: str, cases: Sequence[Case]) -> Claim:
    """Does the subject spread less over the seeds than the other methods?"""
    return _spread_claim(
        f"{subject} is more stable than the other parameter-efficient methods: its scores spread less over the seeds.",
        ("the others", Role.BASELINE),
        (subject, Role.SUBJECT),
        cases,
    )


def _spread_claim(claim: str, wide: tuple[str, Role], narrow: tuple[str, Role], cases: Sequence[Case]) -> Claim:
    def test_of(case: Case) -> TTest | str:
        spreads = [_spread(case.measured(role), case) for _, role in (wide, narrow)]
        if spreads[0] is None or spreads[1] is None:
            lacking = [name for (name, _), spread in zip((wide, narrow), spreads, strict=True) if spread is None]
            return f"No rows with several seeds of {listed(lacking)}."
        return _variance_test(spreads[0], spreads[1])

    def judge(case: Case, found: PairedTest) -> Judgement:
        first, second = (_spread(case.measured(role), case) for _, role in (wide, narrow))
        numbers = (
            f"Standard deviation of {case.metric} within methods: {wide[0]} {first.text if first else ''}, "
            f"{narrow[0]} {second.text if second else ''}; {p_value(found.test.p_value)}, "
            f"Holm {p_value(found.adjusted_p)}"
        )
        return Judgement(case, by_sign(found.test.mean_difference, found.adjusted_p), numbers)

    return Claim(
        claim,
        "By a two-tailed F test of the variances of the seeds' means within methods: confirmed where that of "
        f"{wide[0]} is larger than that of {narrow[0]} with Holm's p <= {ALPHA}, contradicted where it is smaller with "
        f"Holm's p <= {ALPHA}, otherwise not decided.",
        judged_together(cases, test_of, adjusted, judge),
    )


def _spread(plans: Sequence[ConditionPlan], case: Case) -> _Spread | None:
    """Of the rows with several seeds; None where there are none."""
    means = [list(case.seed_means(plan).values()) for plan in plans]
    several = [values for values in means if len(values) > 1]
    degrees = sum(len(values) - 1 for values in several)
    squares = sum(statistics.variance(values) * (len(values) - 1) for values in several)
    return _Spread(squares / degrees, degrees, len(several)) if degrees else None


def _variance_test(first: _Spread, second: _Spread) -> TTest:
    """F test; the "difference" is that of the variances."""
    from scipy.stats import f

    if first.variance == second.variance:
        return TTest(first.degrees + second.degrees, 0.0, 1.0, 1.0)
    ratio = first.variance / second.variance if second.variance else float("inf")
    tail = min(f.sf(ratio, first.degrees, second.degrees), f.cdf(ratio, first.degrees, second.degrees))
    difference = first.variance - second.variance
    return TTest(first.degrees + second.degrees, difference, ratio, min(1.0, 2 * float(tail)))
