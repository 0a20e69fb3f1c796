"""Work that takes hours is held by one process, continued or refused, and discarded only when that is said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.work_in_progress import locked, work_in_progress


def keep(work: Path, **settings: object) -> Path:
    """Work with something in it, as a killed process leaves it."""
    with work_in_progress(work, settings):
        (work / "half").write_text("precious")
    return work


def test_work_is_continued_with_the_same_settings_only(tmp_path: Path) -> None:
    work = keep(tmp_path / ".out.training", lr=0.1, seed=1)
    with work_in_progress(work, {"lr": 0.1, "seed": 1}, resume=True):
        assert (work / "half").read_text() == "precious"
    for settings in ({"lr": 0.2, "seed": 1}, {"seed": 1}, {"lr": 0.1, "seed": 1, "new": 2}):
        with (
            pytest.raises(UsageError, match=r"was begun with another (lr|new); "),
            work_in_progress(work, settings, resume=True),
        ):
            pytest.fail("the block must not run")
    assert (work / "half").read_text() == "precious"


def test_work_is_not_discarded_unasked(tmp_path: Path) -> None:
    work = keep(tmp_path / ".out.training", lr=0.1)
    with (
        pytest.raises(UsageError, match="--resume continues it, --overwrite discards it"),
        work_in_progress(work, {"lr": 0.1}),
    ):
        pytest.fail("the block must not run")
    with (
        pytest.raises(UsageError, match="give one of them"),
        work_in_progress(work, {"lr": 0.1}, resume=True, overwrite=True),
    ):
        pytest.fail("the block must not run")
    assert (work / "half").exists()
    with work_in_progress(work, {"lr": 0.3}, overwrite=True):
        assert not (work / "half").exists()


def test_what_ended_before_it_kept_anything_is_no_obstacle(tmp_path: Path) -> None:
    with work_in_progress(tmp_path / "work", {"lr": 0.1}):
        pass
    with work_in_progress(tmp_path / "work", {"lr": 0.2}):
        pass
    (tmp_path / "empty").mkdir()
    with work_in_progress(tmp_path / "empty", {"lr": 0.2}):
        pass


def test_what_was_half_discarded_is_not_continued(tmp_path: Path) -> None:
    work = keep(tmp_path / ".out.training", lr=0.1)
    (work / "settings.json").unlink()
    with (
        pytest.raises(UsageError, match=r"lacks settings.json .*--overwrite instead of --resume"),
        work_in_progress(work, {"lr": 0.1}, resume=True),
    ):
        pytest.fail("the block must not run")


HOLD = """
import sys
from pathlib import Path
from iaa_retrieval.work_in_progress import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_names_the_process_and_ends_with_it(tmp_path: Path) -> None:
    path = tmp_path / "index"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(IaaRetrievalError, match=f"{path} is in use by process {holder.pid} on "), locked(path):
            pytest.fail("the block must not run")
    finally:
        holder.kill()
        holder.communicate()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".index.lock"]  # it could not clean up
    with locked(path), pytest.raises(IaaRetrievalError, match=f"process {os.getpid()}"), locked(path):
        pytest.fail("the block must not run")
    assert list(tmp_path.iterdir()) == []
