"""Judgments of queries and documents that a collection does not have: left out, and said so."""

from __future__ import annotations

import logging
from collections.abc import Container

from iaa_retrieval.collections.base import Collection
from iaa_retrieval.collections.types import Qrels
from iaa_retrieval.errors import IaaRetrievalError

LOG = logging.getLogger("iaa_retrieval")

# What judgments are for, as warnings name it.
TRAINING = "training"
DEV = "the dev queries"


def with_their_queries(collection: Collection, qrels: Qrels, use: str) -> tuple[dict[str, str], Qrels]:
    """The texts of the judged queries, and the judgments of those that have one.

    Args:
        use: what the judgments are for, as the warning about those left out names it.

    Raises:
        IaaRetrievalError: the collection has no text for any of the queries.
    """
    texts = {query.query_id: query.text for query in collection.queries() if query.query_id in qrels}
    missing = [query_id for query_id in qrels if query_id not in texts]
    empty = [query_id for query_id, text in texts.items() if not text.strip()]
    kept = {query_id: grades for query_id, grades in qrels.items() if texts.get(query_id, "").strip()}
    if qrels and not kept:
        why = (
            f"its qrels judge query {missing[0]}, which its queries do not have"
            if missing
            else f"query {empty[0]} is empty"
        )
        raise IaaRetrievalError(
            f"{collection.name}: {why}, and none of the {len(qrels)} judged queries has a text; "
            "are these judgments of another collection?"
        )
    without_text = empty if collection.warns_of_missing_queries else missing + empty
    if without_text:
        LOG.warning(
            "%s: %d of %d judged queries are missing from its queries or empty (e.g. %s); left out of %s",
            collection.name,
            len(without_text),
            len(qrels),
            without_text[0],
            use,
        )
    return {query_id: texts[query_id] for query_id in kept}, kept


def with_their_documents(collection: Collection, qrels: Qrels, found: Container[str], use: str) -> Qrels:
    """The judgments of documents that are in the collection.

    A query of which every relevant document is missing is left out with them.

    Args:
        found: the ids of the judged documents that the collection has.
        use: as above.

    Raises:
        IaaRetrievalError: the collection has none of the judged documents.
    """
    missing = [(query_id, doc_id) for query_id, grades in qrels.items() for doc_id in grades if doc_id not in found]
    if not missing:
        return qrels
    query_id, doc_id = missing[0]
    judged = sum(map(len, qrels.values()))
    if len(missing) == judged:
        raise IaaRetrievalError(
            f"document {doc_id!r} is not in collection {collection.name}, nor is any other of its {judged} judged "
            "documents; are these judgments of another collection?"
        )
    LOG.warning(
        "%s: %d of %d judged documents are not in it (e.g. %s of query %s); left out of %s",
        collection.name,
        len(missing),
        judged,
        doc_id,
        query_id,
        use,
    )
    kept = {q: {d: grade for d, grade in grades.items() if d in found} for q, grades in qrels.items()}
    return {q: grades for q, grades in kept.items() if _has_relevant(grades) or not _has_relevant(qrels[q])}


def _has_relevant(grades: dict[str, int]) -> bool:
    return any(grade > 0 for grade in grades.values())
