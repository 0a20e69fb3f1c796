"""BM25 in this process, with the scores of the stock command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from iaa_retrieval.collections.runs import rank
from iaa_retrieval.collections.types import Query, Run
from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.pyserini_plugin.java import prepare_java

# Pyserini's defaults, used by its BEIR baselines.
K1 = 0.9
B = 0.4


def bm25_run(index: str | Path, queries: Sequence[Query], *, hits: int = 1000, threads: int = 1) -> Run:
    """Search a Lucene index as ``pyserini.search.lucene --bm25 --remove-query`` does (k1=0.9, b=0.4).

    Args:
        index: the index directory.
        queries: what to search for; a query that matches nothing has no hits in the run.
        hits: the most documents per query.
        threads: queries searched at a time.

    Raises:
        IaaRetrievalError: no Java, or the directory holds no Lucene index.
    """
    if not any(Path(index).glob("segments_*")):
        raise IaaRetrievalError(f"{index} is no Lucene index; make one with: python -m iaa_retrieval.index")
    prepare_java()
    from pyserini.search.lucene import LuceneSearcher

    searcher = LuceneSearcher(str(index))
    searcher.set_bm25(K1, B)
    found = searcher.batch_search(
        [query.text for query in queries], [query.query_id for query in queries], k=hits, threads=threads
    )
    run: Run = {}
    for query in queries:
        # A document that is the query itself (as in ArguAna) is no answer to it.
        scores = {hit.docid: float(hit.score) for hit in found[query.query_id] if hit.docid != query.query_id}
        run[query.query_id] = dict(rank(scores))
    return run
