"""What is measured for the first time is entered where it belongs, and nothing else of the file changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from reproduction_files import condition, toy_values, write_reproduction

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.reproduction.loading import load_reproduction
from iaa_retrieval.reproduction.new_scores import enter_scores, enter_seeds
from iaa_retrieval.reproduction.results import Result, SeedResult

ROWS = """
conditions:
  # The first stage.
  - name: bm25
    display_name: BM25
    stage: retrieval
    method: none
    run: first.trec
  - name: iaa-l-0.5
    display_name: IAA-L  # ours
    stage: retrieval
    method: iaa-l
    budget: 0.5%
    dimensions: {r: 2, ar: 2}
    run: copy.trec
    seeds: [42, 43]
  - name: iaa-l-0.5
    display_name: IAA-L
    stage: reranking
    method: iaa-l
    budget: 0.5%
    dimensions: {r: 2, ar: 2}
    run: copy.trec
"""


def result(*levels: float) -> Result:
    seeds = {
        42 + number: SeedResult({"test": {m: {"q1": level, "q2": level} for m in ("nDCG@10", "MRR@10")}}, None, [])
        for number, level in enumerate(levels)
    }
    return Result("2026-11-24", "2 CPU cores (x86_64, AVX2)", {"torch": "2.13.0", "peft": "0.21.2"}, False, seeds)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    values = toy_values(tmp_path)
    del values["conditions"]
    found = write_reproduction(tmp_path, values)
    found.write_text(found.read_text() + ROWS)
    return found


def test_scores_are_entered_in_their_own_row(path: Path) -> None:
    before = path.read_text()
    toy = load_reproduction("toy", path.parent)
    enter_scores(toy.plans[1], result(0.5, 0.6))
    enter_scores(toy.plans[0], result(0.4))
    toy = load_reproduction("toy", path.parent)
    bm25, tuned, other = toy.conditions
    found = tuned.score("test", "nDCG@10")
    assert found and (found.value, found.seeds, found.provenance) == (0.55, {42: 0.5, 43: 0.6}, "measured")
    first = bm25.score("test", "MRR@10")
    assert first and (first.value, first.tolerance, first.seeds) == (0.4, 0.0001, {})
    assert found.tolerance == 0.01 and not other.scores
    assert tuned.measured["versions"] == "torch 2.13.0, peft 0.21.2"
    added = set(path.read_text().splitlines()) - set(before.splitlines())
    assert set(before.splitlines()) <= set(path.read_text().splitlines()) and len(added) == 6


def test_what_is_expected_stays(tmp_path: Path) -> None:
    row = condition("new", "first.trec")
    write_reproduction(tmp_path, toy_values(tmp_path) | {"conditions": [row]})
    with pytest.raises(IaaRetrievalError, match=r"new \(retrieval\) says already with what it was measured"):
        enter_scores(load_reproduction("toy", tmp_path).plans[0], result(0.7))
    del row["measured"]
    write_reproduction(tmp_path, toy_values(tmp_path) | {"conditions": [row]})
    toy = load_reproduction("toy", tmp_path)
    enter_scores(toy.plans[0], result(0.7))  # whichever way the list is indented
    again = load_reproduction("toy", tmp_path)
    with pytest.raises(IaaRetrievalError, match=r"new \(retrieval\) has expected scores already"):
        enter_scores(again.plans[0], result(0.9))
    assert load_reproduction("toy", tmp_path).conditions == again.conditions


def test_an_entry_that_is_not_there(path: Path) -> None:
    toy = load_reproduction("toy", path.parent)
    path.write_text(path.read_text().replace("name: bm25", "name: bm26"))
    with pytest.raises(IaaRetrievalError, match=r"toy.yaml has no entry of bm25 \(retrieval\)"):
        enter_scores(toy.plans[0], result(0.4))


def test_scores_of_further_seeds_replace_those_of_the_first(path: Path) -> None:
    text = path.read_text()
    path.write_text(text.replace("    seeds: [42, 43]\n", ""))
    enter_scores(load_reproduction("toy", path.parent).plans[1], result(0.5))
    enter_seeds(load_reproduction("toy", path.parent).plans[1], result(0.5, 0.6, 0.7))
    tuned = load_reproduction("toy", path.parent).conditions[1]
    found = tuned.score("test", "nDCG@10")
    assert found and (found.value, found.seeds) == (0.6, {42: 0.5, 43: 0.6, 44: 0.7})
    assert tuned.seeds == (42, 43, 44)
    assert set(text.splitlines()) - set(path.read_text().splitlines()) == {"    seeds: [42, 43]"}
