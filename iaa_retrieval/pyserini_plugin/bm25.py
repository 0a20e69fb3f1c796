"""BM25 in this process, with the scores of the stock command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from iaa_retrieval.collections.runs import rank
from iaa_retrieval.collections.types import Query, Run
from iaa_retrieval.pyserini_plugin.hit_counts import HitCounts, report_hits
from iaa_retrieval.pyserini_plugin.index_directories import open_lucene_index, require_lucene_index
from iaa_retrieval.pyserini_plugin.jvm import allow_long_queries, java_errors
from iaa_retrieval.pyserini_plugin.lucene_analysis import Analysis, read_analysis, set_analysis

# Pyserini's defaults, used by its BEIR baselines.
K1 = 0.9
B = 0.4


def bm25_run(index: str | Path, queries: Sequence[Query], *, hits: int = 1000, threads: int = 1) -> Run:
    """Search a Lucene index as ``pyserini.search.lucene --bm25 --remove-query`` does (k1=0.9, b=0.4).

    Queries are analysed as the index says that it was; one of another origin is taken for English.

    Args:
        index: the index directory.
        queries: what to search for; a query that matches nothing has no hits in the run, which a warning counts.
        hits: the most documents per query.
        threads: queries searched at a time.

    Raises:
        IaaRetrievalError: no Java, the directory holds no Lucene index, or Lucene cannot read it.
    """
    require_lucene_index(str(index))
    searcher = open_lucene_index(str(index))
    allow_long_queries()
    set_analysis(searcher, read_analysis(index) or Analysis())
    searcher.set_bm25(K1, B)
    with java_errors(f"search {index}"):
        found = searcher.batch_search(
            [query.text for query in queries], [query.query_id for query in queries], k=hits, threads=threads
        )
    run: Run = {}
    for query in queries:
        # A document that is the query itself (as in ArguAna) is no answer to it. The stock command writes six decimals.
        scores = {hit.docid: round(float(hit.score), 6) for hit in found[query.query_id] if hit.docid != query.query_id}
        run[query.query_id] = dict(rank(scores))
    report_hits("lucene", HitCounts({query_id: len(of_query) for query_id, of_query in run.items()}))
    return run
