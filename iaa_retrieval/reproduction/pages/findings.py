"""What the kept results say about the paper's claims, in sentences whose numbers are computed from them.

For every table and budget: is the subject (what the reproduction is about) better than the best other method, does it
reach full fine-tuning, does it converge faster? What is not above the rows without training, and rows that are not yet
run, are named. By the first metric of the table and the first seed, with the spread of further seeds; significance as
the paper's: two-tailed paired t-test over the queries, p <= 0.05.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from iaa_retrieval.evaluation.metrics import mean
from iaa_retrieval.evaluation.significance import TTest, paired_t_test
from iaa_retrieval.reproduction.conditions import Role
from iaa_retrieval.reproduction.plan import ConditionPlan, Reproduction
from iaa_retrieval.reproduction.results import Results, read_results
from iaa_retrieval.reproduction.significance import ALPHA


@dataclass(frozen=True)
class Finding:
    """What one table says at one budget.

    Attributes:
        text: a Markdown paragraph.
        subject: what the reproduction is about, as prose calls it.
        against_other, against_full: the best form of the subject against the best other method and against full
            fine-tuning (differences: the subject's mean minus theirs); None where it is not decided.
    """

    text: str
    subject: str
    against_other: TTest | None = None
    against_full: TTest | None = None


def summary_of(findings: Sequence[Finding]) -> str:
    """All verdicts counted, a sentence for each subject; empty where nothing is decided."""
    subjects = dict.fromkeys(found.subject for found in findings if found.against_other)
    return "\n\n".join(_summary(subject, [f for f in findings if f.subject == subject]) for subject in subjects)


def _summary(subject: str, findings: Sequence[Finding]) -> str:
    others = [found.against_other for found in findings if found.against_other]
    fulls = [found.against_full for found in findings if found.against_full]
    return (
        f"In short, of {len(others)} comparisons with the best other method at equal budget the best form of {subject} "
        f"is {_counted(others)}; of {len(fulls)} with full fine-tuning, {_counted(fulls)}. The rest is within chance."
    )


def _counted(tests: Sequence[TTest]) -> str:
    clear = [test.mean_difference for test in tests if test.p_value <= ALPHA]
    better = sum(difference > 0 for difference in clear)
    return f"significantly better in {better} and worse in {len(clear) - better}"


def findings_of(reproduction: Reproduction) -> list[Finding]:
    """One finding per table and budget of which anything tuned is measured; none where there is no subject."""
    if not reproduction.roles.subject:
        return []
    results = read_results(reproduction)
    findings = []
    for stage in reproduction.stages:
        plans = [plan for plan in reproduction.plans if plan.stage == stage]
        tuned = [plan for plan in plans if plan.role is not Role.UNTUNED]
        for budget in dict.fromkeys(plan.condition.counts_as for plan in tuned if plan.role is not Role.FULL):
            rows = [plan for plan in tuned if plan.condition.counts_as == budget or plan.role is Role.FULL]
            if any(plan.key in results for plan in rows):
                untuned = [plan for plan in plans if plan.role is Role.UNTUNED and plan.key in results]
                title = f"**{reproduction.title}, {reproduction.stages[stage].title.lower()}, {budget}.**"
                findings.append(_finding(title, rows, untuned, results))
    return findings


def _finding(title: str, rows: Sequence[ConditionPlan], untuned: Sequence[ConditionPlan], results: Results) -> Finding:
    """Of all tuned rows of one budget; of those without training only what is measured."""
    name = rows[0].reproduction.roles.subject
    measured = [plan for plan in rows if plan.key in results]
    missing = ", ".join(_name(plan) for plan in rows if plan not in measured)
    subjects = [plan for plan in measured if plan.role is Role.SUBJECT]
    others = [plan for plan in measured if plan.role is Role.BASELINE]
    full = next((plan for plan in measured if plan.role is Role.FULL), None)
    if not subjects or not others or full is None:
        reason = (
            f"not yet run are {missing}" if missing else f"{name}, another method and full fine-tuning are not all rows"
        )
        return Finding(f"{title} Not decided: {reason}.", name)
    values = _Values([*measured, *untuned], results)
    subject, other = values.best(subjects), values.best(others)
    against_other, against_full = values.test(other, subject), values.test(full, subject)
    sentences = [
        title,
        f"By {values.metric} over {len(values.of[subject.name])} queries the best form of {name} is "
        f"{values.before(subject, subjects)}, the best other method {values.before(other, others)}.",
        f"Is {name} better at equal budget? {_verdict(against_other)}.",
        f"Does it reach full fine-tuning ({values.mean(full):.4f})? "
        f"{_reaches(against_full)} ({_numbers(against_full)}).",
        _convergence([subject, other, full], results),
        *(values.not_above(level, measured) for level in untuned),
        _seeds({_name(plan): values.seed_means(plan) for plan in measured}),
        f"Not yet run: {missing}." if missing else "",
    ]
    return Finding(" ".join(filter(None, sentences)), name, against_other, against_full)


def _name(plan: ConditionPlan) -> str:
    return plan.condition.display_name


class _Values:
    """The queries' values of measured rows by the first metric of their table.

    Attributes:
        of: name of a condition -> query id -> value, of the first seed.
    """

    def __init__(self, plans: Sequence[ConditionPlan], results: Results) -> None:
        self.topics, metrics = next(iter(plans[0].columns.items()))
        self.metric = metrics[0]
        self._results = results
        self.of = {plan.name: results[plan.key].first.per_query[self.topics][self.metric] for plan in plans}

    def mean(self, plan: ConditionPlan) -> float:
        return mean(self.of[plan.name])

    def best(self, candidates: Sequence[ConditionPlan]) -> ConditionPlan:
        return max(candidates, key=self.mean)

    def test(self, opponent: ConditionPlan, plan: ConditionPlan) -> TTest:
        return paired_t_test(self.of[opponent.name], self.of[plan.name])

    def seed_means(self, plan: ConditionPlan) -> dict[int, float]:
        return self._results[plan.key].seed_means(self.topics, self.metric) or {}

    def scored(self, plan: ConditionPlan) -> str:
        return f"{_name(plan)} {self.mean(plan):.4f}"

    def before(self, plan: ConditionPlan, candidates: Sequence[ConditionPlan]) -> str:
        rest = ", ".join(self.scored(other) for other in candidates if other is not plan)
        return self.scored(plan) + (f" (before {rest})" if rest else "")

    def not_above(self, level: ConditionPlan, tuned: Sequence[ConditionPlan]) -> str:
        below = [self.scored(plan) for plan in tuned if self.mean(plan) <= self.mean(level)]
        return f"Not above {self.scored(level)}: {', '.join(below) or 'none'}."


def _verdict(test: TTest) -> str:
    if test.p_value > ALPHA:
        return f"Not shown: the difference is within chance ({_numbers(test)})"
    return f"{'Yes' if test.mean_difference > 0 else 'No, it is worse'} ({_numbers(test)})"


def _reaches(test: TTest) -> str:
    if test.p_value > ALPHA:
        return "The difference is within chance"
    return "It is better" if test.mean_difference > 0 else "No"


def _numbers(test: TTest) -> str:
    p = "p < 0.0001" if test.p_value < 0.0001 else f"p = {test.p_value:.4f}"
    return f"{test.mean_difference:+.4f}, {p}"


def _convergence(plans: Sequence[ConditionPlan], results: Results) -> str:
    """The mean training loss, and the dev score when it was first looked at; empty without histories."""
    losses, first_looks = [], []
    for plan in plans:
        history = results[plan.key].first.history
        logged = [entry["loss"] for entry in history if "loss" in entry]
        looks = [(entry["step"], entry["nDCG@10"]) for entry in history if "nDCG@10" in entry]
        if not logged or not looks:
            return ""
        losses.append(f"{_name(plan)} {sum(logged) / len(logged):.4f}")
        first_looks.append(f"{_name(plan)} {looks[0][1]:.4f} (step {looks[0][0]:.0f})")
    return (
        f"Does it converge faster? Training loss, mean over all steps: {', '.join(losses)}; "
        f"dev nDCG@10 at the first look: {', '.join(first_looks)}."
    )


def _seeds(means: dict[str, dict[int, float]]) -> str:
    """Mean and standard deviation (n - 1) of every method that ran with several seeds; empty without any."""
    spreads = []
    for name, of_seed in means.items():
        if len(of_seed) > 1:
            seeds, deviation = ", ".join(map(str, of_seed)), statistics.stdev(of_seed.values())
            spreads.append(f"{name} {statistics.fmean(of_seed.values()):.4f} (sd {deviation:.4f}, seeds {seeds})")
    return f"Over several seeds: {', '.join(spreads)}." if spreads else ""
