from html.parser import HTMLParser
from pathlib import Path

from reproduction_files import toy_values, write_reproduction

from iaa_retrieval.reproduction.conditions import Reproduction, load_reproduction, reproductions_directory
from iaa_retrieval.reproduction.report import commands_of, html_page, markdown_page, page_files


def load(directory: Path) -> Reproduction:
    values = toy_values(directory)
    values["conditions"][0]["note"] = "a < b"
    write_reproduction(directory, values)
    return load_reproduction("toy", directory)


def test_markdown(tmp_path: Path) -> None:
    page = markdown_page(load(tmp_path))
    assert page.startswith("# Toy & co\n")
    assert "| PLAIN (`plain`) | 0.8155 ± 0.002 | 0.7500 ± 0.002 | date 2026-11-21, seed 42 |" in page
    assert "0.5000 ± 0.002 (paper)" in page
    assert page.index("## First-stage retrieval") < page.index("PLAIN") < page.index("## Re-ranking")
    assert "python -m iaa_retrieval.reproduce --collection toy --all" in page


def test_commands_are_complete_and_in_order(tmp_path: Path) -> None:
    toy = load(tmp_path)
    first, second, evaluation = commands_of(toy, toy.conditions[1], Path("runs/toy"))
    assert "runs/toy/first.trec" in first
    assert "cp runs/toy/first.trec runs/toy/copy.trec" in second
    assert evaluation == (
        f'python -m iaa_retrieval.evaluate --qrels {toy.qrels} --run runs/toy/copy.trec --metrics "nDCG@10"'
    )
    for command in (first, second, evaluation):
        assert command in markdown_page(toy)


def test_html_is_well_formed_and_self_contained(tmp_path: Path) -> None:
    page = html_page(load(tmp_path))
    open_tags: list[str] = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            assert not {"src", "href"} & {name for name, _ in attributes}
            if tag != "meta":
                open_tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert open_tags.pop() == tag

    Checker().feed(page)
    assert open_tags == []
    assert "Toy &amp; co" in page
    assert "a &lt; b" in page
    assert "http" not in page


def test_files(tmp_path: Path) -> None:
    assert [path.name for path in page_files(load(tmp_path), tmp_path)] == ["toy.md", "toy.html"]


def test_committed_pages_are_what_their_yaml_generates() -> None:
    directory = reproductions_directory()
    for path in sorted(directory.glob("*.yaml")):
        for page, content in page_files(load_reproduction(path.stem), directory).items():
            assert page.read_text(encoding="utf-8") == content, f"{page}: run reproduce --generate-report"
