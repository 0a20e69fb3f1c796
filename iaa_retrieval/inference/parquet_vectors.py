"""Vectors in Parquet: the columns ``docid`` and ``vector``, written and read in constant memory.

Anserini indexes such files, and so do tools of other fields. The vectors of a corpus may lie in several files, such as
those of its shards, and an encoder beside them says who made them (``retriever.json``).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from iaa_retrieval.collections.unique_ids import UniqueIds
from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.files import atomic_file, files_below
from iaa_retrieval.models.retriever_config import RetrieverConfig, read_retriever_config, require_same_encoder

ID_COLUMN, VECTOR_COLUMN = "docid", "vector"
SUFFIX = ".parquet"
_AT_A_TIME = 2048

logger = logging.getLogger("iaa_retrieval")


def write_parquet(windows: Iterable[tuple[np.ndarray, Sequence[str]]], path: Path) -> None:
    """Write one file, a row group for each window.

    Args:
        windows: vectors, float32 [n, d], with their n ids.
        path: of the file, which appears whole or not at all.

    Raises:
        IaaRetrievalError: an id that is no text (a lone surrogate), or the file cannot be written.
    """
    import pyarrow
    from pyarrow import parquet

    schema = pyarrow.schema([(ID_COLUMN, pyarrow.string()), (VECTOR_COLUMN, pyarrow.list_(pyarrow.float32()))])
    # Vectors hardly shrink, and plain pages are read by every implementation.
    settings: dict[str, Any] = {"compression": "NONE", "use_dictionary": False, "write_statistics": [ID_COLUMN]}
    with atomic_file(path, "wb") as stream, parquet.ParquetWriter(stream, schema, **settings) as writer:
        for vectors, ids in windows:
            count, dimension = vectors.shape
            offsets = np.arange(count + 1, dtype=np.int32) * dimension
            values = pyarrow.array(np.ascontiguousarray(vectors, dtype=np.float32).ravel())
            columns = [_texts(ids), pyarrow.ListArray.from_arrays(pyarrow.array(offsets), values)]
            writer.write_table(pyarrow.Table.from_arrays(columns, schema=schema))


def _texts(ids: Sequence[str]) -> Any:
    import pyarrow

    try:
        return pyarrow.array(ids, pyarrow.string())
    except UnicodeEncodeError as error:
        raise IaaRetrievalError(
            f"document id {error.object!a} holds half of a character, which Parquet does not store; rename the document"
        ) from error


def vector_files(source: str | Path) -> list[Path]:
    """The Parquet files that ``source`` is or holds, also in its sub-folders, in the order of their names."""
    path = Path(source).expanduser()
    if path.is_dir():
        return [file for file in files_below(path) if file.suffix == SUFFIX]
    return [path] if path.suffix == SUFFIX and path.is_file() else []


class ParquetVectors:
    """Vectors that were encoded before.

    Args:
        source: a Parquet file, or a folder of such files.

    Attributes:
        files: what is read, in this order.
        total: number of vectors.
        dimension: of the vectors.
        config: of the encoder that made them, None where nothing says who did.

    Raises:
        IaaRetrievalError: no such file, a damaged one, one without the columns, no vector at all, or files that
            different encoders made.
    """

    def __init__(self, source: str | Path) -> None:
        self.source = str(source)
        self.files = vector_files(source)
        if not self.files:
            raise IaaRetrievalError(f"{source}: neither a file *{SUFFIX} nor a folder of such files")
        self.total: int = sum(_opened(file).metadata.num_rows for file in self.files)
        if not self.total:
            raise IaaRetrievalError(f"{source} holds no vector")
        self.config = self._config()

    @cached_property
    def dimension(self) -> int:
        """Length of the first vector, which is that of all."""
        first, _ = next(self._rows(self.files))
        return int(first.shape[1])

    def windows(self) -> Iterator[tuple[np.ndarray, list[str]]]:
        """Vectors, float32 [n, d], with their ids.

        Raises:
            IaaRetrievalError: a repeated or a missing id, a missing vector, one of another length, or a number that is
                not finite; the document or the row is named.
        """
        seen = UniqueIds()
        for vectors, ids in self._rows(self.files):
            for doc_id in ids:
                # Two ids may share a hash, so what was read before is counted.
                if not seen.add(doc_id) and sum(ids.count(doc_id) for _, ids in self._rows(self.files)) > 1:
                    raise IaaRetrievalError(f"{self.source}: document id {doc_id!r} occurs twice")
            if vectors.shape[1] != self.dimension:
                raise IaaRetrievalError(
                    f"{self.source}: the vector of document {ids[0]} has {vectors.shape[1]} numbers, the first one has "
                    f"{self.dimension}"
                )
            finite = np.isfinite(vectors).all(axis=1)
            if not finite.all():
                raise IaaRetrievalError(
                    f"{self.source}: the vector of document {ids[int(np.argmin(finite))]} holds a number that is not "
                    "finite"
                )
            yield vectors, ids

    def _rows(self, files: Sequence[Path]) -> Iterator[tuple[np.ndarray, list[str]]]:
        for file in files:
            row = 0
            for batch in _opened(file).iter_batches(batch_size=_AT_A_TIME, columns=[ID_COLUMN, VECTOR_COLUMN]):
                ids = ["" if value is None else str(value) for value in batch.column(ID_COLUMN).to_pylist()]
                if "" in ids:
                    raise IaaRetrievalError(f"{file}: row {row + ids.index('') + 1} has no {ID_COLUMN}")
                yield _matrix(batch.column(VECTOR_COLUMN), ids, file), ids
                row += len(ids)

    def _config(self) -> RetrieverConfig | None:
        """The encoder that all files name; one of them beside which nothing stands may be anybody's."""
        configs = {folder: read_retriever_config(folder) for folder in sorted({file.parent for file in self.files})}
        top = Path(self.source).expanduser()
        if top.is_dir() and top not in configs:
            configs = {folder: config or read_retriever_config(top) for folder, config in configs.items()}
        known = {folder: config for folder, config in configs.items() if config is not None}
        if len(known) < len(configs):
            logger.warning(
                "no retriever.json says which encoder made the vectors in %s; searches cannot check that it is that of "
                "the queries",
                next(str(folder) for folder, config in configs.items() if config is None),
            )
            return None
        (first, config), *others = known.items()
        for folder, other in others:
            require_same_encoder(str(first), config.index_fingerprint, str(folder), other.index_fingerprint)
        return config


