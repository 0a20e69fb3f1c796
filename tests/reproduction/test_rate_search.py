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
from iaa_retrieval.reproduction.rate_search import TriedRates, read_tried_rates, search_rates
from iaa_retrieval.reproduction.stages import Environment, Stages
from iaa_retrieval.reproduction.steps import CommandStep

DEV_SCORES = {"1e-3": 0.41, "3e-3": 0.52, "1e-2": 0.52}


def searching(directory: Path) -> Reproduction:
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
        (directory / step.name).mkdir(parents=True)
        scores = {"nDCG@10": DEV_SCORES[rate[1]]} if rate else {}
        RetrieverConfig("bi-encoder", dev_scores=scores).save(directory / step.name)
        stages.environments[step.name] = Environment(f"2026-11-0{len(run)}", "a machine", {})

    monkeypatch.setattr(rate_search, "run_step", run_step)
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
    assert "| 1e-3: 0.4100, **3e-3: 0.5200**, 1e-2: 0.5200 |" in markdown_page(toy)
    assert "<td>1e-3: 0.4100, <b>3e-3: 0.5200</b>, 1e-2: 0.5200</td>" in html_page(toy)


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
            assert search and tuple(tried.scores) == plan.rates and tried.metric == search.metric
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
