"""TREC runs, and the one rule by which documents with equal scores are ordered."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from iaa_retrieval.collections.lines import check_id, read_lines
from iaa_retrieval.collections.types import Run
from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.files import atomic_file

SCORE_DECIMALS = 6
EXACT_DIGITS = 9  # significant decimal digits that tell any two float32 numbers apart
LARGEST_FLOAT32 = 3.4028234e38


def rank(hits: Mapping[str, float]) -> list[tuple[str, float]]:
    """A query's documents, best first, with their scores.

    Higher score first; of equal scores, the greater document id (as a string) first. Scores are compared as float32
    numbers. That is trec_eval's order exactly, so a run in memory, the file written from it and every tool that reads
    the file agree.
    """
    keys = zip(_as_float32(hits.values()), hits, strict=True)
    return [(doc_id, hits[doc_id]) for _, doc_id in sorted(keys, reverse=True)]


def read_run(path: str | Path) -> Run:
    """A run from a TREC file of six columns, gzipped or not; the rank column is ignored, as trec_eval does.

    Args:
        path: the file.

    Returns:
        Query id -> document id -> score; ``rank`` orders the documents of a query.

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


def read_tag(path: str | Path) -> str:
    """The tag of a run file, as its first line has it; empty where that line has none.

    Raises:
        IaaRetrievalError: the file cannot be read.
    """
    first = next((line for _, line in read_lines(path)), "")
    columns = first.split()
    return columns[5] if len(columns) == 6 else ""


def write_run(path: str | Path, run: Run, tag: str) -> None:
    """Write a TREC run, whole or not at all: queries sorted, documents in the order of ``rank``.

    A query's scores have six decimals, or where these would change its order as many digits as tell them apart.

    Args:
        path: the file; its folder is made where it is missing.
        run: query id -> document id -> score.
        tag: the last column of every line, a name for the system without white space.

    Raises:
        IaaRetrievalError: an id or tag that the format cannot hold, or a score that is not finite.
    """
    check_id(tag, f"tag of {path}")
    with atomic_file(path) as stream:
        for query_id in sorted(run):
            check_id(query_id, f"query of {path}")
            require_finite(query_id, run[query_id])
            ranked = rank(run[query_id])
            for position, ((doc_id, _), score) in enumerate(zip(ranked, _as_text(ranked), strict=True), start=1):
                check_id(doc_id, f"document of {path}")
                stream.write(f"{query_id} Q0 {doc_id} {position} {score} {tag}\n")


def require_finite(query_id: str, hits: Mapping[str, float]) -> None:
    """Refuse scores that are not finite float32 numbers, which have no place in a ranking."""
    for doc_id, score in hits.items():
        if not abs(score) <= LARGEST_FLOAT32:  # also where it is not a number
            raise IaaRetrievalError(f"query {query_id!r}, document {doc_id!r}: score {score} is not a finite number")


def _as_float32(scores: Iterable[float]) -> Sequence[float]:
    return array("f", scores)


def _as_text(ranked: Sequence[tuple[str, float]]) -> list[str]:
    """The scores of a ranking as a run file holds them; whoever reads them finds the same order."""
    scores = [score for _, score in ranked]
    rounded = [f"{score:.{SCORE_DECIMALS}f}" for score in scores]
    read_again = zip(_as_float32(map(float, rounded)), (doc_id for doc_id, _ in ranked), strict=True)
    if all(better > worse for better, worse in pairwise(read_again)):
        return rounded
    return [f"{score:.{EXACT_DIGITS}g}" for score in _as_float32(scores)]


def _parse_score(text: str, place: str) -> float:
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise IaaRetrievalError(f"{place}: score {text!r} is not a finite number")
    return score
