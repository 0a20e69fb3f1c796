from html.parser import HTMLParser
from pathlib import Path

import pytest
from reproduction_files import commit_checkpoint, condition, score, toy_values, tuned_values, write_reproduction

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.reproduction.commands import commands_of, evaluation_commands
from iaa_retrieval.reproduction.conditions import TopicSet
from iaa_retrieval.reproduction.loading import load_reproduction, reproduction_names
from iaa_retrieval.reproduction.pages.content import tables_of
from iaa_retrieval.reproduction.pages.files import index_file, page_files
from iaa_retrieval.reproduction.pages.html import html_page
from iaa_retrieval.reproduction.pages.index import CHECKPOINTS, FINDINGS, TABLE, index_page, markers
from iaa_retrieval.reproduction.pages.markdown import markdown_page
from iaa_retrieval.reproduction.plan import Reproduction
from iaa_retrieval.reproduction.results import Result, SeedResult, write_result


def load(directory: Path) -> Reproduction:
    values = toy_values(directory)
    values["conditions"][0]["note"] = "a < b"
    values["conditions"].append(condition("later", "better.trec", "reranking"))
    write_reproduction(directory, values)
    return load_reproduction("toy", directory)


def record(toy: Reproduction, name: str, values: dict[str, float], **kept: object) -> None:
    """Keep a result in which every query has the given value."""
    for plan in toy.select(name):
        per_query = {"test": {metric: {"q1": value, "q2": value} for metric, value in values.items()}}
        seed = SeedResult(per_query, None, **{"history": [], **kept})  # type: ignore[arg-type]
        write_result(plan.result_file, Result("2026-11-22", "2 CPU cores", {"torch": "2.13"}, False, {42: seed}))


def test_markdown(tmp_path: Path) -> None:
    page = markdown_page(load(tmp_path))
    assert page.startswith("# Toy & co\n")
    assert "**2 of 4 rows were measured by this project; 1 are not yet run.**" in page
    assert "| 1 | PLAIN (`plain`) |  |  | 0.8155 ± 0.002 | 0.7500 ± 0.002 | measured 2026-11-21 |" in page
    assert "| 1 | COPIED (`copied`) |  |  | 0.500 | the paper's |" in page
    assert "| 3 | LATER (`later`) |  |  | not yet run | not yet run |" in page
    assert page.index("## Dense retrieval") < page.index("PLAIN") < page.index("## Re-ranking")
    assert "python -m iaa_retrieval.reproduce --collection toy --all" in page


def test_commands_are_complete_and_in_order(tmp_path: Path) -> None:
    toy = load(tmp_path)
    first, second, evaluation = commands_of(toy.plans[1], Path("runs/toy"))
    assert "runs/toy/first.trec" in first
    assert "cp runs/toy/first.trec runs/toy/copy.trec" in second
    qrels = toy.topic_sets["test"].qrels
    assert (
        evaluation == f'python -m iaa_retrieval.evaluate --qrels {qrels} --run runs/toy/copy.trec --metrics "nDCG@10"'
    )
    assert "\n".join((first, second, evaluation)) in markdown_page(toy)


def test_only_metrics_that_binarise_have_a_relevance_level() -> None:
    dl19 = TopicSet("dl19", "DL 2019", "q", "$DATA/qrels.tsv", relevance_level=2)
    assert evaluation_commands(dl19, Path("a.trec"), ["nDCG@10", "R@100", "nDCG@100"]) == [
        'python -m iaa_retrieval.evaluate --qrels "$DATA/qrels.tsv" --run a.trec --metrics "nDCG@10 nDCG@100"',
        'python -m iaa_retrieval.evaluate --qrels "$DATA/qrels.tsv" --run a.trec -l 2 --metrics "R@100"',
    ]
    assert len(evaluation_commands(dl19, Path("a.trec"), ["nDCG@10"])) == 1


