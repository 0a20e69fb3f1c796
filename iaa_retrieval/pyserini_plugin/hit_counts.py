"""Counting the hits of a search while Pyserini writes them, and saying where there are fewer than asked for."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

logger = logging.getLogger("iaa_retrieval")

_WHY_NONE = {
    "faiss": "; encode the corpus again",
    "lucene": "; was the index made for the language of the queries (python -m iaa_retrieval.index --language)?",
    "hybrid": "; are the indexes those of the collection that the queries are about?",
}
_WHY_FEW = {
    "faiss": "; this index is searched in part (a graph in a larger one with --ef-search), an index of "
    "`encode ... --index-factory Flat` is searched whole",
    "lucene": "; Lucene finds the documents that share a term with the query, stop words aside",
    "hybrid": "; each part gave what it found, at most the --hits of fusion",
}


@dataclass
class HitCounts:
    """The number of hits that were written for every query of the topics, those without hits included.

    Attributes:
        of_query: by query id.
        asked: the most hits per query that the writer takes.
        max_passage: several hits may be one document, so that fewer than asked for are no surprise.
    """

    of_query: dict[str, int] = field(default_factory=dict)
    asked: int = 0
    max_passage: bool = False


@contextmanager
def counted_hits() -> Iterator[HitCounts]:
    """Count what stock Pyserini writes into a run inside this block, whatever the format and the place."""
    from pyserini import output_writer

    counts = HitCounts()
    stock = output_writer.get_output_writer

    def get_output_writer(*arguments: Any, **options: Any) -> Any:
        writer = stock(*arguments, **options)
        counts.of_query = {str(query_id): 0 for query_id in options.get("topics") or {}}
        counts.asked, counts.max_passage = writer.max_hits, writer.use_max_passage
        write, hits_iterator = writer.write, writer.hits_iterator
        current = ""

        def counting_write(topic: Any, hits: Any) -> None:
            nonlocal current
            current = str(topic)
            counts.of_query.setdefault(current, 0)
            write(topic, hits)

        def counting_iterator(hits: Any) -> Iterator[Any]:
            for hit in hits_iterator(hits):
                counts.of_query[current] += 1
                yield hit

        writer.write, writer.hits_iterator = counting_write, counting_iterator
        return writer

    output_writer.get_output_writer = get_output_writer
    try:
        yield counts
    finally:
        output_writer.get_output_writer = stock


def report_hits(kind: str, counts: HitCounts, *, documents: int | None = None, removed: int = 0) -> None:
    """Say in one line how many queries got fewer hits than they could have, and how many got none.

    Args:
        kind: ``faiss``, ``lucene`` or ``hybrid``. Lucene finds but documents with a term of the query, so that few
            hits are information there; from Faiss every query could have as many as it likes.
        counts: what was written.
        documents: how many the index holds, None where that is unknown.
        removed: hits per query that an option of the search takes away.
    """
    wanted = counts.asked if documents is None else min(counts.asked, documents)
    least = 1 if counts.max_passage else max(1, wanted - removed)
    fewer = [query for query, count in counts.of_query.items() if count < least]
    without = [query for query in fewer if not counts.of_query[query]]
    if not fewer:
        return
    if len(without) == len(counts.of_query):
        logger.warning("no query has a hit (%d queries)%s", len(without), _WHY_NONE[kind])
    elif without == fewer:
        logger.warning(
            "%d of %d queries have no hit and are not in the run (the first: %s)%s",
            *(len(without), len(counts.of_query), without[0], _WHY_FEW[kind]),
        )
    else:
        none = f", {len(without)} of them none at all (the first: {without[0]})" if without else ""
        logger.log(
            logging.WARNING if without or kind == "faiss" else logging.INFO,
            "%d of %d queries have fewer than %d hits%s%s",
            *(len(fewer), len(counts.of_query), wanted, none, _WHY_FEW[kind]),
        )
