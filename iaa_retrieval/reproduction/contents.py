"""What the inputs of a stage hold: hashes of files, directories, collections and backbones that a command names."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from iaa_retrieval.files import files_below, read_json, sha256_of, write_json

ABSENT = "absent"


class Digests:
    """SHA-256 of files and directories; a file is read again only when its size or times changed.

    Args:
        record: a JSON file that keeps what was found for the next process.
    """

    def __init__(self, record: Path) -> None:
        self._record = record
        self._known: dict[str, list[object]] = read_json(record) if record.is_file() else {}

    def of(self, path: Path) -> str:
        """Hash of a file's bytes, or of the names and hashes of all files below a directory; hex."""
        if path.is_dir():
            return self._of_files(files_below(path), path)
        return self._of_file(path) if path.is_file() else ABSENT

    def of_all(self, files: Sequence[Path]) -> str:
        """Hash of the names and hashes of some files, wherever the folder is that holds them all; hex."""
        return self._of_files(files, Path(os.path.commonpath([file.parent for file in files]))) if files else ABSENT

    def save(self) -> None:
        """Keep what is known now."""
        write_json(self._record, self._known)

    def _of_files(self, files: Iterable[Path], directory: Path) -> str:
        digest = hashlib.sha256()
        for file in files:
            digest.update(f"{file.relative_to(directory).as_posix()} {self._of_file(file)}\n".encode())
        return digest.hexdigest()

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
    spec = split_spec(name)[0]
    path = Path(spec).expanduser()
    if path.exists():
        return digests.of(path)
    return _content_of_backbone(name, digests) or _content_of_collection(spec, digests)


def _content_of_backbone(name: str, digests: Digests) -> str | None:
    from iaa_retrieval.models.backbone import MINILM, MINILM_HUB_ID, resolve_backbone

    return digests.of(Path(resolve_backbone(name))) if name in (MINILM, MINILM_HUB_ID) else None


def _content_of_collection(spec: str, digests: Digests) -> str | None:
    from iaa_retrieval.collections.sources import find_source

    source = find_source(spec)
    return None if source is None else digests.of_all(list(source.data_files(spec)))
