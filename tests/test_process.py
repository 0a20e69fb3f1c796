"""prepare_process: what it sets, and what it leaves as it is."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from iaa_retrieval import process

CODE = """
import logging, os, sys, warnings
from iaa_retrieval import prepare_process
os.environ["TRANSFORMERS_VERBOSITY"] = "info"
prepare_process()
before = (dict(os.environ), list(warnings.filters), list(logging.getLogger().handlers))
prepare_process()
assert (dict(os.environ), list(warnings.filters), list(logging.getLogger().handlers)) == before
assert os.environ["TRANSFORMERS_VERBOSITY"] == "info"
assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1" and os.environ["TOKENIZERS_PARALLELISM"] == "true"
logging.getLogger("iaa_retrieval").info("told")
logging.getLogger("peft").info("not told")
logging.getLogger("peft").warning("told too")
assert not {"torch", "transformers", "click"} & set(sys.modules)
"""


def test_it_sets_what_is_not_set_and_a_second_call_changes_nothing() -> None:
    unset = ("TOKENIZERS_PARALLELISM", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_PROGRESS_BARS")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "told\ntold too\n"


@pytest.mark.parametrize("variable", [None, *process.MALLOC_VARIABLES])
def test_what_the_environment_says_of_freed_memory_stays(variable: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[dict[str, int]] = []
    monkeypatch.setattr(process, "_set_malloc", lambda **values: called.append(values))
    for name in process.MALLOC_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    if variable is not None:
        monkeypatch.setenv(variable, "65536")
    process._keep_freed_memory()
    assert bool(called) == (variable is None)
