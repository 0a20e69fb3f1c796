"""The HTML pages in a real headless Chromium: sort, filter, expand, copy, and nothing on the console."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Chromium, find_browser

from iaa_retrieval.reproduction.loading import reproductions_directory

pytestmark = pytest.mark.skipif(find_browser() is None, reason="no Chromium here; on Debian: apt-get install chromium")

VISIBLE = "document.querySelectorAll('tbody[data-method]:not([hidden])')"
FIRST_TABLE = "document.querySelector('section[data-stage=retrieval] table')"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def page(browser: Chromium) -> Iterator[Chromium]:
    """The paper's passage page, freshly loaded; no test may leave a message on the console."""
    browser.problems.clear()
    browser.open(reproductions_directory() / "msmarco-v1-passage.html")
    yield browser
    assert browser.problems == []


def column(page: Chromium, number: int) -> list[str]:
    rows = f"[...{FIRST_TABLE}.tBodies]"
    return list(page.run(f"{rows}.map((body) => body.rows[0].cells[{number}].dataset.sort)"))


def test_sorting(page: Chromium) -> None:
    before = column(page, 3)
    header = "section[data-stage=retrieval] thead tr:last-child th:nth-child(4) .sort"
    page.click(header)
    falling = column(page, 3)
    assert falling == sorted(before, key=float, reverse=True) and falling != before
    assert float(falling[0]) == 0.327 and float(falling[-1]) == 0.184
    page.click(header)
    assert column(page, 3) == sorted(before, key=float)
    page.click(header)
    assert column(page, 3) == before
    # What has no value comes last either way: BM25 has no published R@100 here.
    last = "section[data-stage=retrieval] thead tr:last-child th:nth-child(7) .sort"
    for _ in range(2):
        page.click(last)
        assert column(page, 6)[-1] == ""
    page.click("section[data-stage=retrieval] thead tr:last-child th:nth-child(1) .sort")
    names = column(page, 0)
    assert names == sorted(names, key=str.lower)


def test_filtering(page: Chromium) -> None:
    assert page.run(f"{VISIBLE}.length") == 34
    page.choose("#filter-method", "iaa-l")
    assert page.run(f"[...{VISIBLE}].map((body) => body.id)") == [
        "retrieval-iaa-l-0.5",
        "retrieval-iaa-l-6.7",
        "reranking-iaa-l-0.5",
        "reranking-iaa-l-6.7",
    ]
    assert page.run("document.getElementById('shown').textContent") == "4 of 34 rows"
    page.choose("#filter-budget", "6.7%")
    page.choose("#filter-stage", "reranking")
    assert page.run(f"[...{VISIBLE}].map((body) => body.id)") == ["reranking-iaa-l-6.7"]
    assert page.run("document.querySelector('section[data-stage=retrieval]').offsetParent === null")
    page.choose("#filter-budget", "0.09%")
    assert page.run("document.getElementById('nothing').offsetParent !== null")
    for name in ("method", "budget", "stage"):
        page.choose(f"#filter-{name}", "*")
    assert page.run(f"{VISIBLE}.length") == 34


def test_a_cell_opens_its_row_and_points_at_its_evaluation(page: Chromium) -> None:
    row = "document.getElementById('retrieval-iaa-l-0.5')"
    details = f"{row}.querySelector('.details').offsetParent"
    assert page.run(f"{details} === null")
    page.click("[id='retrieval-iaa-l-0.5'] .cell[data-cell$='-3']")
    assert page.run(f"{details} !== null")
    chosen = page.run(f"[...{row}.querySelectorAll('.chosen')].map((one) => one.innerText)")
    assert len(chosen) == 1
    assert "R@100" in chosen[0] and "expected 0.735 (paper)" in chosen[0] and "-l 2" in chosen[0]
    page.click("[id='retrieval-iaa-l-0.5'] .cell[data-cell$='-0']")  # another cell of the open row
    assert page.run(f"{row}.querySelector('.chosen').innerText.includes('MRR@10')")
    assert page.run(f"{details} !== null")
    page.click("[id='retrieval-iaa-l-0.5'] .expand")
    assert page.run(f"{details} === null")


def test_copying(page: Chromium) -> None:
    page.send("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    page.click("[id='reranking-lora-0.5'] .expand")
    block = "[id='reranking-lora-0.5'] .details > td > .block"
    page.click(f"{block} .copy")
    page.run("new Promise((resolve) => setTimeout(resolve, 200))")
    assert page.run(f'document.querySelector("{block} .copy").textContent') == "copied"
    copied = page.run("navigator.clipboard.readText()").strip().splitlines()
    markdown = (reproductions_directory() / "msmarco-v1-passage.md").read_text(encoding="utf-8")
    assert "\n".join(copied) in markdown  # the same block, line by line
    assert copied[-1].startswith("python -m iaa_retrieval.evaluate")


@pytest.mark.parametrize("name", [path.stem for path in sorted(reproductions_directory().glob("*.html"))])
def test_every_page_loads_in_light_and_dark(name: str, browser: Chromium, tmp_path: Path) -> None:
    browser.problems.clear()
    browser.open(reproductions_directory() / f"{name}.html")
    colours = []
    for dark in (False, True):
        browser.screenshot(tmp_path / "page.png", dark=dark, height=400)
        assert (tmp_path / "page.png").stat().st_size > 5000
        colours.append(browser.run("getComputedStyle(document.body).backgroundColor"))
    assert colours == ["rgb(255, 255, 255)", "rgb(18, 22, 28)"]
    # Nothing is wider than the page but what scrolls by itself.
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    assert browser.problems == []


def test_charts_of_a_section_have_one_size(browser: Chromium) -> None:
    browser.display(dark=False, width=1600)
    browser.open(reproductions_directory() / "beir-scifact.html")
    widths = browser.run("[...document.querySelectorAll('section figure')].map((f) => Math.round(f.offsetWidth))")
    assert len(widths) == 8 and len(set(widths)) == 1
