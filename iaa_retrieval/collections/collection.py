"""``load_collection``: one name, wherever the data is."""

from __future__ import annotations

import os
from pathlib import Path

from iaa_retrieval.collections.base import Collection
from iaa_retrieval.collections.beir_directory import BeirDirectory
from iaa_retrieval.collections.document_file import DocumentFiles
from iaa_retrieval.collections.document_folder import is_beir_directory
from iaa_retrieval.errors import IaaRetrievalError, UsageError

__all__ = ["Collection", "is_collection", "load_collection", "looks_like_path"]

EMBEDDED = "embedded"


def load_collection(spec: str, split: str | None = None) -> Collection:
    """Open a collection; nothing large is read before it is asked for.

    Args:
        spec: ``embedded``, a directory in BEIR layout, a file of documents (Pyserini JSONL or MS MARCO TSV) or a
            folder of such files, or an ir_datasets id (``beir/scifact/train``). ``SPEC:SPLIT`` names a split as well.
        split: the split whose queries and judgments are meant; it wins over one in ``spec``, so a training
            split in the name and another dev split can be combined. None means the only split, if there is
            just one; else documents and all queries can be read, but no judgments.

    Raises:
        UsageError: an unknown collection or split; the message names what is available.
        IaaRetrievalError: data that is damaged or cannot be downloaded.
    """
    source, named_split = split_spec(spec)
    split = split or named_split
    if source == EMBEDDED:
        from iaa_retrieval.collections.embedded import EmbeddedCollection

        return EmbeddedCollection(split)
    path = Path(source).expanduser()
    if path.is_dir() and is_beir_directory(path):
        return BeirDirectory(path, split)
    if path.is_dir() or path.is_file():
        if split is not None:
            raise UsageError(f"{path} holds documents only and has no split {split!r}")
        return DocumentFiles(path)
    if looks_like_path(source):
        raise IaaRetrievalError(f"{source}: no such file or directory")
    from iaa_retrieval.collections.ir_datasets_collection import IrDatasetsCollection

    return IrDatasetsCollection(source, split)


def split_spec(spec: str) -> tuple[str, str | None]:
    """``SPEC:SPLIT`` in its two parts; a path that exists is never taken apart."""
    if not Path(spec).exists():
        source, colon, split = spec.rpartition(":")
        if colon and source and split and os.sep not in split:
            return source, split
    return spec, None


def is_collection(spec: str) -> bool:
    """Whether ``spec`` names something that :func:`load_collection` can open."""
    source, _ = split_spec(spec)
    if source == EMBEDDED or Path(source).expanduser().exists():
        return True
    from iaa_retrieval.collections.ir_datasets_collection import is_ir_datasets_id

    return is_ir_datasets_id(source)


def looks_like_path(spec: str) -> bool:
    """Whether ``spec`` can only mean a file or directory (a missing one is then reported as such)."""
    source, _ = split_spec(spec)
    path = Path(source)
    if source.startswith(("/", ".", "~")):
        return True
    return path.suffix in {".json", ".jsonl", ".tsv", ".txt", ".trec", ".xml", ".gz"}
