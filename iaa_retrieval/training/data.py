"""Training examples: queries with their relevant passages and mined negatives, checked before anything is trained."""

from __future__ import annotations

import hashlib
import json
import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from iaa_retrieval.collections.base import Collection
from iaa_retrieval.collections.types import Qrels, Run
from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.training.dangling_judgments import TRAINING, with_their_documents, with_their_queries

LOG = logging.getLogger("iaa_retrieval")


class Example(NamedTuple):
    """One query with its positive first, then its negatives."""

    query_id: str
    passage_ids: list[str]


@dataclass(frozen=True)
class TrainingData:
    """Texts and judgments of the training queries.

    Attributes:
        queries: query id -> text.
        passages: document id -> text, of every document that an example can name; empty where an index has their
            vectors.
        positives: query id -> relevant document ids, sorted.
        negatives: query id -> mined document ids, hardest first.
        teacher: query id -> document id -> the score to learn; empty without a teacher.
    """

    queries: dict[str, str]
    passages: dict[str, str]
    positives: dict[str, list[str]]
    negatives: dict[str, list[str]]
    teacher: Run = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 of all of it; hex."""
        digest = hashlib.sha256()
        for part in (self.queries, self.passages, self.positives, self.negatives, self.teacher):
            for item in sorted(part.items()):
                digest.update(json.dumps(item).encode())
            digest.update(b"\n")
        return digest.hexdigest()


def load_training_data(
    collection: Collection, qrels: Qrels, negatives: Mapping[str, Sequence[str]], negatives_run: str = ""
) -> TrainingData:
    """Gather the texts that training on ``qrels`` with ``negatives`` needs.

    ``negatives_run`` is the file that these come from, for messages.

    Judged queries and relevant documents without a text are left out, and one warning for each says how many.

    Raises:
        IaaRetrievalError: no query has a relevant document with text, a negative is judged relevant, or the collection
            does not have a negative.
    """
    relevant = {q: {d: grade for d, grade in grades.items() if grade > 0} for q, grades in sorted(qrels.items())}
    relevant = {query_id: grades for query_id, grades in relevant.items() if grades}
    if not relevant:
        raise IaaRetrievalError(f"{collection.name}: no query has a relevant document to train on")
    queries, relevant = with_their_queries(collection, relevant, TRAINING)
    for query_id, grades in relevant.items():
        clash = set(grades) & set(negatives.get(query_id, ()))
        if clash:
            raise IaaRetrievalError(
                f"document {min(clash)} is both relevant to query {query_id} and listed as its negative"
            )
    chosen = {query_id: list(negatives.get(query_id, ())) for query_id in relevant}
    judged = {doc_id for grades in relevant.values() for doc_id in grades}
    mined = {doc_id for ids in chosen.values() for doc_id in ids}
    found = collection.find_documents(sorted(judged | mined))
    collection.require_documents(sorted(mined), found, negatives_run)
    relevant = with_their_documents(collection, relevant, found, TRAINING)
    passages = {doc_id: document.contents for doc_id, document in found.items()}
    empty = {doc_id for doc_id, text in passages.items() if not text}
    positives = {q: kept for q, grades in relevant.items() if (kept := [d for d in sorted(grades) if d not in empty])}
    if not positives:
        raise IaaRetrievalError(f"{collection.name}: every relevant document is empty")
    if judged & empty:
        LOG.warning(
            "%s: %d relevant documents are empty (e.g. %s); left out of %s",
            collection.name,
            len(judged & empty),
            min(judged & empty),
            TRAINING,
        )
    return TrainingData(
        {query_id: queries[query_id] for query_id in relevant},
        passages,
        positives,
        {query_id: [d for d in ids if d not in empty] for query_id, ids in chosen.items() if query_id in relevant},
    )


class ExampleDataset:
    """A map-style dataset: one example per (query, relevant passage), negatives drawn anew each epoch.

    With a teacher, every passage of an example must have a teacher's score: a relevant passage without one, or of a
    query with too few scored negatives, makes no example. One warning says how many make none.

    What is drawn depends on the seed, the epoch and the position only, so a resumed run sees what an
    uninterrupted one sees.

    Args:
        needs_negatives: a query for which there is no negative at all makes no example, for a loss that compares a
            positive with its own negatives only.

    Raises:
        IaaRetrievalError: there is no example.
    """

    def __init__(
        self, data: TrainingData, negatives_per_query: int, seed: int, *, needs_negatives: bool = False
    ) -> None:
        self.data = data
        self._count = negatives_per_query
        self._seed = seed
        self._epoch = 0
        self._take_pool()
        pairs = [(query_id, doc_id) for query_id, ids in data.positives.items() for doc_id in ids]
        self._pairs = [pair for pair in pairs if self._scored(*pair)]
        if not self._pairs:
            raise IaaRetrievalError(
                f"the teacher's run scores no query's positive together with {negatives_per_query} of its negatives; "
                "is it a run of the training queries?"
            )
        _warn_of_fewer(pairs, self._pairs, f"lack the teacher's scores of {negatives_per_query} negatives or their own")
        if needs_negatives:
            scored = self._pairs
            self._pairs = [(query_id, doc_id) for query_id, doc_id in scored if self._possible(query_id)]
            if not self._pairs:
                raise IaaRetrievalError(
                    "no training query has a negative to be compared with: every document that the run ranks is "
                    "relevant; widen --negative-ranks, or give a deeper run"
                )
            _warn_of_fewer(scored, self._pairs, "have no negative of their own or to borrow")
            full = [pair for pair in self._pairs if self._possible(pair[0]) >= negatives_per_query]
            if len(full) < len(self._pairs):
                LOG.warning(
                    "%d of %d training examples have fewer than --negatives-per-query %d negatives; a batch with one "
                    "of them compares as few for each of its queries",
                    len(self._pairs) - len(full),
                    len(self._pairs),
                    negatives_per_query,
                )

    def _take_pool(self) -> None:
        self._pool = sorted({doc_id for ids in self.data.negatives.values() for doc_id in ids})
        self._pooled = frozenset(self._pool)

    def replace_negatives(self, negatives: dict[str, list[str]]) -> None:
        """Draw from other negatives from now on; which examples there are stays."""
        self.data = replace(self.data, negatives=negatives)
        self._take_pool()

    def __len__(self) -> int:
        return len(self._pairs)

    @property
    def has_negatives(self) -> bool:
        """Whether any example has a negative of its own."""
        return self._count > 0 and bool(self._pool)

    def _scored(self, query_id: str, positive: str) -> bool:
        if not self.data.teacher:
            return True
        return (
            positive in self.data.teacher.get(query_id, ())
            and len(self.data.negatives.get(query_id, ())) >= self._count
        )

    def _no_negatives_of(self, query_id: str) -> set[str]:
        """What a query must not borrow: its relevant documents, and the one that is the query itself."""
        return {*self.data.positives[query_id], query_id}

    def _possible(self, query_id: str) -> int:
        """How many negatives a query can have, its own and borrowed ones."""
        return len(self._pool) - len(self._pooled & self._no_negatives_of(query_id))

    def set_epoch(self, epoch: int) -> None:
        """Called by the data loader at the start of each epoch."""
        self._epoch = epoch

    def __getitem__(self, index: int) -> Example:
        return self.peek(index)

    def peek(self, index: int) -> Example:
        """The example that this epoch draws there, for a look at it that is no part of the training."""
        query_id, positive = self._pairs[index]
        rng = random.Random(f"{self._seed}/{self._epoch}/{index}")
        own = self.data.negatives.get(query_id, [])
        drawn = rng.sample(own, min(self._count, len(own)))
        # A query with too few negatives of its own borrows other queries', so that every example is equally long.
        borrowed: list[str] = []
        if len(drawn) < self._count:
            unwanted = {*self._no_negatives_of(query_id), *drawn}
            # Enough of the pool: the query itself can only be drawn in vain where the pool has it.
            enough = 4 * self._count + len(self.data.positives[query_id]) + (query_id in self._pooled)
            borrowed = [d for d in rng.sample(self._pool, min(len(self._pool), enough)) if d not in unwanted]
        return Example(query_id, [positive, *drawn, *borrowed[: self._count - len(drawn)]])


def _warn_of_fewer(pairs: Sequence[tuple[str, str]], left: Sequence[tuple[str, str]], why: str) -> None:
    if len(left) < len(pairs):
        kept = set(left)
        query_id, doc_id = next(pair for pair in pairs if pair not in kept)
        LOG.warning(
            "%d of %d training examples %s (e.g. query %s with document %s); left out",
            len(pairs) - len(left),
            len(pairs),
            why,
            query_id,
            doc_id,
        )
