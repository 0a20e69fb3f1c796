"""The claims about the widths of plateaus, which are worked out by hand here."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_results import keep, only_case, toy_with_rows

from iaa_retrieval.reproduction.claims.judging import Judgement, Verdict
from iaa_retrieval.reproduction.claims.rates import (
    less_sensitive_than_others,
    others_more_sensitive_than_full,
)
from iaa_retrieval.reproduction.plan import Reproduction
from iaa_retrieval.reproduction.tried_rates import TriedRates, write_tried_rates

RATES = ("3e-4", "1e-3", "3e-3", "1e-2", "3e-2")
WIDE = (0.4, 0.507, 0.510, 0.505, 0.4)  # at most 1% below the best from 1e-3 to 1e-2
NARROW = (0.3, 0.4, 0.5, 0.4, None)


def tried(scores: tuple[float | None, ...]) -> TriedRates:
    return TriedRates("d", "h", "nDCG@10", dict(zip(RATES, scores, strict=False)))


@pytest.fixture
def toy(tmp_path: Path) -> Reproduction:
    toy = toy_with_rows(tmp_path)
    keep(toy, "iaa-l-0.5", 0.7)
    return toy


def search(toy: Reproduction, **scores: tuple[float | None, ...]) -> None:
    for name, of_row in scores.items():
        (plan,) = [plan for plan in toy.plans if plan.condition.method == name.replace("_", "-")]
        write_tried_rates(plan, tried(of_row))


def judged(toy: Reproduction) -> tuple[Judgement, Judgement]:
    cases = [only_case(toy)]
    (first,) = others_more_sensitive_than_full("IAA", cases).judgements
    (second,) = less_sensitive_than_others("IAA", cases).judgements
    return first, second


def test_verdicts(toy: Reproduction) -> None:
    search(toy, iaa_l=WIDE, lora=NARROW, adapter=NARROW, full=NARROW)
    full, subject = judged(toy)
    assert (full.verdict, subject.verdict) == (Verdict.NOT_DECIDED, Verdict.CONFIRMED)
    assert subject.numbers == (
        "Width of the plateau: IAA 10.0 (IAA-L-0.5 10.0); the others 1.0 (ADAPTER-0.5 1.0, diverged at 1 of 5 rates, "
        "LORA-0.5 1.0, diverged at 1 of 5 rates)"
    )
    search(toy, iaa_l=NARROW, lora=WIDE, adapter=WIDE, full=NARROW)
    assert [one.verdict for one in judged(toy)] == [Verdict.CONTRADICTED, Verdict.CONTRADICTED]
    # Of the others one is as wide as 10 and one as 1: 3.16 by their geometric mean.
    search(toy, adapter=NARROW, full=WIDE)
    assert [one.verdict for one in judged(toy)] == [Verdict.CONFIRMED, Verdict.CONTRADICTED]


def test_where_every_rate_diverges_there_is_no_plateau(toy: Reproduction) -> None:
    search(toy, iaa_l=(None,) * 5, lora=WIDE)
    _, subject = judged(toy)
    assert subject.verdict is Verdict.CONTRADICTED
    assert "IAA 1.0 (IAA-L-0.5 1.0, diverged at 5 of 5 rates)" in subject.numbers


def test_a_plateau_that_may_go_on_is_not_the_narrower_one(toy: Reproduction) -> None:
    search(toy, iaa_l=(0.4, 0.4, 0.4, 0.4, 0.5), lora=WIDE)
    _, subject = judged(toy)
    assert subject.verdict is Verdict.NOT_DECIDED
    assert "IAA 1.0 (IAA-L-0.5 >= 1.0); the others 10.0" in subject.numbers


def test_too_few_rates_say_nothing(toy: Reproduction) -> None:
    search(toy, iaa_l=WIDE, lora=WIDE[:3], adapter=WIDE[:3])
    full, subject = judged(toy)
    assert {full.verdict, subject.verdict} == {Verdict.NOT_MEASURED}
    assert subject.numbers == "Fewer than 5 rates are kept of the others."
    assert full.numbers == "Fewer than 5 rates are kept of full fine-tuning and the others."
