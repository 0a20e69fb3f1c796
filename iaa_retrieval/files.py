"""Outputs that appear whole or not at all, and hashes of what is on disk."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from iaa_retrieval.errors import IaaRetrievalError


@contextmanager
def atomic_file(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file beside ``path`` and rename it to ``path`` when the block ends well.

    On an exception (including a full disk) nothing is left and an older ``path`` is untouched.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, mode, encoding=None if "b" in mode else "utf-8") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise IaaRetrievalError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """Yield an empty directory beside ``path`` that becomes ``path`` when the block ends well.

    ``path`` must be missing or empty (see :func:`require_empty`): nothing made earlier is replaced.
    """
    path = Path(path)
    require_empty(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        mode = partial.stat().st_mode & 0o666
        for file in partial.rglob("*"):
            if file.is_file():
                file.chmod(mode)  # safetensors makes files that only their owner reads
        if path.is_dir():
            path.rmdir()
        os.replace(partial, path)
    except OSError as error:
        raise IaaRetrievalError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def require_empty(directory: str | Path) -> None:
    """Refuse an output directory that already holds something."""
    directory = Path(directory)
    if directory.resolve() == Path.cwd():
        # It would be replaced by another directory under the feet of the shell that stands in it.
        raise IaaRetrievalError(f"{directory} is the current directory; name one to make inside it")
    if directory.is_file():
        raise IaaRetrievalError(f"{directory} is a file; name a directory that does not exist yet")
    if directory.is_dir() and any(directory.iterdir()):
        raise IaaRetrievalError(f"output directory {directory} is not empty; choose another or remove it first")


def begin_work(work: Path, settings: dict[str, Any], *, resume: bool) -> list[str]:
    """Open a directory for work in progress, which remembers the settings that it was begun with.

    With ``resume`` earlier work stays, whatever its settings; without, it is discarded.

    Args:
        settings: JSON values that the work depends on.

    Returns:
        The names of the settings that earlier work was begun with otherwise; it must not be continued then.
    """
    record = work / "settings.json"
    if resume and record.is_file():
        begun = read_json(record)
        return sorted(name for name in settings if settings[name] != begun.get(name))
    if work.exists():
        shutil.rmtree(work)
    work.mkdir(parents=True)
    write_json(record, settings)
    return []


def read_json(path: str | Path) -> Any:
    """Parse one JSON file; a malformed one is an error that names it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise IaaRetrievalError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise IaaRetrievalError(f"{path} is not valid JSON: {error}") from error


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as indented JSON, whole or not at all."""
    with atomic_file(path) as stream:
        json.dump(value, stream, indent=2, ensure_ascii=False)
        stream.write("\n")


def sha256_of(path: str | Path) -> str:
    """Hex SHA-256 of a file's bytes, read in constant memory."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
