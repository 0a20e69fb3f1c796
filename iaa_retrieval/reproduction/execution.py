"""Running one command of a reproduction as a process of its own, with its output in a log file."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from iaa_retrieval.errors import IaaRetrievalError


def run_command(name: str, command: str, log: Path) -> None:
    """Run the command of the step ``name``; interrupted work of the same step goes on.

    Raises:
        IaaRetrievalError: it cannot be started or failed; the message names the log file.
    """
    words = [expand_environment(word) for word in shlex.split(command)]
    if words[0] == "python":
        words[0] = sys.executable
    words = resuming(words)
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w", encoding="utf-8") as stream:
        try:
            finished = subprocess.run(words, stdout=stream, stderr=subprocess.STDOUT, env=os.environ, check=False)
        except OSError as error:
            raise IaaRetrievalError(f"step {name}: cannot run {words[0]} ({error.strerror})") from error
    if finished.returncode != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise IaaRetrievalError(f"step {name} failed ({lines[-1] if lines else 'no output'}); see {log}")


def resuming(words: list[str]) -> list[str]:
    """A command that continues interrupted work, which is there only when it is of this very step."""
    if "iaa_retrieval.train" in words:
        return [*words, "--resume"]
    if "iaa_retrieval.encode" in words and "output" in words:
        section = words.index("output") + 1
        return [*words[:section], "--resume", *words[section:]]
    return words


def expand_environment(word: str) -> str:
    """Put environment variables in, as the shell does where a page's commands are pasted.

    Raises:
        IaaRetrievalError: one is not set.
    """
    expanded = os.path.expandvars(word)
    unset = re.search(r"\$(\w+)", expanded)
    if unset:
        raise IaaRetrievalError(f"the environment variable {unset[1]} is not set; the reproduction's page says to what")
    return expanded