def test_a_committed_checkpoint_has_commands_of_its_own(tmp_path: Path) -> None:
    write_reproduction(tmp_path, tuned_values(tmp_path))
    toy = load_reproduction("toy", tmp_path)
    assert "From the committed checkpoint" not in markdown_page(toy)
    checkpoint = commit_checkpoint(tmp_path)
    page = markdown_page(toy)
    printed = Path(tmp_path.name) / checkpoint.relative_to(tmp_path)
    assert f"From the committed checkpoint:\n\n```bash\ncp {printed}/run.trec runs/toy/iaa-l-0.5.trec\n" in page
    assert page.index("From the committed checkpoint") < page.index("From nothing") < page.index("iaa_retrieval.train")


def test_further_seeds_have_only_their_own_commands(tmp_path: Path) -> None:
    values = tuned_values(tmp_path)
    seeds = {42: 0.81, 43: 0.83}
    values["conditions"][0] |= {"seeds": [42, 43], "scores": {"test": {"nDCG@10": score(0.82, seeds=seeds)}}}
    write_reproduction(tmp_path, values)
    page = markdown_page(load_reproduction("toy", tmp_path))
    assert "0.8200 (sd 0.0141, 2 seeds)" in page
    second = page[page.index("Seed 43 as well") :]
    assert "--seed 43 --to runs/toy/iaa-l-0.5-seed43" in second
    assert "--seed 42" not in second


def test_expected_and_measured_side_by_side(tmp_path: Path) -> None:
    toy = load(tmp_path)
    record(toy, "plain", {"nDCG@10": 0.8150, "MRR@10": 0.9})
    record(toy, "later", {"nDCG@10": 0.6})
    page = markdown_page(toy)
    assert "0.8155 ± 0.002<br>re-run 0.8150 | 0.7500 ± 0.002<br>re-run 0.9000 |" in page
    assert "no expected score<br>re-run 0.6000" in page
    assert "Re-run from nothing on 2026-11-22: seed 42, 2 CPU cores, torch 2.13." in page
    page = html_page(toy)
    assert '<small class="rerun ok">re-run 0.8150</small>' in page
    assert '<small class="rerun higher">re-run 0.9000</small>' in page


def test_the_papers_marks_are_shown_as_the_papers(tmp_path: Path) -> None:
    values = toy_values(tmp_path)
    values["conditions"][1]["scores"]["test"]["nDCG@10"]["better_than"] = ["full", "best-baseline"]
    write_reproduction(tmp_path, values)
    toy = load_reproduction("toy", tmp_path)
    page = markdown_page(toy)
    assert "0.500\\*†" in page
    assert "\\* significantly better than full fine-tuning." in page
    assert "On the paper's scores the marks are the paper's" in page
    assert "computed" not in page
    assert '<span class="expected">0.500</span><sup>*</sup><sup>†</sup>' in html_page(toy)


def test_a_papers_column_beside_ours_holds_only_what_is_the_papers(tmp_path: Path) -> None:
    write_reproduction(tmp_path, toy_values(tmp_path), "other")
    values = toy_values(tmp_path)
    values["stages"]["reranking"]["paper_column"] = {"collection": "other", "stage": "reranking", "topics": "test"}
    write_reproduction(tmp_path, values)
    table = tables_of(load_reproduction("toy", tmp_path))[1]
    assert [(column.group, column.paper) for column in table.columns] == [
        ("the test, Tiny", False),
        ("the paper's, Tiny", True),
    ]
    # ``copied`` is the paper's there; ``better`` was measured there.
    assert [row.cells[1].expected for row in table.rows] == ["0.500", ""]


@pytest.mark.parametrize("wrong", [{"stage": "searching"}, {"topics": "dev"}])
def test_a_papers_column_that_is_not_there(wrong: dict[str, str], tmp_path: Path) -> None:
    write_reproduction(tmp_path, toy_values(tmp_path), "other")
    values = toy_values(tmp_path)
    column = {"collection": "other", "stage": "reranking", "topics": "test"} | wrong
    values["stages"]["reranking"]["paper_column"] = column
    write_reproduction(tmp_path, values)
    expected = f"toy.yaml: paper_column: other has no {column['stage']} of topic set {column['topics']}"
    with pytest.raises(IaaRetrievalError, match=expected):
        tables_of(load_reproduction("toy", tmp_path))


