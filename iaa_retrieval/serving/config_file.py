"""Reading the file of ``serve --config``: what it says, with its paths found, or the fault in one line."""

from __future__ import annotations

from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.nearest import did_you_mean
from iaa_retrieval.pyserini_plugin.lucene_vector_search import has_part
from iaa_retrieval.schema_problems import first_problem
from iaa_retrieval.serving.config import BACKBONE, BM25, FAISS, FLAT, HNSW, IndexEntry, ServeConfig
from iaa_retrieval.strict_yaml import read_yaml


def load_config(path: str | Path) -> ServeConfig:
    """Read a file of ``serve --config``; what it names relative to itself is found.

    Raises:
        UsageError: it is no such file; the one line names the file, the place, and what may have been meant.
    """
    file = Path(path)
    try:
        values = read_yaml(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, IaaRetrievalError) as error:
        raise UsageError(f"{file} is malformed: {' '.join(str(error).split())}") from error
    try:
        config = parse_config(values)
        found = with_paths(config, file.resolve().parent)
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from error
    return found


def parse_config(values: Any) -> ServeConfig:
    """Check the plain values of a file, and that what it names exists in it.

    Raises:
        UsageError: names the place.
    """
    try:
        config = ServeConfig.model_validate(values)
    except ValidationError as error:
        problem = first_problem(error, ServeConfig, values)
        if problem.startswith("api_keys"):  # a message must not repeat a key
            problem = "api_keys should be a list of texts of printable ASCII characters without spaces"
        raise UsageError(problem) from error
    _require_names(config)
    return config


def _require_names(config: ServeConfig) -> None:
    """Refuse names of indexes, checkpoints and systems that the file does not give."""
    if BACKBONE in config.checkpoints:
        raise UsageError(f"checkpoints.{BACKBONE}: the name means the backbone alone; choose another")
    checkpoints = [BACKBONE, *config.checkpoints]
    for alias, index in config.indexes.items():
        if "/" in alias or not alias.strip():
            raise UsageError(f"indexes: the alias {alias!r} must be a name without /")
        if index.base_index is not None:
            _require_name(f"indexes.{alias}.base_index", index.base_index, config.indexes)
    for name, system in config.systems.items():
        _require_name(f"systems.{name}.index", system.index, config.indexes)
        for key, checkpoint in (("checkpoint", system.checkpoint), ("rerank", system.rerank)):
            if checkpoint is not None:
                _require_name(f"systems.{name}.{key}", checkpoint, checkpoints)
    for number, name in enumerate(config.shown or ()):
        _require_name(f"shown[{number}]", name, config.systems)


def _require_name(place: str, name: str, known: Iterable[str]) -> None:
    names = list(known)
    if name not in names:
        raise UsageError(
            f"{place}: there is no {name!r}, only {', '.join(names) or 'nothing'}{did_you_mean(name, names)}"
        )


def with_paths(config: ServeConfig, folder: Path) -> ServeConfig:
    """The same with every path found from ``folder``, and every index of a known type.

    Raises:
        UsageError: an index that is no directory, or a ``base_index`` that stores no documents.
    """
    names = {BACKBONE, *config.checkpoints}
    indexes = {alias: _found_index(f"indexes.{alias}", index, folder, names) for alias, index in config.indexes.items()}
    for alias, index in indexes.items():
        if index.base_index is not None and indexes[index.base_index].index_type != BM25:
            raise UsageError(f"indexes.{alias}.base_index: {index.base_index!r} stores no documents; name a tf index")
    named = {
        name: _beside(value, folder)
        for name in ("backbone", "collection", "topics", "qrels")
        if (value := getattr(config, name)) is not None
    }
    checkpoints = {name: _beside(path, folder) for name, path in config.checkpoints.items()}
    return config.model_copy(update={"indexes": indexes, "checkpoints": checkpoints, **named})


def _found_index(place: str, index: IndexEntry, folder: Path, checkpoints: Container[str]) -> IndexEntry:
    path = folder / index.path
    if not path.is_dir():
        raise UsageError(f"{place}.path: {path} is no directory")
    seen = _kind_of(path)
    if seen is not None and index.index_type not in (None, seen):
        raise UsageError(f"{place}.index_type: {path} is an index of type {seen}, not {index.index_type}")
    index_type = index.index_type or seen or BM25
    encoder = index.encoder
    if encoder is not None and encoder not in checkpoints:
        encoder = _beside(encoder, folder)
    return index.model_copy(update={"path": str(path), "index_type": index_type, "encoder": encoder})


def _kind_of(path: Path) -> str | None:
    """The type of an index of vectors, by its files; None is any other."""
    if (path / "index").is_file():
        return FAISS
    if has_part(path, ".vex"):
        return HNSW
    return FLAT if has_part(path, ".vec") else None


def _beside(name: str, folder: Path) -> str:
    """A path relative to the file, or ``PATH:SPLIT``, where there is one; else the name as it is."""
    head, colon, split = name.rpartition(":")
    if (folder / name).exists():
        return str(folder / name)
    if colon and head and (folder / head).exists():
        return f"{folder / head}:{split}"
    return name
