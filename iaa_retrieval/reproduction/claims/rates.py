"""Claims about the learning rate: how wide the range is in which a method stays near its best."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

from iaa_retrieval.analysis.rate_trials import read_rate_trials
from iaa_retrieval.analysis.rates import WITHIN, RateCurve, Rates, rates
from iaa_retrieval.reproduction.claims.cases import Case
from iaa_retrieval.reproduction.claims.judging import Claim, Judgement, Verdict, listed
from iaa_retrieval.reproduction.conditions import Role
from iaa_retrieval.reproduction.tried_rates import read_tried_rates

ENOUGH = 5  # rates, below which a width says nothing
CLEAR = 3.0  # a plateau that is so many times wider is wider
_RULE = (
    f"A method's plateau is the range of neighbouring tried rates whose dev score is at most {WITHIN:.0%} below its "
    "best, its width the highest over the lowest of them (of a side the geometric mean over its methods); confirmed "
    f"where that of WIDE is at least {CLEAR:g} times that of NARROW, contradicted where it is the other way round, "
    "otherwise not decided, and also where a plateau of the narrower side goes to the end of the tried rates (>=); "
    f"methods with fewer than {ENOUGH} tried rates do not count."
)
_OTHERS = ("the others", Role.BASELINE)


def plateau_width(curve: RateCurve) -> float:
    """The highest rate of the plateau over the lowest; 1 where it is the best alone, or every training diverged."""
    return curve.plateau.highest / curve.plateau.lowest if curve.plateau else 1.0


def rates_of(case: Case) -> Rates | None:
    """What the rates gave of all rows that tried enough of them; None where there are none."""
    kept = [(plan, read_tried_rates(plan)) for plan in case.rows]
    enough = [(plan, tried) for plan, tried in kept if tried is not None and len(tried.scores) >= ENOUGH]
    if not enough:
        return None
    metric = enough[0][1].metric
    found = rates(read_rate_trials([plan.rates_file for plan, _ in enough], metric), metric)
    names = {plan.name: plan.condition.display_name for plan, _ in enough}
    return replace(found, curves=tuple(replace(one, label=names.get(one.label, one.label)) for one in found.curves))


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
    sides = [(name, _curves(case, role)) for name, role in (wide, narrow)]
    lacking = [name for name, curves in sides if not curves]
    if lacking:
        return Judgement(case, Verdict.NOT_MEASURED, f"Fewer than {ENOUGH} rates are kept of {listed(lacking)}.")
    means = [math.log(statistics.geometric_mean(map(plateau_width, curves.values()))) for _, curves in sides]
    narrower = sides[0][1] if means[0] < means[1] else sides[1][1]
    clear = abs(means[0] - means[1]) >= math.log(CLEAR) - 1e-9 and not any(map(_is_open, narrower.values()))
    verdict = Verdict.NOT_DECIDED
    if clear:
        verdict = Verdict.CONFIRMED if means[0] > means[1] else Verdict.CONTRADICTED
    numbers = "; ".join(
        f"{name} {math.exp(mean):.1f} ({', '.join(_one(*entry) for entry in curves.items())})"
        for (name, curves), mean in zip(sides, means, strict=True)
    )
    return Judgement(case, verdict, f"Width of the plateau: {numbers}")


def _curves(case: Case, role: Role) -> dict[str, RateCurve]:
    """Display name -> what the rates gave, of the rows of a role that tried enough of them."""
    names = {plan.condition.display_name for plan in case.rows if plan.role is role}
    found = rates_of(case)
    return {curve.label: curve for curve in found.curves if curve.label in names} if found else {}


def _is_open(curve: RateCurve) -> bool:
    """Whether the plateau goes to the end of the tried rates, and may go on."""
    return curve.plateau is not None and (curve.plateau.open_below or curve.plateau.open_above)


def _one(name: str, curve: RateCurve) -> str:
    diverged = f", diverged at {curve.diverged} of {len(curve.tried)} rates" if curve.diverged else ""
    return f"{name} {'>= ' if _is_open(curve) else ''}{plateau_width(curve):.1f}{diverged}"