def test_msmarco_mini_names_both_backbones() -> None:
    page = markdown_page(load_reproduction("msmarco-mini"))
    assert "TREC DL 2019, all-MiniLM-L6-v2: nDCG@10" in page
    assert "the paper's, BERT-base (uncased): nDCG@10" in page
    (line,) = [line for line in page.splitlines() if "IAA-L (`iaa-l-0.5`)" in line and "0.732†" in line]
    assert "0.633" in line


@pytest.mark.parametrize("name", ["msmarco-v1-passage", "msmarco-v1-doc"])
def test_the_papers_pages_say_that_nothing_was_measured(name: str) -> None:
    reproduction = load_reproduction(name)
    for page in (markdown_page(reproduction), html_page(reproduction)):
        assert "Nothing on this page was measured by this project." in page
        assert "published by Pyserini" in page
        assert "re-run 0" not in page
        assert "-l 2 --metrics" in page or name.endswith("doc")


class Structure(HTMLParser):
    """Checks that tags are balanced and that nothing comes from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        names = dict(attributes)
        assert not {"src", "href", "onclick"} & names.keys()
        self.ids += [str(names["id"])] if "id" in names else []
        self.tags.append(tag)
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", [*reproduction_names(), "toy"])
def test_html_is_well_formed_and_self_contained(name: str, tmp_path: Path) -> None:
    page = html_page(load(tmp_path) if name == "toy" else load_reproduction(name))
    structure = Structure()
    structure.feed(page)
    assert structure.open == []
    assert len(structure.ids) == len(set(structure.ids))
    assert "http" not in page and "@import" not in page and "url(" not in page
    if name == "toy":
        assert "Toy &amp; co" in page and "a &lt; b" in page


class Shown(HTMLParser):
    """What a browser shows of a page, and the values of its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts = 0
        self.texts: list[str] = []
        self.values: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.values += [value or "" for _, value in attributes]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_names_and_notes_are_text_wherever_they_stand(tmp_path: Path) -> None:
    """As data of a YAML that somebody else wrote; and escaped once, not twice."""
    evil = """<script>alert('x')</script> & " ><b"""
    values = tuned_values(tmp_path)
    (tuned,) = values["conditions"]
    tuned |= {"note": f"note {evil}", "settings": {"lr": {"value": 1, "provenance": "ours", "note": evil}}}
    other = tuned | {"display_name": evil, "measured": {"date": "2026-11-21", "hardware": f"hardware {evil}"}}
    plain = condition("plain", "", nDCG_at_10=score(0.8155), MRR_at_10=score(0.9))
    values["conditions"] = [
        tuned,
        other | {"name": "b"},
        other | {"name": "c"},
        plain | {"display_name": f"level {evil}"},
    ]
    values["title"], values["description"] = f"title {evil}", f"description {evil}"
    values["requires"] = {"DATA": f"requires {evil}"}
    values["topic_sets"]["test"]["display_name"] = f"topics {evil}"
    values["stages"]["retrieval"] |= {"title": f"stage {evil}", "note": f"stage note {evil}"}
    values["stages"]["retrieval"]["settings"] = {
        "epochs": {"value": 3, "provenance": "ours", "note": f"setting {evil}"}
    }
    write_reproduction(tmp_path, values)
    page = html_page(load_reproduction("toy", tmp_path))
    assert page.count('<circle class="point ') == 3
    assert page.count("<script") == 1 and "alert('" not in page
    shown = Shown()
    shown.feed(page)
    assert shown.scripts == 1
    texts = "\n".join(shown.texts)
    stage = ("stage", "stage note", "setting", "topics", "level", "note", "hardware")
    for start in ("title", "description", "requires", *stage):
        assert f"{start} {evil}" in texts, start
    assert shown.texts.count(f"level {evil}") == 3  # in the filter, the table and the chart
    assert evil in shown.values and f"level {evil}" in shown.values
    assert "&amp;lt;" not in page and "&amp;amp;" not in page


