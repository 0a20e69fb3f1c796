"""Findings say what the kept results say, and which rows are missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from reproduction_files import condition, toy_values, write_reproduction
from scipy.stats import ttest_rel

from iaa_retrieval.reproduction.loading import load_reproduction
from iaa_retrieval.reproduction.pages.findings import Finding, findings_of, summary_of
from iaa_retrieval.reproduction.plan import Reproduction
from iaa_retrieval.reproduction.results import Result, SeedResult, write_result

ROWS = {
    "bm25": ("none", "", {}),
    "full": ("full", "100%", {}),
    "adapter-0.5": ("adapter", "0.5%", {"r": 2}),
    "lora-0.5": ("lora", "0.5%", {"r": 2}),
    "iaa-l-0.5": ("iaa-l", "0.5%", {"r": 2, "ar": 2}),
    "iaa-s-0.5": ("iaa-s", "0.5%", {"r": 2, "ar": 2}),
}
SPREAD = [0.01, -0.02, 0.03, 0.0, -0.01, 0.02]  # of the queries


@pytest.fixture
def toy(tmp_path: Path) -> Reproduction:
    rows = [
        condition(name, "first.trec") | {"method": method, "budget": budget, "dimensions": dimensions}
        for name, (method, budget, dimensions) in ROWS.items()
    ]
    write_reproduction(tmp_path, {**toy_values(tmp_path), "conditions": rows})
    return load_reproduction("toy", tmp_path)


def keep(
    toy: Reproduction,
    name: str,
    level: float,
    shape: float = 1.0,
    *,
    loss: float | None = None,
    further_seeds: tuple[float, ...] = (),
) -> list[float]:
    """A result whose queries' values lie around ``level`` (and further ones around other levels); they are returned."""
    history = [] if loss is None else [{"step": 10, "loss": loss}, {"step": 20, "loss": loss / 2}]
    history += [] if loss is None else [{"step": 20, "nDCG@10": level}]
    seeds = {}
    for seed, around in enumerate((level, *further_seeds), start=42):
        values = {f"q{number}": around + shape * value for number, value in enumerate(SPREAD)}
        seeds[seed] = SeedResult({"test": {"nDCG@10": values}}, None, history)
    (plan,) = toy.select(name, "retrieval")
    write_result(plan.result_file, Result("d", "h", {}, False, seeds))
    return list(seeds[42].per_query["test"]["nDCG@10"].values())


def texts(toy: Reproduction) -> list[str]:
    return [finding.text for finding in findings_of(toy)]


def test_what_is_missing_is_named(toy: Reproduction) -> None:
    assert texts(toy) == []
    keep(toy, "iaa-l-0.5", 0.7)
    keep(toy, "full", 0.7, -1.0)
    (found,) = texts(toy)
    assert found == (
        "**Toy & co, dense retrieval, 0.5%.** Not decided: not yet run are ADAPTER-0.5, LORA-0.5, IAA-S-0.5."
    )
    keep(toy, "lora-0.5", 0.6, 0.9)
    (found,) = texts(toy)
    assert "the best form of IAA is IAA-L-0.5 0.7050, the best other method LORA-0.5 0.6045." in found
    assert found.endswith(" Not yet run: ADAPTER-0.5, IAA-S-0.5.")


def test_the_best_of_each_kind_are_compared(toy: Reproduction) -> None:
    iaa = keep(toy, "iaa-l-0.5", 0.70, loss=0.4)
    keep(toy, "iaa-s-0.5", 0.6)
    lora = keep(toy, "lora-0.5", 0.62, -1.5, loss=0.6)
    keep(toy, "adapter-0.5", 0.5)
    full = keep(toy, "full", 0.701, -1.0, loss=0.2)
    (found,) = texts(toy)
    p_other, p_full = ttest_rel(iaa, lora).pvalue, ttest_rel(iaa, full).pvalue
    assert p_other < 0.05 < p_full
    assert "over 6 queries the best form of IAA is IAA-L-0.5 0.7050 (before IAA-S-0.5 0.6050), the best" in found
    assert "best other method LORA-0.5 0.6125 (before ADAPTER-0.5 0.5050)." in found
    assert f"Is IAA better at equal budget? Yes (+0.0925, p = {p_other:.4f})." in found
    assert f"full fine-tuning (0.6960)? The difference is within chance (+0.0090, p = {p_full:.4f})." in found
    assert "mean over all steps: IAA-L-0.5 0.3000, LORA-0.5 0.4500, FULL 0.1500;" in found
    assert "at the first look: IAA-L-0.5 0.7000 (step 20), LORA-0.5 0.6200 (step 20), FULL 0.7010 (step 20)." in found


def test_what_contradicts_the_paper_is_said(toy: Reproduction) -> None:
    for name in ("iaa-l-0.5", "iaa-s-0.5", "adapter-0.5"):
        keep(toy, name, 0.5)
    keep(toy, "lora-0.5", 0.6, 0.9)
    keep(toy, "full", 0.8, 0.9)
    (found,) = texts(toy)
    assert "Is IAA better at equal budget? No, it is worse (-0.0995, p < 0.0001)." in found
    assert "full fine-tuning (0.8045)? No (-0.2995, p < 0.0001)." in found
    assert "converge" not in found and "Not yet run" not in found  # nothing was logged, and all is there


def test_what_training_did_not_improve_is_named(toy: Reproduction) -> None:
    for name, level in {"iaa-l-0.5": 0.5, "iaa-s-0.5": 0.3, "lora-0.5": 0.2}.items():
        keep(toy, name, level)
    for name, level in {"adapter-0.5": 0.4, "full": 0.8}.items():
        keep(toy, name, level, -1.0)
    assert "Not above" not in texts(toy)[0]
    keep(toy, "bm25", 0.3)
    assert "Not above BM25 0.3050: LORA-0.5 0.2050, IAA-S-0.5 0.3050." in texts(toy)[0]
    keep(toy, "bm25", 0.1)
    assert "Not above BM25 0.1050: none." in texts(toy)[0]


def test_the_spread_of_seeds(toy: Reproduction) -> None:
    for name in ("iaa-s-0.5", "adapter-0.5", "full"):
        keep(toy, name, 0.5, -1.0)
    keep(toy, "iaa-l-0.5", 0.6, further_seeds=(0.62, 0.64))
    keep(toy, "lora-0.5", 0.5, 0.8, further_seeds=(0.5,))
    (found,) = texts(toy)
    assert found.endswith(
        "Over several seeds: LORA-0.5 0.5040 (sd 0.0000, seeds 42, 43), IAA-L-0.5 0.6250 (sd 0.0200, seeds 42, 43, 44)."
    )


def test_verdicts_are_counted(toy: Reproduction) -> None:
    assert summary_of([]) == summary_of([Finding("Not decided.", "IAA")]) == ""
    for name in ("iaa-l-0.5", "iaa-s-0.5", "adapter-0.5"):
        keep(toy, name, 0.5)
    keep(toy, "lora-0.5", 0.5, -1.0)
    keep(toy, "full", 0.8, 0.9)
    (chance_and_worse,) = findings_of(toy)
    for name in ("adapter-0.5", "lora-0.5", "full"):
        keep(toy, name, 0.4, 0.9)
    (better,) = findings_of(toy)
    assert summary_of([chance_and_worse, better, better, Finding("Not decided.", "IAA")]) == (
        "In short, of 3 comparisons with the best other method at equal budget the best form of IAA is significantly "
        "better in 2 and worse in 0; of 3 with full fine-tuning, significantly better in 2 and worse in 1. The rest is "
        "within chance."
    )
