"""Marks against scipy's own paired test on the raw values, and Holm's procedure by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reproduction_files import condition, toy_values, write_reproduction
from scipy.stats import ttest_rel

from iaa_retrieval.evaluation.significance import crossed_t_test
from iaa_retrieval.reproduction.conditions import BEST_BASELINE, FULL
from iaa_retrieval.reproduction.loading import load_reproduction
from iaa_retrieval.reproduction.plan import Reproduction
from iaa_retrieval.reproduction.results import Result, Results, SeedResult
from iaa_retrieval.reproduction.significance import significance_marks, values_of_seeds

QUERIES = [f"q{number}" for number in range(60)]
# name -> (method, budget, dimensions, what it adds to every query's value on average)
ROWS: dict[str, tuple[str, str, dict[str, int], float]] = {
    "bm25": ("none", "", {}, -0.1),
    "full": ("full", "100%", {}, 0.06),
    "adapter-0.5": ("adapter", "0.5%", {"r": 2}, 0.02),
    "lora-0.5": ("lora", "0.5%", {"r": 2}, 0.04),
    "iaa-l-0.5": ("iaa-l", "0.5%", {"r": 2, "ar": 2}, 0.12),
    "lora-6.7": ("lora", "6.7%", {"r": 9}, 0.01),
}


def rows() -> list[dict[str, Any]]:
    return [
        condition(name, "first.trec") | {"method": method, "budget": budget, "dimensions": dimensions}
        for name, (method, budget, dimensions, _) in ROWS.items()
    ]


@pytest.fixture
def toy(tmp_path: Path) -> Reproduction:
    write_reproduction(tmp_path, {**toy_values(tmp_path), "conditions": rows()})
    return load_reproduction("toy", tmp_path)


@pytest.fixture
def values() -> dict[str, np.ndarray]:
    random = np.random.default_rng(7)
    common = random.uniform(0.2, 0.6, len(QUERIES))
    return {name: common + row[3] + random.normal(0, 0.1, len(QUERIES)) for name, row in ROWS.items()}


def results_of(values: dict[str, np.ndarray]) -> Results:
    return {
        ("retrieval", name): Result(
            "today",
            "here",
            {},
            False,
            {42: SeedResult({"test": {"nDCG@10": dict(zip(QUERIES, found.tolist(), strict=True))}}, None, [])},
        )
        for name, found in values.items()
    }


def test_against_full_fine_tuning(toy: Reproduction, values: dict[str, np.ndarray]) -> None:
    marks = significance_marks(toy, results_of(values))
    tuned = [name for name in ROWS if name not in ("bm25", "full")]
    p_values = {name: ttest_rel(values[name], values["full"]).pvalue for name in tuned}
    for name in tuned:
        (mark,) = [m for m in marks["retrieval", name, "test", "nDCG@10"] if m.against == FULL]
        assert mark.opponent == "full"
        assert mark.test.p_value == pytest.approx(p_values[name])
        assert mark.better == (values[name].mean() > values["full"].mean())
        assert mark.significant == (p_values[name] <= 0.05)
        # Holm by hand: the largest of (how many p-values are at least as large) * p, over those not larger.
        not_larger = [p for p in p_values.values() if p <= p_values[name]]
        holm = max(min(1.0, p * sum(other >= p for other in p_values.values())) for p in not_larger)
        assert mark.adjusted_p == pytest.approx(holm)
    assert ("retrieval", "bm25", "test", "nDCG@10") not in marks
    assert ("retrieval", "full", "test", "nDCG@10") not in marks


def test_against_the_best_baseline_of_the_budget(toy: Reproduction, values: dict[str, np.ndarray]) -> None:
    marks = significance_marks(toy, results_of(values))
    best = max(("adapter-0.5", "lora-0.5"), key=lambda name: values[name].mean())

    def opponents(name: str) -> list[str]:
        found = marks["retrieval", name, "test", "nDCG@10"]
        return [mark.opponent for mark in found if mark.against == BEST_BASELINE]

    assert opponents("iaa-l-0.5") == [best]
    assert opponents(best) == []  # nothing is compared with itself
    assert opponents("lora-6.7") == []  # the only method of its budget is the best one
    (mark,) = [m for m in marks["retrieval", "iaa-l-0.5", "test", "nDCG@10"] if m.against == BEST_BASELINE]
    assert mark.test.p_value == pytest.approx(ttest_rel(values["iaa-l-0.5"], values[best]).pvalue)
    assert mark.significant and mark.survives and mark.better


def test_no_best_baseline_is_named_before_all_are_measured(toy: Reproduction, values: dict[str, np.ndarray]) -> None:
    del values["adapter-0.5"]
    marks = significance_marks(toy, results_of(values))
    assert [mark.against for mark in marks["retrieval", "iaa-l-0.5", "test", "nDCG@10"]] == [FULL]
    del values["full"]
    assert significance_marks(toy, results_of(values)) == {}


def test_a_method_that_cannot_spend_all_counts_with_the_budget_it_stands_for(
    tmp_path: Path, values: dict[str, np.ndarray]
) -> None:
    entries = rows()
    (lora,) = [entry for entry in entries if entry["name"] == "lora-6.7"]
    lora["counts_as"] = "0.5%"
    write_reproduction(tmp_path, {**toy_values(tmp_path), "conditions": entries})
    toy = load_reproduction("toy", tmp_path)
    values["lora-6.7"] += 1.0
    marks = significance_marks(toy, results_of(values))
    assert marks["retrieval", "iaa-l-0.5", "test", "nDCG@10"][1].opponent == "lora-6.7"


def test_all_seeds_are_tested(toy: Reproduction, values: dict[str, np.ndarray]) -> None:
    """A lucky first seed neither is the best baseline nor decides the test."""
    results = results_of(values)
    lucky = {"lora-0.5": (0.3, -0.4, -0.4), "iaa-l-0.5": (0.2, 0.0, 0.0)}
    for name, levels in lucky.items():
        per_seed = {
            seed: SeedResult({"test": {"nDCG@10": dict(zip(QUERIES, values[name] + level, strict=True))}}, None, [])
            for seed, level in enumerate(levels, start=42)
        }
        results["retrieval", name] = Result("today", "here", {}, False, per_seed)
    marks = significance_marks(toy, results)["retrieval", "iaa-l-0.5", "test", "nDCG@10"]
    by_opponent = {mark.opponent: mark for mark in marks}
    assert by_opponent.keys() == {"full", "adapter-0.5"}
    iaa = results["retrieval", "iaa-l-0.5"]
    for opponent, mark in by_opponent.items():
        sides = [values_of_seeds(result, "test", "nDCG@10") for result in (results["retrieval", opponent], iaa)]
        assert [len(side) for side in sides] == [1, 3]
        assert mark.test == crossed_t_test(*sides)
        assert mark.test.mean_difference == pytest.approx(
            values["iaa-l-0.5"].mean() + 0.2 / 3 - values[opponent].mean()
        )
        assert mark.test.p_value > ttest_rel(values["iaa-l-0.5"], values[opponent]).pvalue  # the seeds' chance is in it
