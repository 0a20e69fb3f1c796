"""Searches over the indexes of a configuration, with its encoders and re-rankers; nothing here knows of a network."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from iaa_retrieval.collections.loading import load_collection
from iaa_retrieval.collections.runs import rank
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.inference.interpolation import interpolated
from iaa_retrieval.models.retriever_config import read_retriever_config
from iaa_retrieval.models.truncation import cut_array
from iaa_retrieval.nearest import did_you_mean
from iaa_retrieval.pyserini_plugin.bm25 import K1, B
from iaa_retrieval.pyserini_plugin.index_guard import cut_as, require_fitting_index
from iaa_retrieval.serving.config import ServeConfig
from iaa_retrieval.serving.documents import CollectionStore, DocumentStore, LuceneStore, StoredDocument
from iaa_retrieval.serving.encoders import Encoders, needs_encoders
from iaa_retrieval.serving.indexes import Bm25Index, DenseIndex, Found, open_index
from iaa_retrieval.serving.refusals import BadRequest, QueryTooLong, UnknownDocument, UnknownIndex


@dataclass(frozen=True)
class Search:
    """What to search for.

    Attributes:
        query: the text.
        index: an alias of the configuration.
        hits: how many documents at most.
        checkpoint: encodes the query; None is the index's own.
        rerank: a cross-encoder that re-ranks the first hits; None is none.
        k1, b: of BM25; both or none.
    """

    query: str
    index: str
    hits: int = 10
    checkpoint: str | None = None
    rerank: str | None = None
    k1: float | None = None
    b: float | None = None


class Engine:
    """Everything loaded that a configuration names; may be used from several threads at once.

    Args:
        config: with its paths found.
        precision, device: of the backbone and its checkpoints.

    Raises:
        UsageError: names that mean nothing.
        IaaRetrievalError: an index or a checkpoint cannot be loaded, or they do not fit together.
    """

    def __init__(self, config: ServeConfig, *, precision: str = "fp32", device: str = "auto") -> None:
        self.config = config
        self.encoders = Encoders(config, precision=precision, device=device) if needs_encoders(config) else None
        self.indexes = {alias: open_index(entry, config.limits.hits) for alias, entry in config.indexes.items()}
        self._fits: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self._encoder_of = {
            alias: self._default_encoder(alias)
            for alias, index in self.indexes.items()
            if isinstance(index, DenseIndex)
        }
        self._sizes = {alias: _size_of(self.indexes[alias]) for alias in self._encoder_of}
        self._stores = {
            alias: LuceneStore(index) for alias, index in self.indexes.items() if isinstance(index, Bm25Index)
        }
        self._collection = CollectionStore(load_collection(config.collection)) if config.collection else None
        self._check_systems()

    def search(self, search: Search) -> list[Found]:
        """The documents that were found, best first, each once.

        Raises:
            QueryTooLong, BadRequest, UnknownIndex: what was asked for cannot be had.
            IaaRetrievalError: the checkpoint did not make the index, or the search failed.
        """
        index = self._index(search.index)
        self._check(search, index)
        if search.rerank is None:
            return self._first_stage(search, index, search.hits)
        if self.encoders is None:
            raise BadRequest(f"rerank={search.rerank}: this server has no checkpoints")
        self.encoders.require_cross_encoder(search.rerank)
        limits = self.config.limits
        found = self._first_stage(search, index, min(limits.hits, max(search.hits, limits.rerank_hits)))
        texts = self.texts(search.index, [hit.docid for hit in found])
        missing = [hit.docid for hit in found if hit.docid not in texts]
        if missing:
            raise BadRequest(
                f"rerank={search.rerank}: this server has no text of document {missing[0]} ({len(missing)} such); its "
                f"configuration must name a collection, or a base_index of {search.index} that stores documents"
            )
        scores = self.encoders.score_pairs(search.rerank, [(search.query, texts[hit.docid].contents) for hit in found])
        new = {hit.docid: float(score) for hit, score in zip(found, scores, strict=True)}
        by_id = interpolated(new, {hit.docid: hit.score for hit in found}, self.encoders.weight(search.rerank))
        return [Found(*hit) for hit in rank(by_id)[: search.hits]]

    def try_out(self) -> None:
        """Search once with every system: the first search after the start takes longer, which nobody shall wait for.

        Raises:
            IaaRetrievalError: a system cannot be searched, or its hits not be re-ranked.
        """
        for system in self.config.systems.values():
            self.search(Search("what is this", system.index, 1, system.checkpoint, system.rerank))

    def documents(self, index: str, ids: list[str]) -> dict[str, StoredDocument]:
        """Documents as they were indexed, as far as they are stored anywhere.

        Raises:
            UnknownIndex: no index of that alias.
        """
        self._index(index)
        store = self._store(index)
        return {} if store is None else store.fetch(ids)

    def document(self, index: str, doc_id: str) -> StoredDocument:
        """One of them.

        Raises:
            UnknownIndex: no index of that alias.
            UnknownDocument: it is not there.
        """
        found = self.documents(index, [doc_id])
        if doc_id not in found:
            raise UnknownDocument(f"Document {doc_id} not found in index {index}")
        return found[doc_id]

    def texts(self, index: str, ids: list[str]) -> dict[str, StoredDocument]:
        """Documents with their titles apart where possible: from the collection before all else."""
        found = self._collection.fetch(ids) if self._collection is not None else {}
        rest = [doc_id for doc_id in ids if doc_id not in found]
        return {**found, **self.documents(index, rest)} if rest else found

    def require_query(self, query: str) -> None:
        """Refuse a query without text, or of more characters than the limit.

        Raises:
            BadRequest, QueryTooLong: the one or the other.
        """
        if not query.strip():
            raise BadRequest("Parameter 'query' is required")
        most = self.config.limits.query_characters
        if len(query) > most:
            raise QueryTooLong(f"the query has {len(query)} characters; this server takes {most}")

    def require_hits(self, hits: int) -> None:
        """Refuse a number of hits that no search may ask for.

        Raises:
            BadRequest: names the limit.
        """
        if not 1 <= hits <= self.config.limits.hits:
            raise BadRequest(f"Parameter 'hits' must lie between 1 and {self.config.limits.hits}")

    def _check(self, search: Search, index: Bm25Index | DenseIndex) -> None:
        self.require_query(search.query)
        self.require_hits(search.hits)
        if (search.k1 is None) != (search.b is None):
            raise BadRequest("BM25 parameters k1 and b must be set together")
        if search.k1 is not None and search.b is not None:
            if not isinstance(index, Bm25Index):
                raise BadRequest("BM25 parameters k1 and b apply only to sparse (tf) indexes")
            if not (0 <= search.k1 < float("inf") and 0 <= search.b <= 1):
                raise BadRequest("BM25 parameter k1 must be a non-negative number, and b lie between 0 and 1")
        if search.checkpoint is not None and isinstance(index, Bm25Index):
            raise BadRequest(f"checkpoint={search.checkpoint}: {search.index} is a BM25 index, which needs no encoder")

    def _first_stage(self, search: Search, index: Bm25Index | DenseIndex, hits: int) -> list[Found]:
        if isinstance(index, Bm25Index):
            k1, b = (K1, B) if search.k1 is None or search.b is None else (search.k1, search.b)
            return index.search(search.query, hits, k1, b)
        assert self.encoders is not None
        name = search.checkpoint or self._encoder_of[search.index]
        try:
            self._require_fit(search.index, name)
        except IaaRetrievalError as error:
            raise BadRequest(str(error)) from error
        return index.search(self._query_vector(name, search), hits)

    def _query_vector(self, name: str, search: Search) -> np.ndarray:
        """The vector of a query, cut as those of the index are."""
        assert self.encoders is not None
        vector = self.encoders.query_vector(name, search.query)
        size = self._sizes[search.index]
        if size is None or size == len(vector):
            return vector
        return cut_array(vector, size, normalize=self.encoders.bi_encoder(name).config.normalize)

    def _index(self, alias: str) -> Bm25Index | DenseIndex:
        if alias not in self.indexes:
            raise UnknownIndex(
                f"Index not configured for this server: {alias}; there are {', '.join(self.indexes)}"
                f"{did_you_mean(alias, self.indexes)}"
            )
        return self.indexes[alias]

    def _default_encoder(self, alias: str) -> str:
        """The encoder of an index that names none itself is the one whose fingerprint it carries."""
        assert self.encoders is not None
        entry = self.config.indexes[alias]
        if entry.encoder is not None:
            name = self.encoders.name_of(entry.encoder)
        else:
            made_by = read_retriever_config(entry.path)
            if made_by is None:
                raise UsageError(f"indexes.{alias}: {entry.path} does not say who made it; name its encoder")
            found = self.encoders.made(made_by)
            if found is None:
                raise UsageError(
                    f"indexes.{alias}: {entry.path} was made by none of {', '.join(self.encoders.names)}; name the "
                    "checkpoint that made it under checkpoints"
                )
            name = found
        self._require_fit(alias, name)
        return name

    def _require_fit(self, alias: str, name: str) -> None:
        """Refuse a checkpoint that did not make the vectors of an index; what fits is looked at once."""
        assert self.encoders is not None
        encoder = self.encoders.bi_encoder(name)
        if (alias, name) in self._fits:
            return
        path = self.config.indexes[alias].path
        encoder = cut_as(path, encoder)
        require_fitting_index(path, encoder, index_name=f"index {alias}", encoder_name=f"checkpoint {name}")
        with self._lock:
            self._fits.add((alias, name))

    def _store(self, alias: str) -> DocumentStore | None:
        """Where the documents of an index are stored: in its base, in itself, in any other, in the collection."""
        base = self.config.indexes[alias].base_index
        for name in (base, alias, *self._stores):
            if name in self._stores:
                return self._stores[name]
        return self._collection

    def _check_systems(self) -> None:
        """Refuse systems whose searches could only fail."""
        for name, system in self.config.systems.items():
            try:
                index = self._index(system.index)
                self._check(Search("any", system.index, 1, system.checkpoint), index)
                if isinstance(index, DenseIndex):
                    self._require_fit(system.index, system.checkpoint or self._encoder_of[system.index])
                if system.rerank is not None and self.encoders is not None:
                    self.encoders.require_cross_encoder(system.rerank)
            except UsageError as error:
                raise UsageError(f"systems.{name}: {error}") from error


def _size_of(index: Bm25Index | DenseIndex) -> int | None:
    """What the vectors of an index are cut to; None where they are whole, or nothing says."""
    made_by = read_retriever_config(index.path)
    return None if made_by is None else made_by.truncate_dim
