"""The page of the paper's claims, and its figures, which are drawn anew only when their data changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from reproduction_files import toy_values, write_reproduction
from test_claims_on_curves import FAST, SLOW
from toy_results import keep, toy_with_rows

from iaa_retrieval.reproduce import main
from iaa_retrieval.reproduction import loading
from iaa_retrieval.reproduction.claims.cases import cases_of
from iaa_retrieval.reproduction.loading import load_reproduction, reproduction_names
from iaa_retrieval.reproduction.pages.claim_figures import claim_figures
from iaa_retrieval.reproduction.pages.files import learning_efficiency_files
from iaa_retrieval.reproduction.pages.index import PARTS, index_page, markers
from iaa_retrieval.reproduction.pages.learning_efficiency import learning_efficiency_page
from iaa_retrieval.reproduction.plan import Reproduction
from iaa_retrieval.reproduction.tried_rates import TriedRates, write_tried_rates


@pytest.fixture
def toy(tmp_path: Path) -> Reproduction:
    toy = toy_with_rows(tmp_path)
    keep(toy, "iaa-l-0.5", 0.70, losses=[FAST])
    keep(toy, "lora-0.5", 0.62, -1.5, losses=[SLOW])
    return toy


def test_the_page(toy: Reproduction) -> None:
    page = learning_efficiency_page([toy])
    first = "At equal budget the best form of IAA is better than the best other parameter-efficient method."
    assert f"| 1 | {first} | 1 | 0 | 0 | 0 |" in page  # confirmed, contradicted, not decided, not measured
    assert "| 2 | The best form of IAA reaches full fine-tuning. | 0 | 0 | 0 | 1 |" in page
    section = page.partition(f"## 1. {first}\n")[2].partition("\n## ")[0]
    assert "Confirmed where the difference of the means is above 0 with Holm's p <= 0.05" in section
    assert (
        "| Toy & co, dense retrieval | 0.5% | Tiny | **confirmed** | IAA-L-0.5 0.7050, LORA-0.5 0.6125: +0.0" in section
    )
    section = page.partition("## 2. ")[2].partition("\n## ")[0]
    assert "- Toy & co, dense retrieval, 0.5%: Not yet run: FULL." in section and "| Toy" not in section
    assert "Not measured: no table has such rows." in page.partition("## 3. ")[2].partition("\n## ")[0]
    assert "- **Toy & co, dense retrieval, 0.5%.** By nDCG@10 over 6 queries" in page
    assert "](figures/toy-retrieval-convergence.svg)" in page


def test_figures_of_rates_and_what_analyze_drew(toy: Reproduction) -> None:
    (plan,) = toy.select("lora-0.5")
    write_tried_rates(plan, TriedRates("d", "h", "nDCG@10", {"1e-3": 0.5, "3e-3": 0.51, "1e-2": None}))
    assert "toy-retrieval-rates" not in learning_efficiency_page([toy])  # too few
    scores = {"1e-4": 0.3, "3e-4": 0.4, "1e-3": 0.5, "3e-3": 0.51, "1e-2": None}
    write_tried_rates(plan, TriedRates("d", "h", "nDCG@10", scores))
    _, rates = claim_figures(cases_of([toy]))
    assert rates.name == "toy-retrieval-rates" and "LORA-0.5,lora,0.001,0.5" in rates.data
    rates.draw()
    assert rates.is_drawn
    (case,) = cases_of([toy])
    case.analyses.mkdir(parents=True)
    (case.analyses / "loss-surface.svg").write_text("<svg/>")
    page = learning_efficiency_page([toy])
    assert "](figures/toy-retrieval-rates.svg)" in page
    assert "](analysis/toy/retrieval/loss-surface.svg)" in page and "update-direction.svg" not in page


def test_the_index_has_the_counts_and_the_link(toy: Reproduction) -> None:
    page = index_page("\n".join(marker for part in PARTS for marker in markers(part)), [toy])
    assert "| 2 | The best form of IAA reaches full fine-tuning. | 0 | 0 | 0 | 1 |" in page
    assert "[learning-efficiency.md](learning-efficiency.md)" in page and "IAA-L-0.5" not in page


def test_nothing_is_measured(tmp_path: Path) -> None:
    page = learning_efficiency_page([toy_with_rows(tmp_path)])
    assert page.endswith("Nothing is measured yet.\n") and "|" not in page


def test_only_what_is_about_something_has_claims(toy: Reproduction) -> None:
    values = toy_values(toy.directory) | {"roles": {"full": "full"}}
    write_reproduction(toy.directory, values, "another")
    assert [case.reproduction.name for case in cases_of([load_reproduction("another", toy.directory), toy])] == ["toy"]


def test_a_figure_is_drawn_when_its_data_changed(toy: Reproduction) -> None:
    (figure,) = claim_figures(cases_of([toy]))
    assert not figure.is_drawn
    figure.draw()
    drawn = figure.drawing_file.read_bytes()
    assert figure.is_drawn and drawn.startswith(b"<?xml")
    figure.draw()
    assert figure.drawing_file.read_bytes() == drawn
    assert figure.data.startswith("label,method,seed,quantity,step,value\n")
    assert f"LORA-0.5,lora,42,loss,20,{SLOW[1]}\n" in figure.data
    keep(toy, "lora-0.5", 0.62, -1.5, losses=[FAST])
    (changed,) = claim_figures(cases_of([toy]))
    assert not changed.is_drawn


def test_the_page_and_its_figures_are_checked(toy: Reproduction, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = toy.directory
    monkeypatch.setattr(loading, "reproductions_directory", lambda: directory)
    (directory / "README.md").write_text("\n".join(marker for part in PARTS for marker in markers(part)))

    def reproduce(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["--collection", "all", *arguments])
        return result.exit_code, result.output

    assert reproduce("--check-docs")[0] == 1
    code, output = reproduce("--generate-report")
    assert code == 0 and "toy-retrieval-convergence.svg" in output
    assert reproduce("--check-docs") == (0, "")
    assert "toy-retrieval-convergence.svg" not in reproduce("--generate-report")[1]  # it is as it should be
    for name in ("learning-efficiency.md", "figures/toy-retrieval-convergence.csv"):
        path = directory / name
        content = path.read_text()
        path.write_text(content.replace("LORA", "LORE"))
        code, output = reproduce("--check-docs")
        assert code == 1 and f"{path} differs" in output
        path.write_text(content)
    (directory / "figures" / "toy-retrieval-convergence.svg").unlink()
    code, output = reproduce("--check-docs")
    assert code == 1 and "toy-retrieval-convergence.svg differs" in output


def test_the_committed_page_is_what_would_be_generated() -> None:
    pages, figures = learning_efficiency_files([load_reproduction(name) for name in reproduction_names()])
    for page, content in pages.items():
        assert page.read_text(encoding="utf-8") == content, f"{page}: run reproduce --collection all --generate-report"
    assert figures and all(figure.is_drawn for figure in figures)
