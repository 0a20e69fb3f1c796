"""Training examples: queries with their relevant passages and mined negatives, checked before anything is trained."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from iaa_retrieval.collections.base import Collection
from iaa_retrieval.collections.types import Qrels, Run
from iaa_retrieval.errors import IaaRetrievalError


class Example(NamedTuple):
    """One query with its positive first, then its negatives."""

    query_id: str
    passage_ids: list[str]


@dataclass(frozen=True)
class TrainingData:
    """Texts and judgments of the training queries.

    Attributes:
        queries: query id -> text.
        passages: document id -> text, of every document that an example can name.
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


def load_training_data(collection: Collection, qrels: Qrels, negatives: Mapping[str, Sequence[str]]) -> TrainingData:
    """Gather the texts that training on ``qrels`` with ``negatives`` needs.

    Raises:
        IaaRetrievalError: no query has a relevant document with text, a judged query or document is missing from
            the collection, a negative is judged relevant, or a query is empty. Empty documents are left out.
    """
    positives = {
        query_id: sorted(doc_id for doc_id, grade in grades.items() if grade > 0) for query_id, grades in qrels.items()
    }
    positives = {query_id: doc_ids for query_id, doc_ids in sorted(positives.items()) if doc_ids}
    if not positives:
        raise IaaRetrievalError(f"{collection.name}: no query has a relevant document to train on")
    queries = {query.query_id: query.text for query in collection.queries() if query.query_id in positives}
    for query_id in positives:
        if query_id not in queries:
            raise IaaRetrievalError(
                f"{collection.name}: its qrels judge query {query_id}, which its queries do not have"
            )
        if not queries[query_id].strip():
            raise IaaRetrievalError(f"{collection.name}: query {query_id} is empty")
        clash = set(positives[query_id]) & set(negatives.get(query_id, ()))
        if clash:
            raise IaaRetrievalError(
                f"document {min(clash)} is both relevant to query {query_id} and listed as its negative"
            )
    chosen = {query_id: list(negatives.get(query_id, ())) for query_id in positives}
    wanted = {doc_id for ids in (*positives.values(), *chosen.values()) for doc_id in ids}
    passages = {doc_id: document.contents for doc_id, document in collection.get_documents(sorted(wanted)).items()}
    empty = {doc_id for doc_id, text in passages.items() if not text}
    positives = {q: kept for q, ids in positives.items() if (kept := [d for d in ids if d not in empty])}
    if not positives:
        raise IaaRetrievalError(f"{collection.name}: every relevant document is empty")
    return TrainingData(
        queries,
        passages,
        positives,
        {query_id: [d for d in ids if d not in empty] for query_id, ids in chosen.items()},
    )


class ExampleDataset:
    """A map-style dataset: one example per (query, relevant passage), negatives drawn anew each epoch.

    With a teacher, every passage of an example must have a teacher's score: a relevant passage without one, or of a
    query with too few scored negatives, makes no example.

    What is drawn depends on the seed, the epoch and the position only, so a resumed run sees what an
    uninterrupted one sees.
    """

    def __init__(self, data: TrainingData, negatives_per_query: int, seed: int) -> None:
        self.data = data
        self._count = negatives_per_query
        self._seed = seed
        self._epoch = 0
        self._pairs = [
            (query_id, doc_id)
            for query_id, ids in data.positives.items()
            for doc_id in ids
            if self._usable(query_id, doc_id)
        ]
        if not self._pairs:
            raise IaaRetrievalError(
                f"the teacher's run scores no query's positive together with {negatives_per_query} of its negatives; "
                "is it a run of the training queries?"
            )
        self._pool = sorted({doc_id for ids in data.negatives.values() for doc_id in ids})

    def __len__(self) -> int:
        return len(self._pairs)

    def _usable(self, query_id: str, positive: str) -> bool:
        if not self.data.teacher:
            return True
        return (
            positive in self.data.teacher.get(query_id, ())
            and len(self.data.negatives.get(query_id, ())) >= self._count
        )

    def set_epoch(self, epoch: int) -> None:
        """Called by the data loader at the start of each epoch."""
        self._epoch = epoch

    def __getitem__(self, index: int) -> Example:
        query_id, positive = self._pairs[index]
        rng = random.Random(f"{self._seed}/{self._epoch}/{index}")
        own = self.data.negatives.get(query_id, [])
        drawn = rng.sample(own, min(self._count, len(own)))
        relevant = set(self.data.positives[query_id])
        # A query with too few negatives of its own borrows other queries', so that every example is equally long.
        candidates = (
            [
                d
                for d in rng.sample(self._pool, min(len(self._pool), 4 * self._count + len(relevant)))
                if d not in relevant and d not in drawn
            ]
            if len(drawn) < self._count
            else []
        )
        return Example(query_id, [positive, *drawn, *candidates[: self._count - len(drawn)]])
