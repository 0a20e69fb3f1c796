"""Counting the hits of a search while Pyserini writes them, and saying where there are fewer than asked for."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

logger = logging.getLogger("iaa_retrieval")


class _Search(NamedTuple):
    """What a search says of hits that are missing.

    Attributes:
        why_none: where no query has a hit.
        why_few: where some have fewer than they could.
        level_of_few: how loud that is where none of them is without any.
    """

    why_none: str
    why_few: str
    level_of_few: int = logging.INFO


_SEARCHES = {
    "faiss": _Search(
        "; encode the corpus again",
        "; this index is searched in part (a graph in a larger one with --ef-search), an index of "
        "`encode ... --index-factory Flat` is searched whole",
        logging.WARNING,
    ),
    "vectors": _Search(
        "; encode the corpus again",
        "; a graph is searched in part (more of it with --ef-search), a flat index whole",
        logging.WARNING,
    ),
    "lucene": _Search(
        "; was the index made for the language of the queries (python -m iaa_retrieval.index --language)?",
        "; Lucene finds the documents that share a term with the query, stop words aside",
    ),
    "hybrid": _Search(
        "; are the indexes those of the collection that the queries are about?",
        "; each part gave what it found, at most the --hits of fusion",
    ),
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
        kind: ``faiss``, ``lucene``, ``vectors`` (in Lucene) or ``hybrid``. Lucene finds but documents with a term of
            the query, so that few hits are information there; of vectors every query could have as many as it likes.
        counts: what was written.
        documents: how many the index holds, None where that is unknown.
        removed: hits per query that an option of the search takes away.
    """
    search = _SEARCHES[kind]
    wanted = counts.asked if documents is None else min(counts.asked, documents)
    least = 1 if counts.max_passage else max(1, wanted - removed)
    fewer = [query for query, count in counts.of_query.items() if count < least]
    without = [query for query in fewer if not counts.of_query[query]]
    if not fewer:
        return
    if len(without) == len(counts.of_query):
        logger.warning("no query has a hit (%d queries)%s", len(without), search.why_none)
    elif without == fewer:
        logger.warning(
            "%d of %d queries have no hit and are not in the run (the first: %s)%s",
            *(len(without), len(counts.of_query), without[0], search.why_few),
        )
    else:
        none = f", {len(without)} of them none at all (the first: {without[0]})" if without else ""
        logger.log(
            logging.WARNING if without else search.level_of_few,
            "%d of %d queries have fewer than %d hits%s%s",
            *(len(fewer), len(counts.of_query), wanted, none, search.why_few),
        )
