"""Hard negatives: what a first-stage run ranks high although nobody judged it relevant."""

from __future__ import annotations

import math
import re
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
    without_margin: int = 0
    """Judged queries whose best positive scores 0 or less, of which a relative margin means nothing: they keep all."""

    def __str__(self) -> str:
        unbounded = (
            f"; {self.without_margin} queries keep theirs whatever they score, for their positive scores 0 or less and "
            "has no share to compare with"
        )
        return (
            f"{self.kept} kept for {self.queries} queries ({self.queries_without_hits} of them without a hit); dropped "
            f"{self.dropped_positive} that are relevant, {self.dropped_self} that are the query itself and "
            f"{self.dropped_margin} within the margin of the positive{unbounded if self.without_margin else ''}"
        )


class Margin(NamedTuple):
    """How close to its query's positive a negative may score.

    Attributes:
        amount: by how much less than the positive it must score; or, if ``relative``, the most that it may score, as
            a share of the positive's score (NV-Retriever's positive-aware mining, arXiv:2407.15831).
        relative: which of the two.
    """

    amount: float
    relative: bool = False

    def ceiling(self, positive: float) -> float | None:
        """The highest score that a negative may have beside a positive of that score; None where none is too high."""
        if not self.relative:
            return positive - self.amount
        return self.amount * positive if positive > 0 else None


def parse_margin(value: float | str) -> Margin:
    """A margin from ``0.5`` (a difference of scores) or ``"95%"`` (a share of the positive's score).

    Raises:
        UsageError: neither a difference of 0 or more, nor a share above 0% and up to 100%.
    """
    match = re.fullmatch(r"\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*(%?)\s*", str(value), re.IGNORECASE)
    try:
        amount = float(match.group(1)) if match else math.nan
    except ValueError:
        amount = math.nan
    relative = match is not None and match.group(2) == "%"
    if not math.isfinite(amount) or (relative and not 0 < amount <= 100):
        raise UsageError(
            f"a margin of {value!r} is neither a difference of scores, 0 or more, nor a share of the positive's score "
            "such as 95%"
        )
    return Margin(amount / 100, relative=True) if relative else Margin(amount)


def is_margin(value: float | str) -> bool:
    """Whether ``parse_margin`` takes it."""
    try:
        parse_margin(value)
    except UsageError:
        return False
    return True


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
    margin: float | str | None = None,
) -> tuple[dict[str, list[str]], MiningReport]:
    """Negatives for every judged query, best ranked first.

    A document that is the query itself is taken out of the run beforehand, as ``search --remove-query`` does.

    Args:
        run: the first stage, such as BM25.
        qrels: grades above 0 are positives and never become negatives; grade 0 and unjudged documents may.
        first_rank, last_rank: the window of ranks (from 1, inclusive) that negatives come from.
        per_query: keep at most this many per query.
        margin: leave out documents whose score exceeds that of the query's best-scored positive minus
            ``margin`` or, of one such as ``"95%"``, that share of the positive's score: probably they are relevant
            and nobody judged them. Without effect where the run has no positive, nor a share where the positive
            scores 0 or less, which the counts say.

    Returns:
        Query id -> document ids (empty for a query that the run lacks), and the counts.

    Raises:
        UsageError: a window, number or margin that cannot be meant.
    """
    if not 1 <= first_rank <= last_rank:
        raise UsageError(f"the rank window must satisfy 1 <= first <= last, not {first_rank} to {last_rank}")
    if per_query is not None and per_query < 1:
        raise UsageError(f"per_query must be at least 1, not {per_query}")
    negatives: dict[str, list[str]] = {}
    allowed = None if margin is None else parse_margin(margin)
    without_hits = dropped_positive = dropped_margin = dropped_self = without_margin = 0
    for query_id, grades in qrels.items():
        found = run.get(query_id, {})
        others = {doc_id: score for doc_id, score in found.items() if not is_query_itself(query_id, doc_id, grades)}
        dropped_self += len(found) - len(others)
        hits = rank(others)
        without_hits += not hits
        positives = {doc_id for doc_id, grade in grades.items() if grade > 0}
        best = max((score for doc_id, score in hits if doc_id in positives), default=None)
        ceiling = None
        if allowed is not None and best is not None:
            ceiling = allowed.ceiling(best)
            without_margin += ceiling is None
        kept = negatives[query_id] = []
        for doc_id, score in hits[first_rank - 1 : last_rank]:
            if doc_id in positives:
                dropped_positive += 1
            elif ceiling is not None and score > ceiling:
                dropped_margin += 1
            elif per_query is None or len(kept) < per_query:
                kept.append(doc_id)
    total = sum(map(len, negatives.values()))
    counts = (without_hits, dropped_positive, dropped_margin, total, dropped_self, without_margin)
    return negatives, MiningReport(len(qrels), *counts)
