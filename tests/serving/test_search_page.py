"""The search page in a real headless Chromium, against a service whose answers are fixed."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from chromium import Chromium, find_browser
from fake_service import DOCUMENTS, INJECTION, JUDGED_QUERY, LONG_TEXT, FakeService

from iaa_retrieval.serving.page import page_files

needs_browser = pytest.mark.skipif(
    find_browser() is None, reason="no Chromium here; on Debian: apt-get install chromium"
)

# WCAG 2's contrast of each element that has text of its own, against the nearest background behind it.
CONTRASTS = """
(() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((part) => part / 255)
    .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
  const background = (one) => {
    for (; one; one = one.parentElement) {
      const found = numbers(getComputedStyle(one).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const own = (one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  return [...document.body.querySelectorAll("*")].filter((one) => own(one) && one.checkVisibility()).map((one) => {
    const [a, b] = [light(numbers(getComputedStyle(one).color)), light(background(one))].sort((x, y) => y - x);
    return [(a + 0.05) / (b + 0.05), `${one.tagName}.${one.className}`];
  });
})()
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def running_service() -> Iterator[FakeService]:
    with FakeService() as found:
        yield found


@pytest.fixture
def service(running_service: FakeService) -> Iterator[FakeService]:
    running_service.reset()
    yield running_service
    running_service.open_gate.set()


@pytest.fixture
def page(browser: Chromium, service: FakeService) -> Iterator[Chromium]:
    """The page, freshly loaded with no query; no test may leave another message on the console or ask another host."""
    browser.display(dark=False)
    browser.open(service.address)
    settle(browser)
    browser.run("sessionStorage.clear()")
    browser.problems.clear()
    browser.requests.clear()
    yield browser
    assert browser.problems == []
    assert {f"{urlsplit(url).scheme}://{urlsplit(url).netloc}/" for url in browser.requests} <= {service.address}


def settle(page: Chromium) -> str:
    page.wait_for("document.body && document.body.dataset.state !== 'loading'")
    return str(page.run("document.body.dataset.state"))


def search(page: Chromium, text: str) -> str:
    """Type a query, press Enter, wait; the state that the page is in then."""
    page.run("document.getElementById('query').focus(); document.getElementById('query').select()")
    page.type(text)
    page.press("Enter", 13, "\r")
    return settle(page)


def look(page: Chromium, script: str) -> Any:
    """What a script says of each column, in order."""
    return page.run(f"[...document.querySelectorAll('.column')].map((column) => {script})")


def texts(page: Chromium, selector: str) -> list[str]:
    return list(page.run(f"[...document.querySelectorAll({json.dumps(selector)})].map((one) => one.textContent)"))


def expect_refusal(page: Chromium, status: int) -> None:
    """The browser itself notes a refused request on the console; take that note off, and that alone."""
    noted = [problem for problem in page.problems if f"status of {status}" in problem]
    assert noted
    page.problems = [problem for problem in page.problems if problem not in noted]


def test_the_files_need_no_inline_code_and_no_other_host() -> None:
    files = page_files()
    assert sorted(files) == ["/", "/page.css", "/page.js", "/page.svg"]
    html = files["/"][0].decode()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script[^>]*>[^<]", html)
    for name, (content, _) in files.items():
        addresses = re.findall(r"https?://[^\s\"']+", content.decode())
        assert addresses == (["http://www.w3.org/2000/svg"] if name == "/page.svg" else [])
    script = files["/page.js"][0].decode()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script)


@needs_browser
def test_ranks_judgments_and_scores_side_by_side(page: Chromium) -> None:
    assert search(page, JUDGED_QUERY) == "done"
    assert texts(page, ".column h2") == ["BM25", "Untuned", "Tuned"]
    assert texts(page, ".column > header p") == [
        "12.3 ms · 1 of 3 relevant in these 5",
        "12.3 ms · 2 of 3 relevant in these 5",
        "12.3 ms · 2 of 3 relevant in these 5",
    ]
    hits = "[...column.querySelectorAll('.hit')]"
    assert look(page, f"{hits}.map((hit) => hit.dataset.docid).join(' ')") == [
        "d1 d2 d3 d4 d5",
        "d3 d1 d6 d4 d7",
        "d6 d3 d2 d1 d5",
    ]
    assert look(page, f"{hits}.map((hit) => hit.querySelector('.rank').textContent).join('')") == ["12345"] * 3
    scores = "10.0000 5.0000 3.3333 2.5000 2.0000"
    assert look(page, f"{hits}.map((hit) => hit.querySelector('.score').textContent).join(' ')") == [scores] * 3
    judged = look(page, f"{hits}.map((hit) => hit.querySelector('.judgment').innerText)")
    unjudged, relevant, irrelevant = "? unjudged", "✓ relevant", "✗ judged not relevant"
    assert judged[0] == [unjudged, irrelevant, relevant, unjudged, unjudged]
    assert judged[2] == [relevant, relevant, irrelevant, unjudged, unjudged]
    # Worked out by hand from the rankings above.
    changes = look(page, f"{hits}.map((hit) => hit.querySelector('.change')?.innerText.split('\\n')[0] ?? '')")
    shown = [[re.sub(r" against BM25$", "", change) for change in column] for column in changes]
    assert shown == [
        [""] * 5,
        ["▲ up 2", "▼ down 1", "+ new", "= same rank", "+ new"],
        ["+ new", "▲ up 1", "▼ down 1", "▼ down 3", "= same rank"],
    ]
    gone = "[...column.querySelectorAll('.dropped li')].map((one) => one.dataset.docid).join(' ')"
    assert look(page, gone) == ["", "d2 d5", "d4"]
    status = texts(page, "#status[role=status]")
    assert status == ["Results of BM25 (5), Untuned (5), Tuned (5). 3 documents are judged relevant to query q1."]


@needs_browser
def test_a_query_without_judgments_says_so_and_marks_nothing(page: Chromium) -> None:
    search(page, "something else")
    assert texts(page, "#status")[0].endswith("No judgments are known for this query.")
    assert texts(page, ".judgment") == [] and texts(page, ".column > header p") == ["12.3 ms"] * 3


@needs_browser
def test_documents_are_text_and_nothing_else(page: Chromium) -> None:
    search(page, JUDGED_QUERY)
    assert texts(page, ".hit[data-docid=d1] h3") == [INJECTION] * 3
    assert texts(page, ".hit[data-docid=d1] .text")[0].startswith(INJECTION)
    assert page.run("document.querySelectorAll('main img, main script').length") == 0
    assert page.run("document.title") == f"{JUDGED_QUERY} - Python packages"


@needs_browser
def test_a_long_text_opens_and_closes(page: Chromium) -> None:
    search(page, JUDGED_QUERY)
    place = ".hit[data-docid=d4] .text"
    assert len(texts(page, f"{place} span")[0]) < 300
    assert texts(page, ".hit[data-docid=d3] .text button") == []  # a short one is whole
    page.click(f"{place} button")
    assert texts(page, f"{place} span")[0] == LONG_TEXT
    assert page.run(f"document.querySelector('{place} button').ariaExpanded") == "true"
    page.press("Enter", 13, "\r")  # the button has the focus
    assert len(texts(page, f"{place} span")[0]) < 300


@needs_browser
def test_pointer_and_focus_mark_a_document_in_every_column(page: Chromium) -> None:
    search(page, JUDGED_QUERY)
    marked = "[...document.querySelectorAll('.same')].map((one) => one.dataset.docid).join(' ')"
    page.hover(".hit[data-docid=d2]")
    assert page.run(marked) == "d2 d2 d2"  # in two rankings, and where it dropped out
    page.hover("#title")
    assert page.run(marked) == ""
    page.run("document.querySelector('.hit').focus()")
    assert page.run(marked) == "d1 d1 d1"
    page.press("Tab", 9)
    assert page.run(marked) == "d2 d2 d2"


@needs_browser
def test_addresses_examples_and_the_way_back(page: Chromium, service: FakeService) -> None:
    assert texts(page, "#suggestions button") == [JUDGED_QUERY, "example 2", "example 3", "example 4", "example 5"]
    assert page.run("document.querySelectorAll('#examples option').length") == 8
    page.click("#suggestions button")
    settle(page)
    first = parse_qs(urlsplit(page.run("location.href")).query)
    assert first == {"query": [JUDGED_QUERY], "systems": ["bm25,untuned,tuned"]}
    search(page, "another & one?")
    assert parse_qs(urlsplit(page.run("location.href")).query)["query"] == ["another & one?"]
    page.run("history.back()")
    page.wait_for(f"document.title.startsWith({json.dumps(JUDGED_QUERY)}) && document.body.dataset.state === 'done'")
    assert page.run("document.getElementById('query').value") == JUDGED_QUERY
    assert texts(page, "#status")[0].endswith("query q1.")
    page.run("history.back()")
    page.wait_for("document.body.dataset.state === 'start'")
    assert page.run("document.getElementById('results').childElementCount") == 0
    # A link opens on what it says; a system that there is no more falls back on those shown at first.
    link = {"query": JUDGED_QUERY, "systems": "tuned,bm25"}
    page.open(service.address + "?" + urlencode(link))
    settle(page)
    assert texts(page, ".column h2") == ["Tuned", "BM25"]
    page.open(service.address + "?" + urlencode({**link, "systems": "tuned,gone"}))
    settle(page)
    assert texts(page, ".column h2") == ["BM25", "Untuned", "Tuned"]


@needs_browser
def test_choosing_systems(page: Chromium) -> None:
    search(page, JUDGED_QUERY)
    # Taking a system that stands elsewhere swaps the two.
    page.choose("#slots label:nth-child(1) select", "tuned")
    settle(page)
    assert texts(page, ".column h2") == ["Tuned", "Untuned", "BM25"]
    assert texts(page, ".change")[0] == "▲ up 1 against Tuned"  # d3: second there, first in Untuned
    page.choose("#slots label:nth-child(3) select", "")
    settle(page)
    assert texts(page, ".column h2") == ["Tuned", "Untuned"]
    page.choose("#slots label:nth-child(3) select", "tuned")  # there was none to swap with
    settle(page)
    assert texts(page, ".column h2") == ["BM25", "Untuned", "Tuned"]
    page.choose("#slots label:nth-child(2) select", "hybrid")
    settle(page)
    assert look(page, "column.querySelector('.nothing')?.textContent ?? ''") == ["", "Nothing found.", ""]
    assert look(page, "column.querySelectorAll('.dropped li').length") == [0, 5, 1]


@needs_browser
def test_a_slow_search_shows_that_it_works_and_gives_way_to_the_next(page: Chromium, service: FakeService) -> None:
    service.open_gate.clear()
    page.run("document.getElementById('query').focus()")
    page.type("slow")
    page.press("Enter", 13, "\r")
    page.wait_for("document.body.dataset.state === 'loading'")
    assert texts(page, "#status") == ["Searching…"]
    assert page.run("document.getElementById('results').ariaBusy") == "true"
    assert search(page, JUDGED_QUERY) == "done"
    service.open_gate.set()
    time.sleep(0.3)  # time for the first answer to do harm, if it could
    assert texts(page, "#status")[0].endswith("query q1.")
    assert page.run("document.getElementById('results').ariaBusy") == "false"


@needs_browser
def test_a_refusal_is_one_line_and_can_be_tried_again(page: Chromium, service: FakeService) -> None:
    service.failures = [(503, "7"), (429, None), (413, None)]
    for status, said in ((503, " (Try again in 7 s.)"), (429, " (Try again in a moment.)"), (413, "")):
        assert (search(page, "full") if status == 503 else retry(page)) == "failed"
        assert texts(page, "#message[role=alert]") == [f"This search failed with {status}.{said}"]
        assert texts(page, ".column") == []
        expect_refusal(page, status)
    assert retry(page) == "done"
    assert page.run("document.getElementById('failure').hidden")


def retry(page: Chromium) -> str:
    page.click("#retry")
    return settle(page)


@needs_browser
def test_the_key_is_asked_for_once(page: Chromium, service: FakeService) -> None:
    service.key = "right"
    assert page.run("document.getElementById('key').hidden")
    assert search(page, JUDGED_QUERY) == "key"
    expect_refusal(page, 401)
    assert page.run("document.activeElement.id") == "key-field"
    for typed, state in (("wrong", "key"), ("right", "done")):
        page.type(typed)
        page.press("Enter", 13, "\r")
        page.wait_for("document.getElementById('key-field').value === ''")
        assert settle(page) == state
        if state == "key":
            assert texts(page, "#message") == ["The service does not accept this key."]
            expect_refusal(page, 401)
    assert not any("right" in url for url in page.requests)
    page.open(page.run("location.href"))  # the tab remembers it
    assert settle(page) == "done"
    page.run("sessionStorage.clear()")


@needs_browser
def test_a_service_that_is_gone_is_named(browser: Chromium) -> None:
    with FakeService() as service:
        browser.open(service.address)
        settle(browser)
    assert search(browser, "anything") == "failed"
    assert texts(browser, "#message") == ["The service cannot be reached. Is it still running?"]


@needs_browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_everything_can_be_read_in_light_and_dark(dark: bool, page: Chromium, service: FakeService) -> None:
    page.display(dark=dark)
    expected = "rgb(18, 22, 28)" if dark else "rgb(255, 255, 255)"
    assert page.run("getComputedStyle(document.body).backgroundColor") == expected
    search(page, JUDGED_QUERY)
    # Each kind of mark, also on the colour of the marked document.
    for docid in ("d2", "d3", "d1"):
        page.hover(f".hit[data-docid={docid}]")
        found = page.run(CONTRASTS)
        assert len(found) > 50
        assert [one for one in found if one[0] < 4.5] == []
    service.failures = [(500, None)]
    search(page, "fails")
    expect_refusal(page, 500)
    assert [one for one in page.run(CONTRASTS) if one[0] < 4.5] == []


@needs_browser
@pytest.mark.parametrize("width", [1360, 800, 360])
def test_columns_stand_side_by_side_or_one_below_the_other(width: int, page: Chromium) -> None:
    page.display(dark=False, width=width)
    search(page, JUDGED_QUERY)
    # Nothing is wider than the window, not even an unbroken title.
    assert DOCUMENTS["d7"][0] in texts(page, "h3")
    assert page.run("document.documentElement.scrollWidth <= innerWidth")
    lefts, tops = (look(page, f"column.getBoundingClientRect().{side}") for side in ("left", "top"))
    if width > 400:
        assert lefts == sorted(set(lefts)) and len(set(tops)) == 1
    else:
        assert tops == sorted(set(tops)) and len(set(lefts)) == 1


@needs_browser
def test_all_controls_have_names_and_the_keyboard_reaches_them(page: Chromium) -> None:
    search(page, JUDGED_QUERY)
    nodes = page.send("Accessibility.getFullAXTree")["nodes"]
    kinds = {"button", "combobox", "searchbox", "textbox"}
    controls = [node for node in nodes if not node["ignored"] and node["role"]["value"] in kinds]
    assert len(controls) >= 10
    assert [node["role"]["value"] for node in controls if not node.get("name", {}).get("value")] == []
    page.run("document.getElementById('query').focus()")
    for _ in range(40):
        page.press("Tab", 9)
        page.run("document.activeElement.dataset.reached = ''")
    wanted = "'select, #search button, #suggestions button, .hit, .hit button, .dropped li'"
    assert page.run(f"document.querySelectorAll({wanted}).length") == 3 + 1 + 5 + 15 + 2 + 3
    assert page.run(f"[...document.querySelectorAll({wanted})].every((one) => 'reached' in one.dataset)")


@needs_browser
def test_a_picture_of_the_page(service: FakeService, tmp_path: Path) -> None:
    script = Path(__file__).resolve().parents[1] / "page_screenshot.py"

    def take(*options: str) -> subprocess.CompletedProcess[str]:
        address = service.address + "?" + urlencode({"query": JUDGED_QUERY})
        command = [sys.executable, script, address, tmp_path / "page.png", *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    done = take("--dark", "--width", "1000", "--height", "600")
    assert (done.returncode, done.stderr) == (0, "")
    content = (tmp_path / "page.png").read_bytes()
    assert content.startswith(b"\x89PNG") and struct.unpack(">II", content[16:24]) == (1000, 600)
    # A picture of a failure is none.
    service.failures = [(503, None)]
    (tmp_path / "page.png").unlink()
    refused = take()
    assert refused.returncode == 1 and "This search failed with 503." in refused.stderr
    assert not (tmp_path / "page.png").exists()
