"""Holding out training queries for validation where a collection has no dev split."""

from __future__ import annotations

import hashlib

from iaa_retrieval.collections.types import Qrels
from iaa_retrieval.errors import IaaRetrievalError, UsageError


def hold_out(qrels: Qrels, fraction: float, seed: int) -> tuple[Qrels, Qrels]:
    """Split the queries into ``(training, held-out)``.

    A seeded hash of the query id decides, so the split is the same on every machine and for every order of
    ``qrels``. Both sides get at least one query.

    Args:
        fraction: share of the queries to hold out, above 0 and below 1.
    """
    if not 0 < fraction < 1:
        raise UsageError(f"the fraction to hold out must lie between 0 and 1, not {fraction}")
    if len(qrels) < 2:
        raise IaaRetrievalError(f"cannot hold out queries: there are only {len(qrels)}")
    count = min(max(1, round(fraction * len(qrels))), len(qrels) - 1)
    shuffled = sorted(qrels, key=lambda query_id: hashlib.sha256(f"{seed}:{query_id}".encode()).digest())
    held_out = set(shuffled[:count])
    return (
        {query_id: grades for query_id, grades in qrels.items() if query_id not in held_out},
        {query_id: grades for query_id, grades in qrels.items() if query_id in held_out},
    )
