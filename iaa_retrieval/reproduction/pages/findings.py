"""What the kept results say about the paper's claims, in sentences whose numbers are computed from them.

For every table and budget: is IAA better than the best other method, does it reach full fine-tuning, does it converge
faster? What is not above the rows without training, and rows that are not yet run, are named. By the first metric of
the table and the first seed, with the spread of further seeds; significance as the paper's: two-tailed paired t-test
over the queries, p <= 0.05.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from iaa_retrieval.evaluation.metrics import mean
from iaa_retrieval.evaluation.significance import TTest, paired_t_test
from iaa_retrieval.reproduction.conditions import UNTUNED, Condition, Reproduction
from iaa_retrieval.reproduction.results import Result, Results, read_results
from iaa_retrieval.reproduction.significance import ALPHA


@dataclass(frozen=True)
class Finding:
    """What one table says at one budget.

    Attributes:
        text: a Markdown paragraph.
        against_other, against_full: the best form of IAA against the best other method and against full fine-tuning
            (differences: IAA's mean minus theirs); None where it is not decided.
    """

    text: str
    against_other: TTest | None = None
    against_full: TTest | None = None


def summary_of(findings: Sequence[Finding]) -> str:
    """All verdicts counted, in a sentence; empty where nothing is decided."""
    others = [found.against_other for found in findings if found.against_other]
    fulls = [found.against_full for found in findings if found.against_full]
    if not others:
        return ""
    return (
        f"In short, of {len(others)} comparisons with the best other method at equal budget the best form of IAA is "
        f"{_counted(others)}; of {len(fulls)} with full fine-tuning, {_counted(fulls)}. The rest is within chance."
    )


def _counted(tests: Sequence[TTest]) -> str:
    clear = [test.mean_difference for test in tests if test.p_value <= ALPHA]
    better = sum(difference > 0 for difference in clear)
    return f"significantly better in {better} and worse in {len(clear) - better}"


def findings_of(reproduction: Reproduction) -> list[Finding]:
    """One finding per table and budget of which anything tuned is measured."""
    results = read_results(reproduction)
    findings = []
    for stage in reproduction.stages:
        tuned = [c for c in reproduction.conditions if c.stage == stage and c.method != UNTUNED]
        for budget in dict.fromkeys(c.counts_as for c in tuned if c.method != "full"):
            rows = [c for c in tuned if c.counts_as == budget or c.method == "full"]
            measured = [c for c in rows if (stage, c.name) in results]
            if measured:
                findings.append(_finding(reproduction, stage, budget, rows, measured, results))
    return findings


def _title(reproduction: Reproduction, stage: str, budget: str) -> str:
    return f"**{reproduction.title}, {reproduction.stages[stage].title.lower()}, {budget}.**"


def _finding(
    reproduction: Reproduction,
    stage: str,
    budget: str,
    rows: Sequence[Condition],
    measured: Sequence[Condition],
    results: Results,
) -> Finding:
    missing = ", ".join(c.display_name for c in rows if c not in measured)
    iaas = [c for c in measured if c.is_iaa]
    others = [c for c in measured if c.is_baseline]
    full = next((c for c in measured if c.method == "full"), None)
    if not iaas or not others or full is None:
        return Finding(f"{_title(reproduction, stage, budget)} Not decided: not yet run are {missing}.")
    untuned = [c for c in reproduction.select(stage=stage) if c.method == UNTUNED and (stage, c.name) in results]
    topics, metrics = next(iter(reproduction.stages[stage].columns.items()))
    values = {c.name: results[stage, c.name].first.per_query[topics][metrics[0]] for c in [*measured, *untuned]}

    def best(candidates: Sequence[Condition]) -> Condition:
        return max(candidates, key=lambda c: mean(values[c.name]))

    def scored(condition: Condition) -> str:
        return f"{condition.display_name} {mean(values[condition.name]):.4f}"

    def before(condition: Condition, candidates: Sequence[Condition]) -> str:
        rest = ", ".join(scored(c) for c in candidates if c is not condition)
        return scored(condition) + (f" (before {rest})" if rest else "")

    def not_above(level: Condition) -> str:
        below = [c for c in measured if mean(values[c.name]) <= mean(values[level.name])]
        return f"Not above {scored(level)}: {', '.join(map(scored, below)) or 'none'}."

    iaa, other = best(iaas), best(others)
    against_other = paired_t_test(values[other.name], values[iaa.name])
    against_full = paired_t_test(values[full.name], values[iaa.name])
    sentences = [
        _title(reproduction, stage, budget),
        f"By {metrics[0]} over {len(values[iaa.name])} queries the best form of IAA is {before(iaa, iaas)}, the "
        f"best other method {before(other, others)}.",
        f"Is IAA better at equal budget? {_verdict(against_other)}.",
        f"Does it reach full fine-tuning ({mean(values[full.name]):.4f})? "
        f"{_reaches(against_full)} ({_numbers(against_full)}).",
        _convergence([iaa, other, full], {c.name: results[stage, c.name] for c in measured}),
        *map(not_above, untuned),
        _seeds({c.display_name: results[stage, c.name].seed_means(topics, metrics[0]) or {} for c in measured}),
        f"Not yet run: {missing}." if missing else "",
    ]
    return Finding(" ".join(filter(None, sentences)), against_other, against_full)


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


def _convergence(conditions: Sequence[Condition], results: dict[str, Result]) -> str:
    """The mean training loss, and the dev score when it was first looked at; empty without histories."""
    losses, first_looks = [], []
    for condition in conditions:
        history = results[condition.name].first.history
        logged = [entry["loss"] for entry in history if "loss" in entry]
        looks = [(entry["step"], entry["nDCG@10"]) for entry in history if "nDCG@10" in entry]
        if not logged or not looks:
            return ""
        losses.append(f"{condition.display_name} {sum(logged) / len(logged):.4f}")
        first_looks.append(f"{condition.display_name} {looks[0][1]:.4f} (step {looks[0][0]:.0f})")
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
