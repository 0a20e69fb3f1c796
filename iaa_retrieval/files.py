"""Outputs that appear whole or not at all, and hashes of what is on disk."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from iaa_retrieval.errors import IaaRetrievalError

# Every directory of ours that took long to make holds this file, and no other's does.
OURS = "retriever.json"


@contextmanager
def atomic_file(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file beside ``path`` and rename it to ``path`` when the block ends well.

    On an exception (including a full disk) nothing is left and an older ``path`` is untouched. A link is followed: what
    it points to is written. A device, a pipe or ``/dev/stdout`` gets the whole content when the block ends well.
    """
    path = Path(path)
    try:
        with ExitStack() as stack:
            if is_stream(path):
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="output-")))
                partial = folder / path.name
            else:
                target = followed(path)
                if target.is_dir():  # it could not be replaced when the work is done
                    raise IaaRetrievalError(f"cannot write {path}: it is a directory; name a file")
                target.parent.mkdir(parents=True, exist_ok=True)
                partial = _partial(target)
                stack.callback(partial.unlink, missing_ok=True)
            with open(partial, mode, encoding=None if "b" in mode else "utf-8") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            if is_stream(path):
                _copy_to_stream(partial, path)
            else:
                os.replace(partial, target)
    except OSError as error:
        raise IaaRetrievalError(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def atomic_directory(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty directory beside ``path`` that becomes ``path`` when the block ends well.

    ``path`` must be missing or empty, or with ``overwrite`` one of ours (see ``require_empty``), which is replaced
    when the block has ended well. A link is followed.
    """
    path = followed(Path(path))
    require_empty(path, overwrite=overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        mode = partial.stat().st_mode & 0o666
        for file in partial.rglob("*"):
            if file.is_file():
                file.chmod(mode)  # safetensors makes files that only their owner reads
        _put_in_place(partial, path)
    except OSError as error:
        raise IaaRetrievalError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def require_empty(directory: str | Path, *, overwrite: bool = False) -> None:
    """Refuse an output directory that already holds something; with ``overwrite``, only what we did not make."""
    directory = Path(directory)
    if directory.resolve() == Path.cwd():
        # It would be replaced by another directory under the feet of the shell that stands in it.
        raise IaaRetrievalError(f"{directory} is the current directory; name one to make inside it")
    if directory.exists() and not directory.is_dir():
        raise IaaRetrievalError(f"{directory} is a file; name a directory that does not exist yet")
    above = next(parent for parent in directory.absolute().parents if parent.exists())
    if not above.is_dir():
        raise IaaRetrievalError(f"{directory} would lie below {above}, which is a file; name another directory")
    if not directory.is_dir() or not any(directory.iterdir()):
        return
    if not overwrite:
        raise IaaRetrievalError(f"output directory {directory} is not empty; choose another or remove it first")
    if not (directory / OURS).is_file():
        raise IaaRetrievalError(f"{directory} holds no {OURS}, so that it is not replaced; choose another directory")


def is_stream(path: str | Path) -> bool:
    """Whether a path is a device, a pipe or a socket, such as ``/dev/stdout``, whatever that is redirected to."""
    path = Path(path)
    if _descriptor(path) is not None:
        return True
    return path.exists() and not path.is_file() and not path.is_dir()


def is_standard_output(path: str | Path) -> bool:
    """Whether a path is ``/dev/stdout`` or another name of it."""
    return _descriptor(Path(path)) == 1


def followed(path: Path) -> Path:
    """What a link points to, at its end; any other path as it is."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def _descriptor(path: Path) -> int | None:
    """The number of the open file that ``/dev/stdout``, ``/dev/fd/3`` or ``/proc/self/fd/3`` stands for."""
    standard = {"/dev/stdout": 1, "/dev/stderr": 2}
    if str(path) in standard:
        return standard[str(path)]
    number = path.name if str(path.parent) in ("/dev/fd", "/proc/self/fd") else ""
    return int(number) if number.isdigit() else None


def _copy_to_stream(source: Path, path: Path) -> None:
    descriptor = _descriptor(path)
    sys.stdout.flush()  # what was printed before comes before
    # A descriptor is written on, for opening it anew would cut a file that the shell redirects to.
    with (
        open(source, "rb") as content,
        open(path if descriptor is None else os.dup(descriptor), "wb") as stream,
    ):
        shutil.copyfileobj(content, stream)


def _put_in_place(made: Path, path: Path) -> None:
    """Rename a finished directory; what it replaces is removed only after that."""
    older = path.with_name(f".{path.name}.{os.getpid()}.replaced")
    if path.is_dir() and any(path.iterdir()):
        os.replace(path, older)
    elif path.is_dir():
        path.rmdir()
    os.replace(made, path)
    shutil.rmtree(older, ignore_errors=True)


def read_json(path: str | Path) -> Any:
    """Parse one JSON file; a malformed one is an error that names it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise IaaRetrievalError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise IaaRetrievalError(f"{path} is not valid JSON: {error}") from error


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as indented JSON, whole or not at all; numbers that JSON does not have are written as null."""
    with atomic_file(path) as stream:
        json.dump(_without_infinities(value), stream, indent=2, ensure_ascii=False, allow_nan=False)
        stream.write("\n")


def _without_infinities(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _without_infinities(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_infinities(item) for item in value]
    return value


def files_below(directory: Path, but: Callable[[Path], bool] = lambda path: False) -> Iterator[Path]:
    """Every file of a folder and of its sub-folders, in the order of their names; links are followed.

    Args:
        but: whether a file, or a sub-folder with all that is in it, is left out.
    """
    for path in sorted(directory.iterdir()):
        if but(path):
            continue
        if path.is_dir():
            yield from files_below(path, but)
        elif path.is_file():
            yield path


def sha256_of(path: str | Path) -> str:
    """Hex SHA-256 of a file's bytes, read in constant memory."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
