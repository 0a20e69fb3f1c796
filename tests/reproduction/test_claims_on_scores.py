"""Claims about scores against scipy on the raw values, and the rules on made-up tables that decide each way."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest
from scipy.stats import f, ttest_rel
from toy_results import ROWS, SPREAD, keep, only_case, toy_with_rows

from iaa_retrieval.evaluation.significance import crossed_t_test
from iaa_retrieval.reproduction.claims.cases import Case, cases_of
from iaa_retrieval.reproduction.claims.effectiveness import (
    better_at_equal_budget,
    better_than_full,
    reaches_full,
    spreads_less_than_others,
    spreads_more_than_full,
)
from iaa_retrieval.reproduction.claims.judging import Claim, Judgement, Verdict, listed
from iaa_retrieval.reproduction.conditions import Role
from iaa_retrieval.reproduction.plan import Reproduction

LARGER = {
    **ROWS,
    "lora-6.7": ("lora", "6.7%", {"r": 9}),
    "iaa-l-6.7": ("iaa-l", "6.7%", {"r": 9, "ar": 9}),
}


@pytest.fixture
def toy(tmp_path: Path) -> Reproduction:
    return toy_with_rows(tmp_path)


def only(claim: Claim) -> Judgement:
    (judged,) = claim.judgements
    return judged


def test_better_worse_and_neither(toy: Reproduction) -> None:
    iaa = keep(toy, "iaa-l-0.5", 0.70)
    keep(toy, "iaa-s-0.5", 0.6)
    lora = keep(toy, "lora-0.5", 0.62, -1.5)
    keep(toy, "adapter-0.5", 0.5)
    claim = better_at_equal_budget("IAA", [only_case(toy)])
    p = ttest_rel(iaa, lora).pvalue
    assert p < 0.05
    assert only(claim).verdict is Verdict.CONFIRMED and claim.count(Verdict.CONFIRMED) == 1
    assert only(claim).numbers == (
        f"IAA-L-0.5 0.7050, LORA-0.5 0.6125: +0.0925, p = {p:.4f}, Holm p = {p:.4f} (nDCG@10, 6 queries, one seed each)"
    )
    keep(toy, "lora-0.5", 0.69, -1.5)
    assert only(better_at_equal_budget("IAA", [only_case(toy)])).verdict is Verdict.NOT_DECIDED
    keep(toy, "lora-0.5", 0.8, -1.0)
    assert only(better_at_equal_budget("IAA", [only_case(toy)])).verdict is Verdict.CONTRADICTED


def test_all_seeds_count(toy: Reproduction) -> None:
    keep(toy, "iaa-l-0.5", 0.70, further_seeds=(0.4, 0.71))
    keep(toy, "lora-0.5", 0.5, -1.0, further_seeds=(0.52, 0.51))
    case = only_case(toy)
    judged = only(better_at_equal_budget("IAA", [case]))
    sides = [case.seeds(plan) for plan in (case.best(Role.BASELINE), case.best(Role.SUBJECT)) if plan]
    assert judged.verdict is Verdict.NOT_DECIDED  # by the first seeds alone it would be clear
    assert f"p = {crossed_t_test(*sides).p_value:.4f}" in judged.numbers
    assert judged.numbers.endswith("3 and 3 seeds)")


def test_what_is_missing_is_named(toy: Reproduction) -> None:
    keep(toy, "iaa-l-0.5", 0.7)
    judged = only(better_at_equal_budget("IAA", [only_case(toy)]))
    assert judged.verdict is Verdict.NOT_MEASURED
    assert judged.numbers == "Not yet run: ADAPTER-0.5 and LORA-0.5."


def test_reaching_full_fine_tuning(toy: Reproduction) -> None:
    def verdict(level: float, shape: float) -> Verdict:
        keep(toy, "iaa-l-0.5", level, shape)
        return only(reaches_full("IAA", [only_case(toy)])).verdict

    keep(toy, "full", 0.7)
    assert verdict(0.9, -1.0) is Verdict.CONFIRMED  # better
    assert verdict(0.5, -1.0) is Verdict.CONTRADICTED
    assert verdict(0.7, -1.0) is Verdict.NOT_DECIDED  # as good, but it may be far below
    # Differences of -0.002 on average, of a standard deviation of 0.002: not below by a margin of 0.01.
    values = [value * 1.1 for value in SPREAD]
    shifted = [0.698 + value - (0.7 + other) for value, other in zip(values, SPREAD, strict=True)]
    margin = ttest_rel([value + 0.01 for value in shifted], [0.0] * 6)
    assert ttest_rel(shifted, [0.0] * 6).pvalue > 0.05 and margin.pvalue <= 0.05 and margin.statistic > 0
    assert verdict(0.698, 1.1) is Verdict.CONFIRMED


def test_below_but_within_the_margin_is_still_below(toy: Reproduction) -> None:
    keep(toy, "full", 0.7)
    keep(toy, "iaa-l-0.5", 0.698, 1.001)
    assert only(reaches_full("IAA", [only_case(toy)])).verdict is Verdict.CONTRADICTED


def test_the_larger_budget_is_one_of_the_comparisons_with_full(tmp_path: Path) -> None:
    toy = toy_with_rows(tmp_path, LARGER)
    full = keep(toy, "full", 0.7)
    values = {name: keep(toy, name, level, -0.7) for name, level in (("iaa-l-0.5", 0.70), ("iaa-l-6.7", 0.74))}
    cases = cases_of([toy])
    judged = only(better_than_full("IAA", cases))
    assert judged.case.budget == "6.7%"
    p = ttest_rel(values["iaa-l-6.7"], full).pvalue
    assert f"p = {p:.4f}, Holm p = {2 * p:.4f}" in judged.numbers
    assert judged.verdict is (Verdict.CONFIRMED if 2 * p <= 0.05 else Verdict.NOT_DECIDED)
    assert [claim.case.budget for claim in reaches_full("IAA", cases).judgements] == ["0.5%", "6.7%"]


def spread_case(toy: Reproduction, iaa: float, others: float, full: float) -> Case:
    def seeds(distance: float) -> tuple[float, ...]:
        return tuple(0.5 + distance * number for number in range(1, 5))

    keep(toy, "iaa-l-0.5", 0.5, further_seeds=seeds(iaa))
    keep(toy, "iaa-s-0.5", 0.5, further_seeds=seeds(iaa))
    keep(toy, "lora-0.5", 0.5, further_seeds=seeds(others))
    keep(toy, "adapter-0.5", 0.5, further_seeds=seeds(others))
    keep(toy, "full", 0.5, further_seeds=seeds(full))
    return only_case(toy)


def test_spread_over_seeds(toy: Reproduction) -> None:
    case = spread_case(toy, 0.001, 0.01, 0.005)
    judged = only(spreads_less_than_others("IAA", [case]))
    assert judged.verdict is Verdict.CONFIRMED
    deviation = statistics.stdev([0.5 + 0.01 * number for number in range(5)])
    assert (
        f"the others {deviation:.4f} (2 methods, 8 degrees of freedom), IAA {deviation / 10:.4f} (2" in judged.numbers
    )
    judged = only(spreads_more_than_full("IAA", [case]))
    p = 2 * f.sf(4.0, 8, 4)  # twice as wide
    assert p > 0.05 and judged.verdict is Verdict.NOT_DECIDED and f"p = {p:.4f}" in judged.numbers
    assert only(spreads_less_than_others("IAA", [spread_case(toy, 0.01, 0.001, 0.1)])).verdict is Verdict.CONTRADICTED
    equal = spread_case(toy, 0.01, 0.01, 0.01)
    assert only(spreads_less_than_others("IAA", [equal])).verdict is Verdict.NOT_DECIDED


def test_no_spread_without_several_seeds(toy: Reproduction) -> None:
    keep(toy, "iaa-l-0.5", 0.5, further_seeds=(0.6,))
    keep(toy, "lora-0.5", 0.5)
    judged = only(spreads_less_than_others("IAA", [only_case(toy)]))
    assert (judged.verdict, judged.numbers) == (Verdict.NOT_MEASURED, "No rows with several seeds of the others.")


def test_names_in_prose() -> None:
    assert [listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
