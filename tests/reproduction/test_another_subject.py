"""A table of reproductions about another method than IAA takes its YAML file, and nothing of the package."""

from __future__ import annotations

import html
import re
import shutil
from pathlib import Path

import pytest
from reproduction_files import condition, score, toy_values, write_reproduction

from iaa_retrieval import reproduction
from iaa_retrieval.reproduction.claims.all_claims import claims_of
from iaa_retrieval.reproduction.claims.cases import cases_of
from iaa_retrieval.reproduction.claims.judging import Verdict
from iaa_retrieval.reproduction.loading import load_reproduction
from iaa_retrieval.reproduction.pages.files import index_file, page_files
from iaa_retrieval.reproduction.pages.index import PARTS, markers
from iaa_retrieval.reproduction.pages.learning_efficiency import learning_efficiency_page
from iaa_retrieval.reproduction.plan import Reproduction
from iaa_retrieval.reproduction.results import Result, SeedResult, write_result

# name -> (display name, method, budget, dimensions, level of the queries' values, spread around it)
ROWS = {
    "bm25": ("BM25", "none", "", {}, 0.3, 1.0),
    "full": ("Everything", "full", "100%", {}, 0.7, -0.5),
    "adapter-0.5": ("Adapter", "adapter", "0.5%", {"r": 2}, 0.5, 0.9),
    "prefix-0.5": ("Prefix", "prefix", "0.5%", {"prefix_length": 3}, 0.4, 0.8),
    "lora-0.5": ("LoRA", "lora", "0.5%", {"r": 2}, 0.6, 1.1),
}


@pytest.fixture
def about_lora(tmp_path: Path) -> Reproduction:
    (tmp_path / "here").mkdir()
    values = toy_values(tmp_path / "here")
    rows = []
    for name, (display_name, method, budget, dimensions, level, _) in ROWS.items():
        row = condition(name, "first.trec", nDCG_at_10=score(level))
        rows.append(row | {"display_name": display_name, "method": method, "budget": budget, "dimensions": dimensions})
    values["roles"] = {"subject": {"display_name": "LoRA", "methods": ["lora"]}, "full": "full"}
    write_reproduction(tmp_path / "here", values | {"conditions": rows})
    reproduction = load_reproduction("toy", tmp_path / "here")
    for plan in reproduction.plans:
        level, spread = ROWS[plan.name][-2:]
        queries = {f"q{number}": level + spread * (number % 5 - 2) / 50 for number in range(25)}
        history = [{"step": 5, "loss": 0.5}, {"step": 10, "loss": 0.4}, {"step": 10, "nDCG@10": level}]
        seed = SeedResult({"test": {"nDCG@10": queries}}, 1.0, history if plan.trains or plan.trained_weights else [])
        write_result(plan.result_file, Result("2026-11-25", "2 CPU cores", {}, False, {42: seed}))
    return reproduction


def without_package(text: str) -> str:
    """All but the name of the package, which commands begin with, and that of its error."""
    return re.sub("iaa[_-]retrieval|IaaRetrieval", "", text)


def visible(page: str) -> str:
    """What a reader of a page sees: no tags, styles, scripts, and not the name of the package in commands."""
    text = re.sub(r"<(style|script)\b.*?</\1>|<[^>]*>", " ", page, flags=re.DOTALL)
    return without_package(html.unescape(text))


def test_pages_speak_of_the_subject_of_their_yaml(about_lora: Reproduction) -> None:
    for page in page_files(about_lora).values():
        assert "iaa" not in without_package(page).lower()  # in styles and classes neither
        assert "the best parameter-efficient method other than LoRA with the same budget" in visible(page)
    (markdown, interactive) = page_files(about_lora).values()
    assert "| 5 | LoRA (`lora-0.5`) | 0.5% |" in markdown
    # Better than adapter, the best of the two baselines, and worse than training everything.
    assert re.search(r"\| 5 \| LoRA .*\| 0.6000\\\*↓† ± 0.002<br>re-run 0.6000 ", markdown)
    assert "● LoRA ● other parameter-efficient methods ● full fine-tuning" in re.sub(r"\s+", " ", visible(interactive))
    # One chart of scores and two of training: the loss, for a single dev score makes no curve.
    assert interactive.count("<svg") == 2


def test_claims_are_about_the_subject(about_lora: Reproduction) -> None:
    page = learning_efficiency_page([about_lora])
    assert "the best form of LoRA is LoRA 0.6000, the best other method Adapter 0.5000 (before Prefix 0.4000)" in page
    judged = [
        (claim.claim, [one.verdict for one in claim.judgements]) for claim in claims_of("LoRA", cases_of([about_lora]))
    ]
    assert judged[0] == (
        "At equal budget the best form of LoRA is better than the best other parameter-efficient method.",
        [Verdict.CONFIRMED],
    )
    assert judged[1] == ("The best form of LoRA reaches full fine-tuning.", [Verdict.CONTRADICTED])
    assert "LoRA 0.6000, Everything 0.7000: -0.1000, p < 0.0001" in page
    assert "Not above BM25 0.3000: none." in page
    assert "iaa" not in without_package(page).lower()
    readme = about_lora.directory / "README.md"
    readme.write_text("\n".join(marker for part in PARTS for marker in markers(part)))
    (index,) = index_file([about_lora]).values()
    assert "At equal budget the best form of LoRA is better" in index and "iaa" not in visible(index).lower()


def test_each_subject_has_a_summary_of_its_own(about_lora: Reproduction) -> None:
    path = about_lora.directory / "toy.yaml"
    adapter = path.read_text().replace(
        "display_name: LoRA\n    methods:\n    - lora", "display_name: Houlsby\n    methods:\n    - adapter"
    )
    (about_lora.directory / "other.yaml").write_text(adapter)
    shutil.copytree(about_lora.directory / "results" / "toy", about_lora.directory / "results" / "other")
    page = learning_efficiency_page([about_lora, load_reproduction("other", about_lora.directory)])
    first, second = page.partition("## Houlsby: in short")[::2]
    assert "## LoRA: in short" in first and "best form of Houlsby" not in first
    summary = second.partition("\n## ")[0]
    better = "At equal budget the best form of Houlsby is better than the best other parameter-efficient method."
    assert f"| 1 | {better} | 0 | 1 | 0 | 0 |" in summary and "LoRA" not in summary


def test_no_code_of_reproductions_is_about_a_method() -> None:
    sources = [path for path in Path(reproduction.__file__).parent.rglob("*") if path.suffix not in (".pyc", "")]
    assert {path.suffix for path in sources} == {".py", ".css", ".js", ".jinja"}
    assert [path for path in sources if "iaa" in without_package(path.read_text(encoding="utf-8")).lower()] == []


def test_without_a_subject_there_is_nothing_to_find(tmp_path: Path) -> None:
    values = toy_values(tmp_path)
    del values["roles"]
    write_reproduction(tmp_path, values)
    assert cases_of([load_reproduction("toy", tmp_path)]) == []