def test_charts_show_every_scored_method() -> None:
    page = html_page(load_reproduction("msmarco-v1-passage"))
    assert page.count("<svg") == 4  # two stages, two topic sets
    assert page.count('class="point ') == 4 * 16
    assert "MS MARCO dev: MRR@10 against trained weights (the paper&#x27;s scores)." in page
    assert "Too far off to be drawn: BM25 0.184." in page


def test_curves_are_drawn_from_kept_histories(tmp_path: Path) -> None:
    values = tuned_values(tmp_path)
    write_reproduction(tmp_path, values)
    toy = load_reproduction("toy", tmp_path)
    assert "<svg" not in html_page(toy)
    history = [{"step": step, "loss": 1 / step} for step in (1, 2, 3)] + [{"step": 3, "nDCG@10": 0.5}]
    record(toy, "iaa-l-0.5", {"nDCG@10": 0.8155, "MRR@10": 0.75}, history=history)
    page = html_page(toy)
    assert page.count('<polyline class="curve subject"') == 1  # one dev score alone makes no curve
    assert "training loss by training step" in page


def test_computed_marks(tmp_path: Path) -> None:
    values = tuned_values(tmp_path)
    full = condition("full", "", nDCG_at_10=score(0.5), MRR_at_10=score(0.75))
    values["conditions"].append(full | {"method": "full", "budget": "100%"})
    write_reproduction(tmp_path, values)
    toy = load_reproduction("toy", tmp_path)
    for name, base in (("iaa-l-0.5", 0.8), ("full", 0.5)):
        (plan,) = toy.select(name)
        per_query = {"test": {"nDCG@10": {f"q{i}": base + i % 3 / 100 * len(name) for i in range(9)}}}
        write_result(plan.result_file, Result("d", "h", {}, False, {42: SeedResult(per_query, None, [])}))
    page = markdown_page(toy)
    assert "0.8155\\* ± 0.002<br>re-run" in page
    assert "computed from the kept results: two-tailed paired t-test over the queries, p ≤ 0.05" in page
    assert "better than full by 0.3500" in html_page(toy)


def test_files(tmp_path: Path) -> None:
    assert [path.name for path in page_files(load(tmp_path))] == ["toy.md", "toy.html"]


def test_the_index_keeps_what_a_person_wrote(tmp_path: Path) -> None:
    toy = load(tmp_path)
    record(toy, "plain", {"nDCG@10": 0.8155, "MRR@10": 0.75})
    record(toy, "better", {"nDCG@10": 0.1})
    (better,) = toy.select("better")
    better.checkpoint.mkdir(parents=True)
    (better.checkpoint / "adapter_model.safetensors").write_bytes(bytes(1_250_000))
    table, checkpoints, findings = ("\nold\n".join(markers(part)) for part in (TABLE, CHECKPOINTS, FINDINGS))
    page = index_page(f"Mine.\n{table}\nBetween.\n{checkpoints}\n{findings}\nMine too.\n", [toy])
    assert page.startswith("Mine.\n") and page.endswith("\nMine too.\n") and "\nold\n" not in page
    assert "\nBetween.\n" in page
    assert "| [toy](toy.md) ([interactive](toy.html)) | 4 | 2 | 1 | 1 | 1 | 0 | 1 |" in page
    assert "holds 1 adapters, in fp16: 1.2 MB" in page
    assert f"would take {toy.backbone.parameters * 2 / 1e6:.1f} MB" in page
    with pytest.raises(IaaRetrievalError, match="lacks the marker"):
        index_page(f"only one\n{table}", [toy])


def test_committed_pages_are_what_would_be_generated() -> None:
    reproductions = [load_reproduction(name) for name in reproduction_names()]
    pages = index_file(reproductions)
    for reproduction in reproductions:
        pages |= page_files(reproduction)
    for page, content in pages.items():
        assert page.read_text(encoding="utf-8") == content, f"{page}: run reproduce --collection all --generate-report"
