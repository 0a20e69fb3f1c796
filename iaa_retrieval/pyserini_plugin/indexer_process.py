"""Running one of Anserini's indexers in a child process, and what it says of its work."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.pyserini_plugin.jvm import java_reason

LOG_NAME = "indexer.log"


def run_indexer(module: str, arguments: Sequence[str], log: Path) -> int:
    """Run a module of this package that runs an indexer; the number of documents it says are in the index.

    Args:
        module: name of the module.
        arguments: the indexer's.
        log: file for what it printed.

    Raises:
        IaaRetrievalError: it failed or was ended.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        check=False,
    )
    output = done.stdout + done.stderr
    log.write_text(output, encoding="utf-8")
    if done.returncode < 0:
        raise IaaRetrievalError(
            f"Pyserini's indexer was ended by signal {-done.returncode}, as happens when memory runs out"
        )
    total = re.search(r"Total ([\d,]+) documents indexed", done.stdout)
    if done.returncode != 0 or total is None:
        raise IaaRetrievalError(f"Pyserini's indexer failed (exit code {done.returncode}): {java_reason(output)}")
    return int(total.group(1).replace(",", ""))


def require_all_indexed(indexed: int, wanted: int, what: str, log: Path) -> None:
    """Refuse an index that lacks documents.

    Args:
        indexed: how many the indexer says are in the index.
        wanted: how many should be.
        what: whose documents these are.
        log: what the indexer printed.

    Raises:
        IaaRetrievalError: it does.
    """
    if indexed != wanted:
        reason = f": {java_reason(log.read_text(encoding='utf-8'))}" if log.is_file() else ""
        raise IaaRetrievalError(f"Lucene indexed {indexed} of the {wanted} documents of {what}{reason}")


def keep_log(log: Path, output: Path) -> str:
    """Copy an indexer's log beside the output, and say so at the end of a message."""
    kept = output.with_name(f"{output.name}.{LOG_NAME}")
    try:
        shutil.copyfile(log, kept)
    except OSError:
        return ""  # the reason was given; that the log is lost must not hide it
    return f"; its whole log is {kept}"
