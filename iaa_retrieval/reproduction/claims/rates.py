"""Claims about the learning rate: how wide the range is in which a method stays near its best."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from iaa_retrieval.reproduction.claims.cases import Case
from iaa_retrieval.reproduction.claims.judging import Claim, Judgement, Verdict, listed
from iaa_retrieval.reproduction.conditions import Role
from iaa_retrieval.reproduction.tried_rates import TriedRates, read_tried_rates

NEAR = 0.01  # below the best dev score, and still on the plateau
ENOUGH = 5  # rates, below which a width says nothing
CLEAR = 3.0  # a plateau that is so many times wider is wider
_RULE = (
    f"A method's plateau is the range of neighbouring tried rates whose dev score is at most {NEAR} below its best, "
    "its width the highest over the lowest of them (by the geometric mean over the methods of a side); confirmed where "
    f"that of WIDE is at least {CLEAR:g} times that of NARROW, contradicted where it is the other way round, "
    f"otherwise not decided; methods with fewer than {ENOUGH} tried rates do not count."
)
_OTHERS = ("the others", Role.BASELINE)


def plateau_width(tried: TriedRates) -> float:
    """The highest rate over the lowest of those around the best that are near it; 1 where the best stands alone.

    A rate that diverged ends the plateau; where every one did, the width is 1.
    """
    if tried.best is None:
        return 1.0
    top = tried.scores[tried.best] or 0.0
    rates = sorted(tried.scores, key=float)
    low = high = rates.index(tried.best)
    near = [score is not None and score >= top - NEAR - 1e-9 for score in (tried.scores[rate] for rate in rates)]
    while low > 0 and near[low - 1]:
        low -= 1
    while high + 1 < len(rates) and near[high + 1]:
        high += 1
    return float(rates[high]) / float(rates[low])


def others_more_sensitive_than_full(subject: str, cases: Sequence[Case]) -> Claim:
    """Are other parameter-efficient methods more sensitive to the rate than full fine-tuning?"""
    return _claim(
        f"Parameter-efficient methods other than {subject} are more sensitive to the learning rate than full "
        "fine-tuning: their plateaus are narrower.",
        ("full fine-tuning", Role.FULL),
        _OTHERS,
        cases,
    )


def less_sensitive_than_others(subject: str, cases: Sequence[Case]) -> Claim:
    """Is the subject less sensitive to the rate than the other methods?"""
    return _claim(
        f"{subject} is less sensitive to the learning rate than the other parameter-efficient methods: its plateau is "
        "wider.",
        (subject, Role.SUBJECT),
        _OTHERS,
        cases,
    )


def _claim(claim: str, wide: tuple[str, Role], narrow: tuple[str, Role], cases: Sequence[Case]) -> Claim:
    rule = _RULE.replace("WIDE", wide[0]).replace("NARROW", narrow[0])
    return Claim(claim, rule, [_judged(case, wide, narrow) for case in cases])


def _judged(case: Case, wide: tuple[str, Role], narrow: tuple[str, Role]) -> Judgement:
    sides = [(name, _widths(case, role)) for name, role in (wide, narrow)]
    lacking = [name for name, widths in sides if not widths]
    if lacking:
        return Judgement(case, Verdict.NOT_MEASURED, f"Fewer than {ENOUGH} rates are kept of {listed(lacking)}.")
    means = [math.log(statistics.geometric_mean(width for _, width in widths.values())) for _, widths in sides]
    ratio = means[0] - means[1]
    clear = math.log(CLEAR) - 1e-9
    verdict = Verdict.CONFIRMED if ratio >= clear else Verdict.CONTRADICTED if ratio <= -clear else Verdict.NOT_DECIDED
    numbers = "; ".join(
        f"{name} {math.exp(mean):.1f} ({', '.join(_one(*entry) for entry in widths.items())})"
        for (name, widths), mean in zip(sides, means, strict=True)
    )
    return Judgement(case, verdict, f"Width of the plateau: {numbers}")


def _widths(case: Case, role: Role) -> dict[str, tuple[TriedRates, float]]:
    """Display name -> what was tried and the width, of the rows of a role that tried enough rates."""
    found = {}
    for plan in case.rows:
        tried = read_tried_rates(plan) if plan.role is role else None
        if tried is not None and len(tried.scores) >= ENOUGH:
            found[plan.condition.display_name] = (tried, plateau_width(tried))
    return found


def _one(name: str, measured: tuple[TriedRates, float]) -> str:
    tried, width = measured
    diverged = f", diverged at {tried.diverged} of {len(tried.scores)} rates" if tried.diverged else ""
    return f"{name} {width:.1f}{diverged}"
