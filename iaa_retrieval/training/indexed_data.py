"""Training data whose documents are an index's: ids and judgments, without a text of a document."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence

import numpy as np

from iaa_retrieval.collections.base import Collection
from iaa_retrieval.collections.types import Qrels
from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.inference.stored_vectors import StoredVectors
from iaa_retrieval.training.dangling_judgments import TRAINING, with_their_queries
from iaa_retrieval.training.data import TrainingData

LOG = logging.getLogger("iaa_retrieval")


def load_indexed_data(
    index: StoredVectors, collection: Collection, qrels: Qrels, negatives: Mapping[str, Sequence[str]], source: str
) -> TrainingData:
    """The training data of queries whose documents are looked up in ``index``; it holds no passages.

    Args:
        index: of the documents.
        collection: has the queries.
        qrels: of the training queries; those of documents that the index lacks are left out, with a warning.
        negatives: query id -> document ids; those that the index lacks are left out likewise.
        source: where the negatives come from, for messages.

    Raises:
        IaaRetrievalError: no judged query has a text, or no relevant document is in the index.
    """
    texts, judged = with_their_queries(collection, qrels, TRAINING)
    found = with_indexed_documents(index, judged, TRAINING)
    return TrainingData(
        {query_id: texts[query_id] for query_id in found},
        {},
        {query_id: sorted(d for d, grade in grades.items() if grade > 0) for query_id, grades in found.items()},
        indexed_negatives(index, {query_id: list(negatives.get(query_id, ())) for query_id in found}, source),
    )


def with_indexed_documents(index: StoredVectors, qrels: Qrels, use: str) -> Qrels:
    """The judgments of documents that are in the index, of queries that have a relevant one there.

    Args:
        use: what the judgments are for, as the warning about those left out names it.

    Raises:
        IaaRetrievalError: there is no such query.
    """
    relevant = {(q, d) for q, grades in qrels.items() for d, grade in grades.items() if grade > 0}
    if not relevant:
        raise IaaRetrievalError(f"no query has a relevant document for {use}")
    places = index.locate({doc_id for grades in qrels.values() for doc_id in grades} | set(qrels))
    missing = sorted((q, d) for q, d in relevant if d not in places)
    if len(missing) == len(relevant):
        raise IaaRetrievalError(
            f"document {missing[0][1]!r} is not in {index.source}, nor is any other of the {len(relevant)} relevant "
            "ones; is it an index of this collection?"
        )
    if missing:
        LOG.warning(
            "%s: %d of %d relevant documents are not in it (e.g. %s of query %s); left out of %s",
            *(index.source, len(missing), len(relevant), missing[0][1], missing[0][0], use),
        )
    kept = {q: {d: grade for d, grade in grades.items() if d in places} for q, grades in sorted(qrels.items())}
    return {q: grades for q, grades in kept.items() if any(grade > 0 for grade in grades.values())}


def indexed_negatives(index: StoredVectors, negatives: dict[str, list[str]], source: str) -> dict[str, list[str]]:
    """The negatives that are in the index; a warning says how many are not."""
    named = {doc_id for ids in negatives.values() for doc_id in ids}
    places = index.locate(named)
    missing = sorted(named - places.keys())
    if missing:
        LOG.warning(
            "%s: %d of %d documents are not in %s (e.g. %s) and are no negatives",
            *(source, len(missing), len(named), index.source, missing[0]),
        )
    return {query_id: [d for d in ids if d in places] for query_id, ids in negatives.items()}


class RandomDocuments:
    """Documents of an index drawn at random, the same for the same examples.

    Args:
        index: to draw from.
        count: how many, or all where the index has fewer.
        seed: of the draw.
    """

    def __init__(self, index: StoredVectors, count: int, seed: int) -> None:
        self._total = len(index)
        self._count = min(count, self._total)
        self._seed = seed

    def draw(self, key: str) -> np.ndarray:
        """Places of documents, int64 [count], without repetition; which, ``key`` decides."""
        if self._count == self._total:
            return np.arange(self._total)
        digest = hashlib.sha256(f"{self._seed}/{key}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        return rng.choice(self._total, size=self._count, replace=False, shuffle=False)
