"""TREC DL 2019's BM25 top-100, from a directory that IAA_RETRIEVAL_DATA names."""

from __future__ import annotations

import os
from pathlib import Path


def directory() -> Path:
    """``msmarco-mini`` below IAA_RETRIEVAL_DATA (default: ``../shared``)."""
    return Path(os.environ.get("IAA_RETRIEVAL_DATA", "../shared")) / "msmarco-mini"


def pairs() -> list[tuple[str, str]]:
    """(query, passage) texts of the 43 queries' first 100 passages."""
    from iaa_retrieval.collections.loading import load_collection
    from iaa_retrieval.collections.runs import read_run
    from iaa_retrieval.collections.topics import read_topics

    collection = load_collection(str(directory()))
    queries = {query.query_id: query.text for query in read_topics(f"{directory()}:dl19")}
    run = read_run(directory() / "runs" / "dl19.bm25-top100.trec")
    passages = collection.get_documents(sorted({doc_id for scores in run.values() for doc_id in scores}))
    return [(queries[q], passages[doc_id].contents) for q, scores in run.items() for doc_id in scores]
