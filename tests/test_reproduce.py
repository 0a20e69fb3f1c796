"""The ``reproduce`` verb, on a reproduction whose steps copy small files."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from reproduction_files import score, toy_values, write_reproduction

from iaa_retrieval.reproduce import main


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of reproductions with ``toy.yaml``, used instead of the repository's."""
    write_reproduction(tmp_path, toy_values(tmp_path))
    monkeypatch.setattr("iaa_retrieval.reproduction.conditions.reproductions_directory", lambda: tmp_path)
    return tmp_path


def reproduce(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["--collection", "toy", *map(str, arguments)])


def test_a_score_as_expected_is_a_success(toy: Path) -> None:
    result = reproduce("--condition", "plain", "--directory", toy / "runs")
    assert result.exit_code == 0, result.output
    assert [line.split() for line in result.output.splitlines()[-2:]] == [
        ["plain", "retrieval", "nDCG@10", "0.8155", "0.8155", "OK"],
        ["plain", "retrieval", "MRR@10", "0.7500", "0.7500", "OK"],
    ]


def test_the_papers_score_is_shown_and_not_compared(toy: Path) -> None:
    result = reproduce("--condition", "copied", "--directory", toy / "runs")
    assert result.exit_code == 0
    assert "not compared" in result.output


def test_a_higher_score_is_no_success(toy: Path) -> None:
    result = reproduce("--all", "--directory", toy / "runs")
    assert result.exit_code == 1
    assert "higher than expected" in result.output
    assert "OK" in result.output
    # The other stage alone is fine.
    assert reproduce("--all", "--stage", "retrieval", "--directory", toy / "runs").exit_code == 0


def test_a_lower_score_is_no_success(toy: Path) -> None:
    values = toy_values(toy)
    values["conditions"][0]["scores"]["MRR@10"] = score(0.76)
    write_reproduction(toy, values)
    result = reproduce("--condition", "plain", "--directory", toy / "runs")
    assert result.exit_code == 1
    assert "off by more than the tolerance" in result.output


def test_a_failed_command_is_one_line_that_names_the_log(toy: Path) -> None:
    values = toy_values(toy)
    values["steps"]["first.trec"] = "sh -c 'echo no disk >&2; exit 1' {output}"
    write_reproduction(toy, values)
    result = reproduce("--condition", "plain", "--directory", toy / "runs")
    assert result.exit_code == 1
    log = toy / "runs" / ".stages" / "first.trec.log"
    assert f"Error: step first.trec failed (no disk); see {log}" in result.output
    assert log.read_text() == "no disk\n"


def test_dry_run(toy: Path) -> None:
    result = reproduce("--condition", "copied", "--dry-run", "--directory", "here")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0] == "# copied (reranking)"
    assert lines[1].endswith("source.trec here/first.trec'")
    assert lines[2].endswith("cp here/first.trec here/copy.trec'")
    assert lines[3].startswith("python -m iaa_retrieval.evaluate --qrels")
    assert not (toy / "log").exists()
    # Without --directory: below runs/.
    assert "runs/toy/copy.trec" in reproduce("--all", "--dry-run").output


def test_list_conditions(toy: Path) -> None:
    result = reproduce("--list-conditions")
    assert result.exit_code == 0
    assert [line.split()[:4] for line in result.output.splitlines()] == [
        ["plain", "retrieval", "nDCG@10", "0.8155"],
        ["copied", "reranking", "nDCG@10", "0.5000"],
        ["better", "reranking", "nDCG@10", "0.9000"],
    ]


def test_pages_are_checked_against_the_yaml(toy: Path) -> None:
    result = reproduce("--check-docs")
    assert result.exit_code == 1  # there are none yet
    assert reproduce("--generate-report").exit_code == 0
    assert reproduce("--check-docs").exit_code == 0
    for name in ("toy.md", "toy.html"):
        page = toy / name
        content = page.read_text()
        page.write_text(content.replace("0.8155", "0.8255"))
        result = reproduce("--check-docs")
        assert result.exit_code == 1
        assert f"{page} differs from what its YAML generates" in result.output
        page.write_text(content)
    values = toy_values(toy)
    values["title"] = "Another title"
    write_reproduction(toy, values)
    assert reproduce("--check-docs").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "say what to run"),
        (("--all", "--condition", "plain"), "say what to run"),
        (("--condition", "other"), "has no condition other"),
        (("--condition", "plain", "--stage", "reranking"), "has no condition plain reranking"),
        (("--collection", "other", "--all"), "no reproduction of 'other'; there are: toy"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], message: str, toy: Path) -> None:
    result = reproduce(*arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_a_malformed_file(toy: Path) -> None:
    (toy / "toy.yaml").write_text("title: [")
    result = reproduce("--all")
    assert result.exit_code == 1
    assert f"Error: {toy / 'toy.yaml'} is malformed" in result.output
