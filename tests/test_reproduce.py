"""The ``reproduce`` verb, on a reproduction whose steps copy small files."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from reproduction_files import RUN, commit_checkpoint, condition, score, toy_values, tuned_values, write_reproduction

from iaa_retrieval.reproduce import main
from iaa_retrieval.reproduction.pages.index import PARTS, markers


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of reproductions with ``toy.yaml``, used instead of the repository's."""
    write_reproduction(tmp_path, toy_values(tmp_path))
    monkeypatch.setattr("iaa_retrieval.reproduction.loading.reproductions_directory", lambda: tmp_path)
    return tmp_path


def reproduce(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["--collection", "toy", *map(str, arguments)])


def test_a_score_as_expected_is_a_success(toy: Path) -> None:
    result = reproduce("--condition", "plain", "--directory", toy / "runs")
    assert result.exit_code == 0, result.output
    assert [line.split() for line in result.output.splitlines()[-2:]] == [
        ["plain", "retrieval", "test", "nDCG@10", "0.8155", "0.8155", "OK"],
        ["plain", "retrieval", "test", "MRR@10", "0.7500", "0.7500", "OK"],
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
    values["conditions"][0]["scores"]["test"]["MRR@10"] = score(0.76)
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
    assert f"Error: toy plain (retrieval): step first.trec failed (no disk); see {log}" in result.output
    assert log.read_text() == "no disk\n"
    assert "0.0000" not in result.output  # a failure is never a score


def test_a_failed_condition_does_not_keep_the_others_from_running(toy: Path) -> None:
    values = toy_values(toy)
    values["steps"]["copy.trec"] = "sh -c 'exit 1' {output}"
    values["conditions"][2]["scores"]["test"]["nDCG@10"] = score(1.0)
    write_reproduction(toy, values)
    result = reproduce("--all", "--directory", toy / "runs")
    assert result.exit_code == 1
    assert "Error: toy copied (reranking): step copy.trec failed (no output)" in result.output
    outcomes = [line.split()[0] for line in result.output.splitlines() if line.endswith("  OK")]
    assert outcomes == ["plain", "plain", "better"]


def test_a_condition_not_yet_run_is_measured_and_not_compared(toy: Path) -> None:
    values = toy_values(toy)
    values["conditions"] = [condition("later", "first.trec")]
    write_reproduction(toy, values)
    result = reproduce("--condition", "later", "--directory", toy / "runs")
    assert result.exit_code == 0
    last = result.output.splitlines()[-1]
    assert last.split()[:6] == ["later", "retrieval", "test", "MRR@10", "-", "0.7500"]
    assert last.endswith("not compared: there is no expected score yet")
    assert reproduce("--list-conditions").output.split() == ["later", "retrieval", "not", "yet", "run"]


def test_measured_conditions_only(toy: Path) -> None:
    result = reproduce("--measured", "--directory", toy / "runs")
    names = [line.split()[0] for line in result.output.splitlines()[1:]]
    assert names == ["plain", "plain", "better"]


def test_from_checkpoint(toy: Path) -> None:
    write_reproduction(toy, tuned_values(toy))
    arguments = ("--condition", "iaa-l-0.5", "--from-checkpoint", "--directory", toy / "runs")
    result = reproduce(*arguments)
    assert result.exit_code == 1
    assert "no checkpoint of iaa-l-0.5 (retrieval) is committed" in result.output
    # Among many, what has no checkpoint is left out and said.
    result = reproduce("--measured", "--from-checkpoint", "--directory", toy / "runs")
    assert result.exit_code == 0
    assert "toy iaa-l-0.5 (retrieval): left out, no checkpoint of it is committed" in result.output
    commit_checkpoint(toy)
    result = reproduce(*arguments)
    assert result.exit_code == 0, result.output
    assert result.output.count("  OK") == 2
    shown = reproduce(*arguments, "--dry-run").output
    assert "iaa_retrieval.train" not in shown
    assert f"cp {toy.name}/checkpoints/toy/retrieval/iaa-l-0.5/run.trec" in shown


def test_what_is_measured_is_kept_for_the_pages(toy: Path) -> None:
    result = reproduce("--condition", "plain", "--record", "--directory", toy / "runs")
    assert result.exit_code == 0, result.output
    assert (toy / "results" / "toy" / "retrieval" / "plain.json").is_file()
    assert "entered" not in result.output  # what is expected is not changed by running it
    assert reproduce("--generate-report").exit_code == 0
    assert "0.8155 ± 0.002<br>re-run 0.8155" in (toy / "toy.md").read_text()


def test_several_collections(toy: Path) -> None:
    values = toy_values(toy)
    values["stages"].pop("reranking")
    values["conditions"] = [condition("bad", "first.trec", nDCG_at_10=score(0.1))]
    write_reproduction(toy, values, "another")
    runner = CliRunner()
    with runner.isolated_filesystem():
        result = runner.invoke(main, ["--collection", "all", "--all", "--stage", "retrieval"])
        assert result.exit_code == 1  # one bad condition is enough
        assert result.output.count("  OK") == 2
        assert Path("runs/another/first.trec").read_text() == RUN
        assert runner.invoke(main, ["--collection", "all", "--all", "--stage", "reranking"]).output.count("\n") == 3
    listed = runner.invoke(main, ["--collection", "all", "--list-conditions"]).output
    assert [line for line in listed.splitlines() if line.startswith("#")] == ["# another", "# toy"]


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
    assert [line.split()[:6] for line in result.output.splitlines()] == [
        ["plain", "retrieval", "test", "nDCG@10", "0.8155", "(measured)"],
        ["copied", "reranking", "test", "nDCG@10", "0.5000", "(paper)"],
        ["better", "reranking", "test", "nDCG@10", "0.9000", "(measured)"],
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


def test_the_index_is_checked_with_all_collections(toy: Path) -> None:
    (toy / "README.md").write_text("\n".join(marker for part in PARTS for marker in markers(part)))
    assert reproduce("--collection", "all", "--check-docs").exit_code == 1
    assert reproduce("--collection", "all", "--generate-report").exit_code == 0
    assert "| [toy](toy.md)" in (toy / "README.md").read_text()
    assert reproduce("--collection", "all", "--check-docs").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "say what to run"),
        (("--all", "--condition", "plain"), "say what to run"),
        (("--all", "--measured"), "say what to run"),
        (("--collection", "all", "--condition", "plain"), "name it with --collection"),
        (("--collection", "all", "--all", "--directory", "here"), "name it with --collection"),
        (("--all", "--from-checkpoint", "--store-checkpoint"), "keep what a run from nothing gives"),
        (("--all", "--from-checkpoint", "--record"), "keep what a run from nothing gives"),
        (("--all", "--record", "--add-seeds", "43"), "--add-seeds measures one row further"),
        (("--condition", "plain", "--record", "--add-seeds", "43,x"), "--add-seeds takes different whole numbers"),
        (("--all", "--search-rates", "--record"), "--search-rates only tries learning rates"),
        (("--condition", "other"), "has no condition other"),
        (("--condition", "plain", "--stage", "reranking"), "has no condition plain reranking"),
        (("--collection", "other", "--all"), "no reproduction of 'other'; there are: toy"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], message: str, toy: Path) -> None:
    result = reproduce(*arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_a_stage_without_rates_to_try(toy: Path) -> None:
    write_reproduction(toy, tuned_values(toy))
    result = reproduce("--all", "--search-rates", "--directory", toy / "runs")
    assert result.exit_code == 1
    assert "Error: toy iaa-l-0.5 (retrieval): toy tries no learning rates for iaa-l-0.5 (retrieval)" in result.output


def test_a_malformed_file(toy: Path) -> None:
    (toy / "toy.yaml").write_text("title: [")
    result = reproduce("--all")
    assert result.exit_code == 1
    assert f"Error: {toy / 'toy.yaml'} is malformed" in result.output
