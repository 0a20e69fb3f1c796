"""Lucene indexes of vectors, made by Anserini's own indexers: graphs (HNSW) and flat ones."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.inference.faiss_index import Windows
from iaa_retrieval.inference.parquet_vectors import write_parquet
from iaa_retrieval.inference.vector_outputs import VectorOutput, require_unit_length
from iaa_retrieval.java import prepare_java, require_java_can_open
from iaa_retrieval.models.retriever_config import RetrieverConfig
from iaa_retrieval.pyserini_plugin.indexer_process import LOG_NAME, require_all_indexed, run_indexer
from iaa_retrieval.pyserini_plugin.lucene_index import LONGEST_ID

INDEXERS = {"hnsw": "IndexHnswDenseVectors", "flat": "IndexFlatDenseVectors"}


@dataclass(frozen=True)
class LuceneOutput(VectorOutput):
    """A Lucene index of vectors, as Pyserini's ``search.lucene --dense`` reads it.

    Scores are (1 + cosine) / 2: Lucene takes inner products, of vectors of unit length.

    Attributes:
        kind: ``hnsw`` or ``flat``.
        quantize: ``int8`` keeps a vector's numbers in a byte each beside the vectors, and searches these; None
            searches the vectors.
        m: links per document of a graph.
        ef_construction: how many candidates are weighed for the links of a document.
        threads: that build the index, each of them its own part of it.
    """

    kind: str
    quantize: str | None = None
    m: int = 16
    ef_construction: int = 500
    threads: int = 1

    def require(self, dimension: int, documents: Iterable[object], config: RetrieverConfig | None) -> None:
        """Refuse an encoder whose vectors have not unit length, and a machine without Java."""
        if config is not None and not config.normalize and not config.encoder_class:
            raise UsageError(
                "--to-lucene needs vectors of unit length, and this encoder does not normalise; a plain encoder does "
                "with encoder --l2-norm, for others there is --to-faiss"
            )
        prepare_java()

    def write(self, windows: Windows, total: int, directory: Path, dimension: int) -> None:
        """Write the index; the vectors lie in a temporary directory (``TMPDIR``) meanwhile, as Parquet.

        Raises:
            IaaRetrievalError: a vector that is not of unit length, an id that is too long for Lucene, or the indexer
                failed or lost documents.
        """
        prepare_java()
        with tempfile.TemporaryDirectory(prefix="lucene-input-") as folder:
            source, log = Path(folder) / "vectors", Path(folder) / LOG_NAME
            source.mkdir()
            for path in (directory, source):
                require_java_can_open(path)
            for part in range(self.threads):  # the indexer gives each of its threads a file
                write_parquet(_checked(windows(), self.threads, part), source / f"vectors-{part}.parquet")
            indexed = run_indexer(
                "iaa_retrieval.pyserini_plugin.dense_indexer", self._arguments(source, directory), log
            )
            require_all_indexed(indexed, total, "this corpus", log)

    def _arguments(self, source: Path, directory: Path) -> list[str]:
        graph = ["-M", str(self.m), "-efC", str(self.ef_construction)] if self.kind == "hnsw" else []
        return [
            INDEXERS[self.kind], self.quantize or "none",
            "-collection", "ParquetDenseVectorCollection", "-generator", "DenseVectorDocumentGenerator",
            "-input", str(source), "-index", str(directory), "-threads", str(self.threads), *graph,
        ]  # fmt: skip


def _checked(
    windows: Iterable[tuple[np.ndarray, Sequence[str]]], parts: int, part: int
) -> Iterator[tuple[np.ndarray, Sequence[str]]]:
    """Every so many-th window, of vectors and ids that Lucene takes."""
    for number, (vectors, ids) in enumerate(windows):
        if number % parts != part:
            continue
        require_unit_length(vectors, ids, "document")
        for doc_id in ids:
            if len(doc_id) * 4 > LONGEST_ID and len(doc_id.encode()) > LONGEST_ID:
                raise IaaRetrievalError(
                    f"document {doc_id[:40]}... has an id of {len(doc_id.encode())} bytes, and Lucene takes "
                    f"{LONGEST_ID}; shorten it"
                )
        yield vectors, ids
