"""Learning rates are chosen by dev scores that training left, with the settings of the search."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from reproduction_files import tuned_values, write_reproduction

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.models.retriever_config import RetrieverConfig
from iaa_retrieval.reproduction import rate_search
from iaa_retrieval.reproduction.loading import load_reproduction, reproduction_names
from iaa_retrieval.reproduction.pages.html import html_page
from iaa_retrieval.reproduction.pages.markdown import markdown_page
from iaa_retrieval.reproduction.plan import Reproduction
from iaa_retrieval.reproduction.rate_search import search_rates
from iaa_retrieval.reproduction.stages import Environment, Stages
from iaa_retrieval.reproduction.steps import CommandStep
from iaa_retrieval.reproduction.tried_rates import TriedRates, read_tried_rates
from iaa_retrieval.training.divergence import divergence

DEV_SCORES = {"1e-3": 0.41, "3e-3": 0.52, "1e-2": 0.52}
DIVERGING = -1.0
# What a seed adds to the dev score.
SEEDS = {42: 0.0, 43: 0.02, 44: 0.04}


def searching(directory: Path, **search: Any) -> Reproduction:
    values = tuned_values(directory)
    values["steps"]["<name>"] += " --lr <lr> --max-steps <steps>"
    setting = {"provenance": "ours"}
    values["stages"]["retrieval"] |= {
        "settings": {"lr": {"value": "5e-3", **setting}, "steps": {"value": 100, **setting}},
        "rate_search": {
            "methods": list(DEV_SCORES),
            "full": ["2e-5"],
            "metric": "nDCG@10",
            "settings": {"steps": 7},
            **search,
        },
    }
    write_reproduction(directory, values)
    return load_reproduction("toy", directory)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands that were run; one that trains leaves the dev score of its rate."""
    run: list[str] = []

    def run_step(stages: Stages, step: CommandStep) -> None:
        directory = stages.directory
        run.append(step.command)
        rate = re.search(r"--lr (\S+)", step.command)
        seed = re.search(r"--seed (\d+)", step.command)
        assert seed
        if rate and DEV_SCORES[rate[1]] == DIVERGING:
            raise IaaRetrievalError(f"step {step.name} failed ({divergence('the loss became nan in step 3')}); see log")
        (directory / step.name).mkdir(parents=True)
        scores = {"nDCG@10": DEV_SCORES[rate[1]] + SEEDS[int(seed[1])]} if rate else {}
        RetrieverConfig("bi-encoder", dev_scores=scores).save(directory / step.name)
        stages.environments[step.name] = Environment(f"2026-11-{len(run):02}", "a machine", {})

    monkeypatch.setattr(rate_search, "run_step", run_step)
    monkeypatch.setattr(rate_search, "current_environment", lambda: Environment("2026-11-09", "a machine", {}))
    return run


def test_every_rate_is_tried_with_the_settings_of_the_search(tmp_path: Path, commands: list[str]) -> None:
    toy = searching(tmp_path)
    tried = search_rates(toy.plans[0], tmp_path / "runs")
    assert tried.scores == DEV_SCORES and tried.best == "3e-3"  # of equals the first
    assert ["--max-steps 7" in command for command in commands] == [True] * 3  # and nothing but training
    assert read_tried_rates(toy.plans[0]) == tried


def test_the_pages_show_what_was_tried(tmp_path: Path, commands: list[str]) -> None:
    toy = searching(tmp_path)
    assert "Every method tried" not in markdown_page(toy) + html_page(toy)
    search_rates(toy.plans[0], tmp_path / "runs")
    assert "with steps 7; the best nDCG@10 on the dev queries" in markdown_page(toy)
    assert "| 1e-3: 0.4100, **3e-3: 0.5200**, 1e-2: 0.5200 |  |" in markdown_page(toy)
    assert "<td>1e-3: 0.4100, <b>3e-3: 0.5200</b>, 1e-2: 0.5200</td><td></td>" in html_page(toy)
    assert "Every method tried 3 learning rates" in markdown_page(toy)
    assert "the spread of its score is not known" in markdown_page(toy)


def test_a_best_rate_at_the_edge_is_said(tmp_path: Path, commands: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DEV_SCORES, "1e-2", 0.6)
    toy = searching(tmp_path)
    search_rates(toy.plans[0], tmp_path / "runs")
    assert "**1e-2: 0.6000** | the best is at the edge of the range |" in markdown_page(toy)


def test_a_rate_that_diverges_is_kept_without_a_score(
    tmp_path: Path, commands: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DEV_SCORES, "1e-2", DIVERGING)
    toy = searching(tmp_path)
    tried = search_rates(toy.plans[0], tmp_path / "runs")
    assert tried.scores == {"1e-3": 0.41, "3e-3": 0.52, "1e-2": None}
    assert (tried.best, tried.diverged, tried.at_edge) == ("3e-3", 1, False)
    assert read_tried_rates(toy.plans[0]) == tried
    assert "**3e-3: 0.5200**, 1e-2: diverged |" in markdown_page(toy)
    for rate in ("1e-3", "3e-3"):
        monkeypatch.setitem(DEV_SCORES, rate, DIVERGING)
    assert search_rates(toy.plans[0], tmp_path / "again").best is None
    assert "diverged at every rate" in html_page(toy)


