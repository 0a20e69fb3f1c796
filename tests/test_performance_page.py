"""docs/performance.md says what docs/performance.json holds, and what it says follows from the numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import PAGE, RESULTS, sections
from benchmarks.page import performance_page
from benchmarks.section import Ratio, Section, Value

ROOT = Path(__file__).parents[1]


def test_the_page_is_what_the_results_generate():
    results = json.loads((ROOT / RESULTS).read_text(encoding="utf-8"))
    assert (ROOT / PAGE).read_text(encoding="utf-8") == performance_page(sections(), results)


def test_every_saved_number_has_a_row():
    results = json.loads((ROOT / RESULTS).read_text(encoding="utf-8"))
    for section in sections():
        printed = {value.key for value in section.values}
        for found in results.get(section.name, {}).get("rounds", []):
            assert printed <= set(found), section.name
            for ratio in section.ratios:
                assert {ratio.over, ratio.under} <= set(found), section.name


@pytest.fixture
def section() -> Section:
    return Section(
        name="toy",
        title="Toy",
        text="Two toys.",
        measure=lambda directory: {},
        values=(Value("ours", "ours", "s", limit=2.0), Value("theirs", "theirs", "s")),
        ratios=(Ratio("faster", "theirs", "ours", 3.0), Ratio("share", "ours", "theirs", 0.4, at_least=False)),
    )


def test_medians_spreads_and_aims(section: Section):
    rounds = [{"ours": 1.0, "theirs": 2.0}, {"ours": 2.0, "theirs": 6.0}, {"ours": 3.0, "theirs": 12.0}]
    toy = {"rounds": rounds, "dates": ["D", "E"], "hardware": "H", "versions": {"v": 1}}
    page = performance_page([section], {"toy": toy})
    assert "| ours | 2.0 [1.0, 3.0] s | ≤ 2 | met |" in page
    assert "| theirs | 6.0 [2.0, 12.0] s | | |" in page
    assert "| faster | 3.00 [2.00, 4.00] | ≥ 3 | met |" in page  # of each round's own ratio
    assert "| share | 0.33 [0.25, 0.50] | ≤ 0.4 | met |" in page
    assert "*3 rounds, D and E, H; v 1.*" in page


def test_a_missed_aim_is_said_and_one_round_has_no_spread(section: Section):
    rounds = [{"ours": 2.5, "theirs": 5.0}]
    page = performance_page([section], {"toy": {"rounds": rounds, "dates": ["D"], "hardware": "H", "versions": {}}})
    assert "| ours | 2.5 s | ≤ 2 | missed |" in page
    assert "| faster | 2.00 | ≥ 3 | missed |" in page


def test_what_was_not_run_is_said(section: Section):
    assert "Not run yet: toy." in performance_page([section], {})
