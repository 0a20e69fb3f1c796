"""Hard negatives: what a first-stage run ranks high although nobody judged it relevant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from iaa_retrieval.collections.runs import rank
from iaa_retrieval.collections.types import Qrels, Run
from iaa_retrieval.errors import UsageError


class MiningReport(NamedTuple):
    """What happened to the documents within the rank window."""

    queries: int
    """Judged queries."""
    queries_without_hits: int
    """Judged queries without a hit in the run (other than themselves); they get no negatives."""
    dropped_positive: int
    """Documents left out because they are judged relevant."""
    dropped_margin: int
    """Documents left out because they score too close to, or above, the positive."""
    kept: int
    """Negatives returned, after ``per_query``."""
    dropped_self: int = 0
    """Hits left out because they are the query itself, a document of the collection; the ranks close up."""

    def __str__(self) -> str:
        return (
            f"{self.kept} kept for {self.queries} queries ({self.queries_without_hits} of them without a hit); dropped "
            f"{self.dropped_positive} that are relevant, {self.dropped_self} that are the query itself and "
            f"{self.dropped_margin} within the margin of the positive"
        )


def is_query_itself(query_id: str, doc_id: str, grades: Mapping[str, int]) -> bool:
    """Whether a document is the query under the same id, as in ArguAna, and so no answer to it.

    One that is judged relevant is an answer, whatever its id.

    Args:
        grades: the query's judgments.
    """
    return doc_id == query_id and grades.get(doc_id, 0) <= 0


def mine_negatives(
    run: Run,
    qrels: Qrels,
    *,
    first_rank: int = 1,
    last_rank: int = 100,
    per_query: int | None = None,
    margin: float | None = None,
) -> tuple[dict[str, list[str]], MiningReport]:
    """Negatives for every judged query, best ranked first.

    A document that is the query itself is taken out of the run beforehand, as ``search --remove-query`` does.

    Args:
        run: the first stage, such as BM25.
        qrels: grades above 0 are positives and never become negatives; grade 0 and unjudged documents may.
        first_rank, last_rank: the window of ranks (from 1, inclusive) that negatives come from.
        per_query: keep at most this many per query.
        margin: leave out documents whose score exceeds that of the query's best-scored positive minus
            ``margin``: probably they are relevant and nobody judged them. Without effect where the run has no
            positive.

    Returns:
        Query id -> document ids (empty for a query that the run lacks), and the counts.
    """
    if not 1 <= first_rank <= last_rank:
        raise UsageError(f"the rank window must satisfy 1 <= first <= last, not {first_rank} to {last_rank}")
    if per_query is not None and per_query < 1:
        raise UsageError(f"per_query must be at least 1, not {per_query}")
    negatives: dict[str, list[str]] = {}
    without_hits = dropped_positive = dropped_margin = dropped_self = 0
    for query_id, grades in qrels.items():
        found = run.get(query_id, {})
        others = {doc_id: score for doc_id, score in found.items() if not is_query_itself(query_id, doc_id, grades)}
        dropped_self += len(found) - len(others)
        hits = rank(others)
        without_hits += not hits
        positives = {doc_id for doc_id, grade in grades.items() if grade > 0}
        ceiling = None
        if margin is not None:
            ceiling = max((score - margin for doc_id, score in hits if doc_id in positives), default=None)
        kept = negatives[query_id] = []
        for doc_id, score in hits[first_rank - 1 : last_rank]:
            if doc_id in positives:
                dropped_positive += 1
            elif ceiling is not None and score > ceiling:
                dropped_margin += 1
            elif per_query is None or len(kept) < per_query:
                kept.append(doc_id)
    total = sum(map(len, negatives.values()))
    return negatives, MiningReport(len(qrels), without_hits, dropped_positive, dropped_margin, total, dropped_self)