def test_what_was_tried_is_kept_rate_by_rate(
    tmp_path: Path, commands: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = searching(tmp_path)
    monkeypatch.delitem(DEV_SCORES, "1e-2")  # what ends the search
    with pytest.raises(KeyError):
        search_rates(toy.plans[0], tmp_path / "runs")
    kept = read_tried_rates(toy.plans[0])
    assert kept and kept.scores == {"1e-3": 0.41, "3e-3": 0.52}


def test_several_seeds(tmp_path: Path, commands: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DEV_SCORES, "1e-2", 0.505)
    toy = searching(tmp_path, seeds=[42, 43, 44])
    tried = search_rates(toy.plans[0], tmp_path / "runs")
    assert len(commands) == 9
    assert tried.scores == {"1e-3": 0.43, "3e-3": 0.54, "1e-2": 0.525}
    assert tried.seeds["1e-3"] == {"42": 0.41, "43": 0.43, "44": 0.45}
    assert tried.deviation("1e-3") == pytest.approx(0.02)
    assert tried.rival == "1e-2"  # 0.015 behind, with a deviation of 0.02
    assert read_tried_rates(toy.plans[0]) == tried
    assert "**3e-3: 0.5400 (sd 0.0200)**, 1e-2: 0.5250 (sd 0.0200) | 1e-2 is within the spread" in markdown_page(toy)
    monkeypatch.setitem(DEV_SCORES, "1e-2", 0.45)
    assert search_rates(toy.plans[0], tmp_path / "again").rival is None


def test_a_method_with_rates_of_its_own(tmp_path: Path, commands: list[str]) -> None:
    toy = searching(tmp_path, rates={"iaa-l": ["3e-3"]})
    assert list(search_rates(toy.plans[0], tmp_path / "runs").scores) == ["3e-3"]


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"rates": {"lor": ["1e-3"]}}, "rate_search: unknown tuning method .lor."),
        ({"methods": ["fast"]}, "fast is no learning rate; write it as 1e-3"),
        ({"methods": ["1e-3", "0.001"]}, "a rate is named twice in 1e-3, 0.001"),
        ({"seeds": [42, 42]}, "a seed is named twice"),
    ],
)
def test_a_search_that_makes_no_sense(search: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(IaaRetrievalError, match=message):
        searching(tmp_path, **search)


def test_what_cannot_be_searched(tmp_path: Path, commands: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    toy = searching(tmp_path)
    monkeypatch.setitem(DEV_SCORES, "1e-3", 0.1)
    values: dict[str, Any] = tuned_values(tmp_path)
    write_reproduction(tmp_path, values, "without")
    without = load_reproduction("without", tmp_path)
    with pytest.raises(UsageError, match=r"without tries no learning rates for iaa-l-0.5 \(retrieval\)"):
        search_rates(without.plans[0], tmp_path / "runs")
    path = toy.plans[0].rates_file
    path.parent.mkdir(parents=True)
    path.write_text('{"rates": 3}')
    with pytest.raises(IaaRetrievalError, match=r"iaa-l-0.5.rates.json holds no learning rates"):
        read_tried_rates(toy.plans[0])


@pytest.mark.parametrize("name", reproduction_names())
def test_rows_use_the_best_rate_they_tried(name: str) -> None:
    reproduction = load_reproduction(name)
    for plan in reproduction.plans:
        tried: TriedRates | None = read_tried_rates(plan)
        search = plan.table.rate_search
        if tried:
            assert search and set(tried.scores) <= set(plan.rates) and tried.metric == search.metric
        if tried and tuple(tried.scores) == plan.rates:  # while a search goes on, nothing is chosen yet
            assert plan.settings["lr"].value == tried.best, plan.name


@pytest.mark.parametrize(
    ("name", "stage", "searched_in"),
    [
        ("beir-scifact", "retrieval", "beir-scifact"),  # its 6.7% rows
        ("beir-scifact", "reranking", "msmarco-mini"),
    ],
)
def test_other_rows_use_the_best_rate_of_their_method(name: str, stage: str, searched_in: str) -> None:
    """Where the settings' note says that the rates are another collection's."""
    searched = load_reproduction(searched_in)
    best = {}
    for plan in searched.select(stage=stage):
        tried = read_tried_rates(plan)
        if tried:
            best[plan.condition.method] = tried.best
    reproduction = load_reproduction(name)
    for plan in reproduction.select(stage=stage):
        if plan.condition.method in best:
            assert plan.settings["lr"].value == best[plan.condition.method], plan.name
