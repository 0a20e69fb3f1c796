"""Findings say what the kept results say, and which rows are missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_results import keep, only_case, toy_with_rows

from iaa_retrieval.reproduction.claims.cases import cases_of
from iaa_retrieval.reproduction.pages.findings import finding_of
from iaa_retrieval.reproduction.plan import Reproduction


@pytest.fixture
def toy(tmp_path: Path) -> Reproduction:
    return toy_with_rows(tmp_path)


def found(toy: Reproduction) -> str:
    return finding_of(only_case(toy))


def test_the_best_of_each_kind_and_what_is_missing(toy: Reproduction) -> None:
    assert cases_of([toy]) == []
    keep(toy, "iaa-l-0.5", 0.7)
    assert found(toy) == (
        "**Toy & co, dense retrieval, 0.5%.** By nDCG@10 over 6 queries: the best form of IAA is IAA-L-0.5 0.7050. "
        "Not yet run: FULL, ADAPTER-0.5, LORA-0.5, IAA-S-0.5."
    )
    keep(toy, "iaa-s-0.5", 0.6)
    keep(toy, "lora-0.5", 0.62)
    keep(toy, "adapter-0.5", 0.5)
    keep(toy, "full", 0.8)
    assert found(toy) == (
        "**Toy & co, dense retrieval, 0.5%.** By nDCG@10 over 6 queries: the best form of IAA is IAA-L-0.5 0.7050 "
        "(before IAA-S-0.5 0.6050), the best other method LORA-0.5 0.6250 (before ADAPTER-0.5 0.5050), FULL 0.8050."
    )


def test_a_result_without_the_first_column_counts_as_none(toy: Reproduction) -> None:
    keep(toy, "iaa-l-0.5", 0.7)
    path = next(plan.result_file for plan in toy.plans if plan.name == "iaa-l-0.5")
    path.write_text(path.read_text().replace("nDCG@10", "R@100"))
    assert cases_of([toy]) == []


def test_what_training_did_not_improve_is_named(toy: Reproduction) -> None:
    for name, level in {"iaa-l-0.5": 0.5, "iaa-s-0.5": 0.3, "lora-0.5": 0.2}.items():
        keep(toy, name, level)
    for name, level in {"adapter-0.5": 0.4, "full": 0.8}.items():
        keep(toy, name, level, -1.0)
    assert "Not above" not in found(toy)
    keep(toy, "bm25", 0.3)
    assert "Not above BM25 0.3050: LORA-0.5 0.2050, IAA-S-0.5 0.3050." in found(toy)
    keep(toy, "bm25", 0.1)
    assert "Not above BM25 0.1050: none." in found(toy)


def test_the_spread_of_seeds_and_the_best_by_the_mean_over_them(toy: Reproduction) -> None:
    for name in ("iaa-s-0.5", "adapter-0.5", "full"):
        keep(toy, name, 0.5, -1.0)
    keep(toy, "iaa-l-0.5", 0.6, further_seeds=(0.62, 0.64))
    keep(toy, "lora-0.5", 0.9, further_seeds=(0.0,))  # the best by its first seed alone
    assert "the best other method ADAPTER-0.5 0.4950 (before LORA-0.5 0.4550)" in found(toy)
    assert found(toy).endswith(
        "Over several seeds: LORA-0.5 0.4550 (sd 0.6364, seeds 42, 43), IAA-L-0.5 0.6250 (sd 0.0200, seeds 42, 43, 44)."
    )
