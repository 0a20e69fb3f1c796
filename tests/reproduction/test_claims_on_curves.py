"""The claim about convergence, on losses whose order can be seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from toy_results import keep, only_case, toy_with_rows

from iaa_retrieval.reproduction.claims.convergence import converges_faster, faster
from iaa_retrieval.reproduction.claims.judging import Judgement, Verdict
from iaa_retrieval.reproduction.plan import Reproduction

STEPS = range(10)
SLOW = [2 - 0.1 * step for step in STEPS]
FAST = [2 - 0.2 * step for step in STEPS]
LATE = [2.5] * 8 + [0.1, 0.0]  # ends lowest, and was above for most of the run


def curve(losses: Sequence[float]) -> dict[int, float]:
    return {10 * number: loss for number, loss in enumerate(losses, start=1)}


@pytest.fixture
def toy(tmp_path: Path) -> Reproduction:
    return toy_with_rows(tmp_path)


def judged(toy: Reproduction) -> Judgement:
    (found,) = converges_faster("IAA", [only_case(toy)]).judgements
    return found


def test_faster_needs_both_an_early_end_and_a_low_mean() -> None:
    assert faster(curve(FAST), curve(SLOW))
    assert not faster(curve(SLOW), curve(FAST))
    assert not faster(curve(SLOW), curve(SLOW))
    assert not faster(curve(LATE), curve(SLOW)) and not faster(curve(SLOW), curve(LATE))


def test_verdicts(toy: Reproduction) -> None:
    keep(toy, "iaa-l-0.5", 0.7, losses=[FAST])
    keep(toy, "lora-0.5", 0.6, losses=[SLOW])
    keep(toy, "full", 0.6, losses=[LATE])
    found = judged(toy)
    assert found.verdict is Verdict.CONFIRMED
    # Trapezoids: the mean of a line is that of its ends. Smoothed losses at the end worked out term by term.
    ends = [
        sum(0.6 ** (9 - i) * losses[i] for i in STEPS) / sum(0.6 ** (9 - i) for i in STEPS) for losses in (SLOW, FAST)
    ]
    assert f"IAA-L-0.5 is at the final loss of LORA-0.5 ({ends[0]:.4f}) or below from step " in found.numbers
    assert f"LORA-0.5 is at the final loss of IAA-L-0.5 ({ends[1]:.4f}) or below never" in found.numbers
    assert "mean loss over 100 steps: IAA-L-0.5 1.1000, LORA-0.5 1.5500, FULL " in found.numbers
    keep(toy, "lora-0.5", 0.8, losses=[SLOW])
    keep(toy, "iaa-l-0.5", 0.7, losses=[SLOW])
    assert judged(toy).verdict is Verdict.NOT_DECIDED
    keep(toy, "lora-0.5", 0.8, losses=[FAST])
    assert judged(toy).verdict is Verdict.CONTRADICTED


def test_every_seed_must_agree(toy: Reproduction) -> None:
    keep(toy, "lora-0.5", 0.6, losses=[SLOW])
    keep(toy, "iaa-l-0.5", 0.7, losses=[FAST, FAST], further_seeds=(0.7,))
    assert judged(toy).verdict is Verdict.CONFIRMED
    keep(toy, "iaa-l-0.5", 0.7, losses=[FAST, SLOW], further_seeds=(0.7,))
    assert judged(toy).verdict is Verdict.NOT_DECIDED


def test_what_cannot_be_compared(toy: Reproduction) -> None:
    keep(toy, "iaa-l-0.5", 0.7, losses=[FAST])
    assert judged(toy).verdict is Verdict.NOT_MEASURED
    keep(toy, "lora-0.5", 0.6)
    assert judged(toy).numbers == "No training of both is kept."
    keep(toy, "lora-0.5", 0.6, losses=[SLOW[:5]])
    assert judged(toy).numbers == "The two ran for other numbers of steps."
