"""``load_collection``: one name, wherever the data is."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from iaa_retrieval.collections.base import Collection
from iaa_retrieval.collections.sources import find_source, sources
from iaa_retrieval.errors import IaaRetrievalError, UsageError


def load_collection(spec: str, split: str | None = None) -> Collection:
    """Open a collection; nothing large is read before it is asked for.

    Args:
        spec: ``embedded``, ``python-packages``, a directory in BEIR layout, a file of documents (Pyserini JSONL or
            MS MARCO TSV) or a folder of such files, an ir_datasets id (``beir/scifact/train``), or a name that another
            source claims (see ``iaa_retrieval.collections.sources.register_source``). ``SPEC:SPLIT`` names a split as
            well.
        split: the split whose queries and judgments are meant; it wins over one in ``spec``, so a training
            split in the name and another dev split can be combined. None means the only split, if there is
            just one; else documents and all queries can be read, but no judgments.

    Returns:
        Its documents can be streamed, its queries and judgments read (see ``Collection``).

    Raises:
        UsageError: an unknown collection or split; the message names what is available.
        IaaRetrievalError: data that is damaged or cannot be downloaded.
    """
    name, named_split = split_spec(spec)
    source = find_source(name)
    if source is not None:
        return source.open(name, split or named_split)
    if looks_like_path(name):
        raise IaaRetrievalError(f"{name}: no such file or directory")
    raise UsageError(f"unknown collection {name!r}: not {_kinds_of_names()}{_hint(name)}")


def split_spec(spec: str) -> tuple[str, str | None]:
    """``SPEC:SPLIT`` in its two parts; a path that exists, or another name with a colon, is never taken apart."""
    name, colon, split = spec.rpartition(":")
    if colon and name and split and os.sep not in split and find_source(spec) is None:
        return name, split
    return spec, None


def is_collection(spec: str) -> bool:
    """Whether ``spec`` names something that ``load_collection`` can open."""
    return find_source(split_spec(spec)[0]) is not None


def looks_like_path(spec: str) -> bool:
    """Whether ``spec`` can only mean a file or directory (a missing one is then reported as such)."""
    source, _ = split_spec(spec)
    path = Path(source)
    if source.startswith(("/", ".", "~")):
        return True
    return path.suffix in {".json", ".jsonl", ".tsv", ".txt", ".trec", ".xml", ".gz"}


def _kinds_of_names() -> str:
    *others, last = ["a file", "a directory", *(source.described for source in sources() if source.described)]
    return f"{', '.join(others)} or {last}"


def _hint(name: str) -> str:
    known = [known for source in sources() for known in source.known_names()]
    close = difflib.get_close_matches(name, known, n=3)
    return f"; did you mean {', '.join(close)}?" if close else ""
