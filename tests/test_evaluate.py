import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from iaa_retrieval.evaluate import main

QRELS = "q1 0 a 2\nq2 0 a 1\nq3 0 a 1\n"
FIRST = "q1 Q0 a 1 2 t\nq1 Q0 b 2 1 t\nq2 Q0 b 1 2 t\nq2 Q0 a 2 1 t\nq9 Q0 a 1 1 t\n"
SECOND = "q1 Q0 a 1 1 t\nq2 Q0 a 1 1 t\nq3 Q0 a 1 1 t\n"


@pytest.fixture
def evaluate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name, text in (("qrels", QRELS), ("first", FIRST), ("second", SECOND), ("bad", "q1 Q0 a 1 2\n")):
        Path(name).write_text(text)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["--qrels", "qrels", *arguments])

    return run


def test_table_and_note(evaluate) -> None:
    result = evaluate("--run", "first", "--run", "second", "--metrics", "MRR@10 R@1")
    assert result.exit_code == 0
    assert result.stdout == ("run     MRR@10     R@1\nfirst   0.5000  0.3333\nsecond  1.0000  1.0000\n")
    assert result.stderr == (
        "first: queries left out because nobody judged them: 1; judged queries that it lacks, which count as 0: 1\n"
    )


def test_relevance_level(evaluate) -> None:
    assert "second  0.3333" in evaluate("--run", "second", "--metrics", "MRR", "-l", "2").stdout


def test_per_query(evaluate) -> None:
    lines = evaluate("--run", "first", "--metrics", "MRR", "--per-query").stdout.splitlines()
    assert lines[:4] == [
        "run    query     MRR", "first     q1  1.0000", "first     q2  0.5000", "first     q3  0.0000",
    ]  # fmt: skip


def test_significance_and_json(evaluate) -> None:
    result = evaluate(
        "--run",
        "first",
        "--run",
        "second",
        "--run",
        "first",
        "--metrics",
        "MRR",
        "--significance",
        "--per-query",
        "--json",
        "out.json",
    )
    assert result.exit_code == 0
    # Differences 0, 0.5, 1: t = 0.5 / (0.5 / sqrt(3)) = sqrt(3), p = 1 - sqrt(3 / 5); Holm doubles it.
    assert "second            MRR     +0.5000  1.7321  0.2254    0.4508" in result.stdout
    assert "first             MRR     +0.0000  0.0000  1.0000    1.0000" in result.stdout
    written = json.loads(Path("out.json").read_text())
    assert written["runs"][0] == {
        "run": "first", "queries": 3, "unjudged_queries": 1, "missing_queries": 1, "scores": {"MRR": 0.5},
        "per_query": {"MRR": {"q1": 1.0, "q2": 0.5, "q3": 0.0}},
    }  # fmt: skip
    assert written["significance"][0]["p_value_holm"] == pytest.approx(2 * (1 - (3 / 5) ** 0.5))


def test_json_on_standard_output_stays_json(evaluate) -> None:
    if not Path("/dev/stdout").exists():
        pytest.skip("no /dev/stdout on this system")
    command = [sys.executable, "-m", "iaa_retrieval.evaluate", "--qrels", "qrels", "--run", "first", "--per-query"]
    done = subprocess.run([*command, "--json", "/dev/stdout"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["runs"][0]["run"] == "first"
    assert "nDCG@10" in done.stderr


def test_what_json_cannot_hold_is_null(evaluate) -> None:
    """Two runs that differ by the same on every query have an infinite t."""
    Path("third").write_text("q1 Q0 d1 1 1 x\nq2 Q0 d1 1 1 x\nq3 Q0 d1 1 1 x\n")
    Path("fourth").write_text("q1 Q0 d9 1 1 x\nq2 Q0 d9 1 1 x\nq3 Q0 d9 1 1 x\n")
    Path("same.qrels").write_text("q1 0 d1 1\nq2 0 d1 1\nq3 0 d1 1\n")
    words = ["--run", "third", "--run", "fourth", "--metrics", "MRR", "--significance", "--json", "out.json"]
    assert evaluate(*words, "--qrels", "same.qrels").exit_code == 0
    written = json.loads(Path("out.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert written["significance"][0]["statistic"] is None and written["significance"][0]["p_value"] == 0.0


@pytest.mark.parametrize(("arguments", "code", "message"), [
    (["--run", "bad"], 1, "bad:1: expected 6 columns"),
    (["--run", "gone"], 2, "'gone' does not exist"),
    (["--run", "first", "--metrics", "bleu"], 2, "unknown metric 'bleu'; known:"),
    (["--run", "first", "--significance"], 2, "name at least two with --run"),
    (["--run", "first", "--qrels", "embedded:test"], 1, "first: the run and the judgments have no query"),
    (["--run", "first", "--qrels", "embedded"], 2, "choose a split of embedded"),
])  # fmt: skip
def test_errors_are_one_line_with_the_right_code(evaluate, arguments, code: int, message: str) -> None:
    result = evaluate(*arguments)
    assert result.exit_code == code
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert message in line
    assert result.stdout == ""


def test_published_bm25_run(data_dir: Path, evaluate) -> None:
    mini = data_dir / "msmarco-mini"
    run = str(mini / "runs" / "dl19.bm25-top100.trec")
    for qrels in (f"{mini}:dl19", str(mini / "qrels" / "dl19.tsv")):
        assert "0.5058" in evaluate("--qrels", qrels, "--run", run, "--metrics", "nDCG@10").stdout
