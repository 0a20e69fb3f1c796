"""Which files of a folder (and of its sub-folders) hold documents."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from iaa_retrieval.collections.lines import strip_gz
from iaa_retrieval.collections.records import NAMES_READ, looks_like_documents, looks_like_json
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.notices import warn_once

_NAMED = 5  # files that a warning names
# A file of queries has the form of a file of documents, so here the name must do.
_NO_DOCUMENTS = ("queries", "topics", "qrels")


def is_beir_directory(folder: Path) -> bool:
    """Whether a folder is in BEIR layout, complete or not, instead of a folder of documents."""
    return _has_queries(folder) or any((folder / name).is_file() for name in ("corpus.jsonl", "corpus.jsonl.gz"))


def document_files(folder: Path) -> list[Path]:
    """The files of documents in ``folder`` and below, always in the same order; hidden ones are passed over.

    Links are followed. Files that are no documents are passed over with one warning.

    Raises:
        IaaRetrievalError: no file of documents, or a folder that cannot be listed.
        UsageError: a sub-folder with queries or judgments, which are no documents.
    """
    documents: list[Path] = []
    others: list[Path] = []
    files = sorted(_visible_files(folder))
    for below in dict.fromkeys(path.parent for path in files):
        if below != folder and _has_queries(below):
            raise UsageError(f"{folder}: its sub-folder {below.relative_to(folder)} is in BEIR layout; name that one")
    for path in files:
        is_other = path.name.lower().startswith(_NO_DOCUMENTS) or not looks_like_documents(path)
        (others if is_other else documents).append(path)
    tables = {path for path in documents if strip_gz(path) == ".txt" and not looks_like_json(path)}
    if len(tables) < len(documents):  # beside other documents they are somebody's notes
        documents = [path for path in documents if path not in tables]
        others = sorted([*others, *tables])
    if not documents:
        found = f" ({_names(folder, others)})" if others else ""
        raise IaaRetrievalError(
            f"{folder} is not in BEIR layout: no corpus.jsonl or corpus.jsonl.gz; and it holds no file of documents"
            f"{found}: {NAMES_READ}"
        )
    if others:
        warn_once(f"{folder}: files passed over, for they hold no documents: {len(others)} ({_names(folder, others)})")
    return documents


def warn_of_files_beside_corpus(folder: Path, corpus: Path) -> None:
    """A folder with a ``corpus.jsonl`` but no queries and no judgments may be meant as a folder of documents."""
    if _has_queries(folder):
        return
    others = [path for path in sorted(_visible_files(folder)) if path != corpus and _is_jsonl(path)]
    if others:
        warn_once(
            f"{folder}: only {corpus.name} is read, because a folder that has one is in BEIR layout; files beside it "
            f"that are not read: {len(others)} ({_names(folder, others)})"
        )


def _has_queries(folder: Path) -> bool:
    """Whether there are queries or judgments as in BEIR layout."""
    names = ("queries.jsonl", "queries.jsonl.gz")
    return (folder / "qrels").is_dir() or any((folder / name).is_file() for name in names)


def _is_jsonl(path: Path) -> bool:
    return path.name.endswith((".jsonl", ".jsonl.gz"))


def _names(folder: Path, files: list[Path]) -> str:
    names = [str(path.relative_to(folder)) for path in files[:_NAMED]]
    return ", ".join(names) + (" ..." if len(files) > _NAMED else "")


def _visible_files(folder: Path) -> Iterator[Path]:
    """All files of a tree but hidden ones and those in hidden folders."""

    def refuse(error: OSError) -> None:
        raise IaaRetrievalError(f"cannot read {error.filename}: {error.strerror}") from error

    top = os.path.realpath(folder)
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        here = Path(place)
        real = os.path.realpath(place)
        # Two links to one folder, or a link to one above.
        if real in seen or (real != top and top.startswith(os.path.join(real, ""))):
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (here / name for name in files if not name.startswith(".")):
            if path.is_file() or not path.exists():  # a broken link is missed when it is read; a pipe would never end
                yield path
