"""The claim about the training loss: does the subject converge faster than the best other method?"""

from __future__ import annotations

from collections.abc import Sequence

from iaa_retrieval.analysis.convergence import SMOOTHING, Convergence, Learning, convergence
from iaa_retrieval.analysis.curves import Curve, last_value, mean_height, smoothed, step_down_to
from iaa_retrieval.analysis.learning_runs import read_learning_runs
from iaa_retrieval.analysis.run_groups import RunGroup
from iaa_retrieval.reproduction.claims.cases import Case
from iaa_retrieval.reproduction.claims.judging import Claim, Judgement, Verdict
from iaa_retrieval.reproduction.conditions import Role
from iaa_retrieval.reproduction.plan import ConditionPlan

EARLY = 0.9  # of the steps
RULE = (
    "One run is faster than another where its training loss is at the other's final loss or below from at most "
    f"{EARLY:.0%} of the steps on (both smoothed by a moving average of weight {SMOOTHING:g}) and its mean loss over "
    "the run is lower; confirmed where the run of every seed of the one is faster than that of every seed of the "
    "other, contradicted the other way round, otherwise not decided."
)


def converges_faster(subject: str, cases: Sequence[Case]) -> Claim:
    """Does the best form of the subject converge faster than the best other method of the budget?"""
    return Claim(
        f"The best form of {subject} converges faster than the best other parameter-efficient method.",
        RULE,
        [_judged(case) for case in cases],
    )


def learning_of(case: Case, plans: Sequence[ConditionPlan]) -> Convergence | None:
    """How some rows learnt; None where no training was logged."""
    groups = []
    methods: list[str] = []
    for plan in plans:
        if any(any("loss" in entry for entry in seed.history) for seed in case.result(plan).seeds.values()):
            runs, _ = read_learning_runs([plan.result_file])
            method = plan.condition.method
            groups.append(RunGroup(plan.condition.display_name, tuple(runs), methods.count(method)))
            methods.append(method)
    metrics = [metric for group in groups for run in group.runs for metric in run.dev]
    return convergence(groups, metrics[0] if metrics else case.metric) if groups else None


def faster(a: Curve, b: Curve) -> bool:
    """Whether a run whose losses were logged as ``a`` is faster than one with ``b``, by the rule."""
    end = max(b)
    reached = step_down_to(smoothed(a, SMOOTHING), last_value(smoothed(b, SMOOTHING)))
    heights = mean_height(a, end), mean_height(b, end)
    if reached is None or heights[0] is None or heights[1] is None:
        return False
    return reached <= EARLY * end and heights[0] < heights[1]


def _judged(case: Case) -> Judgement:
    plans = [case.best(Role.SUBJECT), case.best(Role.BASELINE)]
    compared = [plan for plan in plans if plan is not None]
    found = learning_of(case, compared) if len(compared) == 2 else None
    if found is None or len(found.groups) < 2:
        return Judgement(case, Verdict.NOT_MEASURED, "No training of both is kept.")
    subject, other = found.groups
    if {max(run.loss) for run in subject.group.runs} != {max(run.loss) for run in other.group.runs}:
        return Judgement(case, Verdict.NOT_MEASURED, "The two ran for other numbers of steps.")
    return Judgement(case, _verdict(subject, other), _numbers(case, subject, other))


def _verdict(subject: Learning, other: Learning) -> Verdict:
    pairs = [(a.loss, b.loss) for a in subject.group.runs for b in other.group.runs]
    if all(faster(a, b) for a, b in pairs):
        return Verdict.CONFIRMED
    return Verdict.CONTRADICTED if all(faster(b, a) for a, b in pairs) else Verdict.NOT_DECIDED


def _numbers(case: Case, subject: Learning, other: Learning) -> str:
    full = case.best(Role.FULL)
    beside = learning_of(case, [full]) if full is not None else None
    reference = f", {_mean_loss(beside.groups[0])}" if beside else ""
    return (
        f"{_reaching(subject, other)}; {_reaching(other, subject)}; mean loss over {subject.steps} steps: "
        f"{_mean_loss(subject)}, {_mean_loss(other)}{reference} "
        f"({len(subject.group.runs)} and {len(other.group.runs)} runs)"
    )


def _reaching(one: Learning, other: Learning) -> str:
    step = one.reached[other.group.label]
    when = f"from step {step} on" if step is not None else "never"
    return f"{one.group.label} is at the final loss of {other.group.label} ({other.final_loss:.4f}) or below {when}"


def _mean_loss(one: Learning) -> str:
    return f"{one.group.label} {one.mean_loss:.4f}" if one.mean_loss is not None else f"{one.group.label} unknown"
