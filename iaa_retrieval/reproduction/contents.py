"""What the inputs of a stage hold: hashes of files, directories, collections and backbones that a command names."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

from iaa_retrieval.files import read_json, sha256_of, write_json

ABSENT = "absent"
# What ir_datasets makes of its sources when they are first used.
_DERIVED_SUFFIXES = {".pklz4", ".lz4", ".qrels", ".tmp"}
_DERIVED_NAMES = {"irds_version.txt", "queries.json"}


class Digests:
    """SHA-256 of files and directories; a file is read again only when its size or times changed.

    Args:
        record: a JSON file that keeps what was found for the next process.
    """

    def __init__(self, record: Path) -> None:
        self._record = record
        self._known: dict[str, list[object]] = read_json(record) if record.is_file() else {}

    def of(self, path: Path, *, without_derived: bool = False) -> str:
        """Hash of a file's bytes, or of the names and hashes of all files below a directory; hex.

        Args:
            without_derived: leave out what ir_datasets makes of its sources.
        """
        if path.is_dir():
            digest = hashlib.sha256()
            for file in _files_below(path, without_derived=without_derived):
                digest.update(f"{file.relative_to(path).as_posix()} {self._of_file(file)}\n".encode())
            return digest.hexdigest()
        return self._of_file(path) if path.is_file() else ABSENT

    def save(self) -> None:
        """Keep what is known now."""
        write_json(self._record, self._known)

    def _of_file(self, file: Path) -> str:
        found = file.stat()
        state: list[object] = [found.st_size, found.st_mtime_ns, found.st_ctime_ns]
        name = str(file.resolve())
        known = self._known.get(name)
        if known is None or known[:-1] != state:
            known = self._known[name] = [*state, sha256_of(file)]
        return str(known[-1])


def contents_of(words: Iterable[str], digests: Digests) -> dict[str, str]:
    """Name -> hash, of every word that names a file, a directory, a collection or a backbone outside the run itself."""
    return {word: found for word in words if (found := _content_of(word, digests)) is not None}


def named_in(command: str) -> list[str]:
    """The words of a command line that may name something: values of options, and paths."""
    words = shlex.split(command)
    values = [word for option, word in pairwise(words) if option.startswith("-") or os.sep in word]
    values += [word.partition("=")[2] for word in words if word.startswith("--") and "=" in word]
    # Outputs of other steps are in braces; they are known by which making of theirs it was.
    return sorted({word for word in values if word and "{" not in word and not word.startswith("-")})


def _content_of(word: str, digests: Digests) -> str | None:
    from iaa_retrieval.collections.loading import split_spec

    name = os.path.expandvars(word)
    source = Path(split_spec(name)[0]).expanduser()
    if source.exists():
        return digests.of(source)
    return _content_of_backbone(name, digests) or _content_of_catalogue(str(source), digests)


def _content_of_backbone(name: str, digests: Digests) -> str | None:
    from iaa_retrieval.models.backbone import MINILM, MINILM_HUB_ID, resolve_backbone

    return digests.of(Path(resolve_backbone(name))) if name in (MINILM, MINILM_HUB_ID) else None


def _content_of_catalogue(name: str, digests: Digests) -> str | None:
    """The downloads of an ir_datasets id, as far as they are here."""
    if os.sep not in name:
        return None
    from iaa_retrieval.collections.ir_datasets_collection import data_directory, is_ir_datasets_id

    if not is_ir_datasets_id(name):
        return None
    directory = data_directory(name)
    return ABSENT if directory is None else digests.of(directory, without_derived=True)


def _files_below(directory: Path, *, without_derived: bool) -> Iterator[Path]:
    for path in sorted(directory.iterdir()):
        if without_derived and (path.suffix in _DERIVED_SUFFIXES or path.name in _DERIVED_NAMES):
            continue
        if path.is_dir():
            yield from _files_below(path, without_derived=without_derived)
        elif path.is_file():
            yield path
