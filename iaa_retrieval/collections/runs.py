"""TREC runs, and the one rule by which documents with equal scores are ordered."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from iaa_retrieval.collections.lines import check_id, read_lines
from iaa_retrieval.collections.types import Run
from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.files import atomic_file

SCORE_DECIMALS = 6


def rank(hits: Mapping[str, float]) -> list[tuple[str, float]]:
    """A query's documents, best first, with their scores as a run file holds them.

    Higher score first; of equal scores, the greater document id (as a string) first. That is trec_eval's
    order, and scores are rounded to the six decimals of a run file before they are compared, so a run in
    memory, the file written from it and every tool that reads the file agree.
    """
    rounded = ((round(score, SCORE_DECIMALS), doc_id) for doc_id, score in hits.items())
    return [(doc_id, score) for score, doc_id in sorted(rounded, reverse=True)]


def read_run(path: str | Path) -> Run:
    """A run from a TREC file of six columns, gzipped or not; the rank column is ignored, as trec_eval does.

    Raises:
        IaaRetrievalError: a line with other than six columns, a score that is not a finite number, or a
            document that occurs twice for a query, named by file and line; or an empty file.
    """
    run: Run = {}
    for place, line in read_lines(path):
        columns = line.split()
        if len(columns) != 6:
            raise IaaRetrievalError(
                f"{place}: expected 6 columns (query, Q0, document, rank, score, tag), found {len(columns)}"
            )
        query_id, _, doc_id, _, text, _ = columns
        hits = run.setdefault(query_id, {})
        if doc_id in hits:
            raise IaaRetrievalError(f"{place}: document {doc_id!r} occurs twice for query {query_id!r}")
        hits[doc_id] = _parse_score(text, place)
    if not run:
        raise IaaRetrievalError(f"{path} holds no hits")
    return run


def write_run(path: str | Path, run: Run, tag: str) -> None:
    """Write a TREC run, whole or not at all: queries sorted, documents in the order of :func:`rank`.

    Raises:
        IaaRetrievalError: an id or tag that the format cannot hold, or a score that is not finite.
    """
    check_id(tag, f"tag of {path}")
    with atomic_file(path) as stream:
        for query_id in sorted(run):
            check_id(query_id, f"query of {path}")
            require_finite(query_id, run[query_id])
            for position, (doc_id, score) in enumerate(rank(run[query_id]), start=1):
                check_id(doc_id, f"document of {path}")
                stream.write(f"{query_id} Q0 {doc_id} {position} {score:.{SCORE_DECIMALS}f} {tag}\n")


def require_finite(query_id: str, hits: Mapping[str, float]) -> None:
    """Refuse NaN and infinite scores, which have no place in a ranking."""
    for doc_id, score in hits.items():
        if not math.isfinite(score):
            raise IaaRetrievalError(f"query {query_id!r}, document {doc_id!r}: score {score} is not a finite number")


def _parse_score(text: str, place: str) -> float:
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise IaaRetrievalError(f"{place}: score {text!r} is not a finite number")
    return score
