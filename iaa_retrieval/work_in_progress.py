"""Work that takes hours: one process at a time, continued after an interruption, never discarded unasked."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.files import read_json, write_json

LOG = logging.getLogger("iaa_retrieval")

SETTINGS = "settings.json"


@contextmanager
def work_in_progress(
    work: Path, settings: dict[str, Any], *, resume: bool = False, overwrite: bool = False
) -> Iterator[None]:
    """Hold a directory for work in progress, which remembers the settings that it was begun with.

    The directory is left as it is at the end; remove it when the work is done.

    Args:
        settings: JSON values that the work depends on.
        resume: earlier work with the same settings stays, to be continued.
        overwrite: earlier work is discarded.

    Raises:
        UsageError: there is earlier work and neither was said, or both; or ``resume`` is asked for and it was begun
            with other settings, which the message names.
        IaaRetrievalError: another process holds the directory.
    """
    with locked(work):
        _require_choice(work, resume=resume, overwrite=overwrite)
        if overwrite and work.is_dir():
            shutil.rmtree(work)
        _begin_or_continue(work, settings)
        yield


def require_free(work: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse early what ``work_in_progress`` would refuse later, after a model is loaded and data are read.

    Raises:
        UsageError: there is earlier work and neither was said, or both.
        IaaRetrievalError: another process holds the directory.
    """
    with locked(work):
        _require_choice(work, resume=resume, overwrite=overwrite)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Be the only process that works on ``path``, by a lock file beside it that names its holder.

    The lock ends with its process, however that ends. Where the system has no such locks, nothing is held.

    Raises:
        IaaRetrievalError: another process holds it; the message names it.
    """
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        yield
        return
    file = path.with_name(f".{path.name.removeprefix('.')}.lock")
    file.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with open(file, "a+", encoding="utf-8") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                stream.seek(0)
                holder = stream.read().strip() or "another process"
                raise IaaRetrievalError(
                    f"{path} is in use by {holder}; wait for it to end, or choose another output"
                ) from error
            if not _is_still(stream.fileno(), file):
                continue  # its last holder removed it between our opening and our locking it
            stream.truncate(0)
            stream.write(_holder())
            stream.flush()
            try:
                yield
            finally:
                file.unlink(missing_ok=True)
            return


def _is_still(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False


def _holder() -> str:
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:3]])
    return f"process {os.getpid()} on {platform.node() or 'this machine'} ({command})"


def _require_choice(work: Path, *, resume: bool, overwrite: bool) -> None:
    if resume and overwrite:
        raise UsageError("--resume keeps interrupted work and --overwrite discards it; give one of them")
    if _has_work(work) and not resume and not overwrite:
        raise UsageError(f"{work} holds interrupted work; --resume continues it, --overwrite discards it")


def _has_work(work: Path) -> bool:
    # A run that ended before it kept anything leaves nothing to continue.
    return work.is_dir() and any(entry.name != SETTINGS for entry in work.iterdir())


def _begin_or_continue(work: Path, settings: dict[str, Any]) -> None:
    record = work / SETTINGS
    if _has_work(work):
        if not record.is_file():  # it was being discarded
            raise UsageError(
                f"{work} lacks {SETTINGS} and cannot be continued; --overwrite instead of --resume starts anew"
            )
        begun = read_json(record)
        differing = sorted(name for name in {*settings, *begun} if settings.get(name) != begun.get(name))
        if differing:
            raise UsageError(
                f"the interrupted work in {work} was begun with another {', '.join(differing)}; use the same to "
                "continue it, or --overwrite instead of --resume to start anew"
            )
        LOG.info("continuing the interrupted work in %s", work)
        return
    work.mkdir(parents=True, exist_ok=True)
    write_json(record, settings)
