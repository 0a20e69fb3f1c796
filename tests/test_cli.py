"""Help without heavy imports, one-line errors, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import click
import pytest
from click.testing import CliRunner

from iaa_retrieval.__main__ import main
from iaa_retrieval.cli import VERBS, Verb
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.progress import progress

HEAVY = "torch transformers peft pyserini faiss scipy pandas ir_datasets numpy jnius matplotlib".split()
SUBCOMMANDS = (
    *(["train", kind] for kind in ("bi-encoder", "cross-encoder", "vector-adapter")),
    *(["encode", what] for what in ("input", "queries", "query-vectors")),
    *(["analyze", section] for section in ("convergence", "rates", "cost")),
)

HELP = """
import json, runpy, sys
module, *arguments = sys.argv[1:]
sys.argv = [module, *arguments, "--help"]
code = None
try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
except SystemExit as end:
    code = end.code
print("\\n" + json.dumps([code, sorted(sys.modules)]))
"""


def ask_for_help(words: list[str]) -> tuple[str, int, set[str]]:
    done = subprocess.run([sys.executable, "-c", HELP, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *text, last = done.stdout.splitlines()
    code, modules = json.loads(last)
    return "\n".join(text), code, set(modules)


def test_the_help_of_every_verb_answers_without_heavy_imports():
    modules = [["iaa_retrieval"], *([f"iaa_retrieval.{verb}"] for verb in VERBS)]
    commands = [*modules, *([f"iaa_retrieval.{verb}", section] for verb, section in SUBCOMMANDS)]
    with ThreadPoolExecutor(2) as pool:
        for words, (text, code, loaded) in zip(commands, pool.map(ask_for_help, commands), strict=True):
            assert code == 0 and "Usage:" in text, words
            assert not loaded & set(HEAVY), (words, loaded & set(HEAVY))


def test_the_group_lists_every_verb():
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    for verb, summary in VERBS.items():
        assert verb in result.output
        assert summary.split(".")[0][:30] in result.output


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_can_be_called_through_the_group(verb: str):
    result = CliRunner().invoke(main, [verb, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage:" in result.output


def test_version_and_unknown_verb():
    assert CliRunner().invoke(main, ["--version"]).output.startswith("iaa-retrieval, version ")
    unknown = CliRunner().invoke(main, ["fly"])
    assert unknown.exit_code == 2 and "No such command 'fly'" in unknown.output


def failing(error: BaseException) -> click.Command:
    @click.command(cls=Verb)
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "line"),
    (
        (IaaRetrievalError("runs/x:3: bad"), 1, "Error: runs/x:3: bad"),
        (UsageError("unknown method"), 2, "Error: unknown method"),
        (IaaRetrievalError("first\nsecond"), 1, "Error: first second"),
        (FileNotFoundError(2, "No such file or directory", "x"), 1, "Error: [Errno 2] No such file or directory: 'x'"),
        (MemoryError(), 1, "Error: MemoryError"),
    ),
)
def test_a_failure_is_one_line_and_an_exit_code(error: BaseException, code: int, line: str):
    result = CliRunner().invoke(failing(error))
    assert result.exit_code == code
    assert result.stderr == f"{line}\n"
    assert result.stdout == ""


def test_debug_shows_the_traceback_too():
    result = CliRunner().invoke(failing(IaaRetrievalError("bad")), ["--debug"])
    assert result.exit_code == 1
    assert "Traceback (most recent call last)" in result.stderr and "raise error" in result.stderr
    assert result.stderr.endswith("Error: bad\n")


def test_a_bug_of_ours_is_not_hidden():
    result = CliRunner().invoke(failing(ZeroDivisionError("bug")))
    assert isinstance(result.exception, ZeroDivisionError)


def test_progress_is_silent_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]):
    assert list(progress(range(3), desc="counting")) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_a_verb_as_a_process_has_the_exit_codes():
    module = [sys.executable, "-m", "iaa_retrieval.encode"]
    wrong = subprocess.run([*module, "input", "--corpus", "x"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert wrong.stderr == "Error: section output and encoder is missing; see --help\n"
    traced = subprocess.run([*module, "input", "--corpus", "x", "--debug"], capture_output=True, text=True, check=False)
    assert traced.returncode == 2
    assert "Traceback" in traced.stderr