def _opened(file: Path) -> Any:
    import pyarrow
    from pyarrow import parquet

    try:
        opened = parquet.ParquetFile(file, pre_buffer=False)
    except (OSError, pyarrow.ArrowException) as error:
        raise IaaRetrievalError(f"{file} is no Parquet file that can be read: {_first_line(error)}") from error
    names = opened.schema_arrow.names
    missing = [name for name in (ID_COLUMN, VECTOR_COLUMN) if name not in names]
    if missing:
        raise IaaRetrievalError(
            f"{file} has no column {' and '.join(missing)} (but {', '.join(names)}); vectors stand in the columns "
            f"{ID_COLUMN} and {VECTOR_COLUMN}"
        )
    return opened


def _matrix(column: Any, ids: Sequence[str], file: Path) -> np.ndarray:
    """A column of lists of numbers as float32 [n, d]."""
    import pyarrow

    try:
        lists = column.cast(pyarrow.list_(pyarrow.float32()))
    except pyarrow.ArrowException as error:
        raise IaaRetrievalError(f"{file}: the column {VECTOR_COLUMN} holds no lists of numbers") from error
    offsets = lists.offsets.to_numpy()
    lengths = np.diff(offsets)
    wrong = np.flatnonzero((lengths != lengths[0]) | (lengths == 0))
    if lists.null_count or lists.flatten().null_count:
        wrong = np.array([next(n for n, value in enumerate(lists.to_pylist()) if not value or None in value)])
    if len(wrong):
        raise IaaRetrievalError(
            f"{file}: the vector of document {ids[wrong[0]]} is missing, empty or of another length than that of "
            f"document {ids[0]}"
        )
    values: np.ndarray = lists.flatten().to_numpy(zero_copy_only=False)
    return np.array(values, dtype=np.float32).reshape(len(ids), -1)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
