"""One query at a time in a warm process: encode, search, re-rank."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import scifact
from benchmarks.section import Round, Section, Value

QUERIES, WARM_UP, HITS = 50, 5, 100


def measure(directory: Path) -> Round:
    """Milliseconds of each part, and of encoding and search together, at the 50th and 95th percentile."""
    from iaa_retrieval.collections.loading import load_collection
    from iaa_retrieval.collections.topics import read_topics
    from iaa_retrieval.pyserini_plugin.encoders import IaaQueryEncoder  # isort: skip
    from pyserini.search.faiss import FaissSearcher

    index = scifact.dense_index(directory)
    queries = [query.text for query in read_topics(scifact.TOPICS)[: QUERIES + WARM_UP]]
    passages = {document.doc_id: document.contents for document in load_collection(scifact.COLLECTION).documents()}
    encoder = IaaQueryEncoder("all-MiniLM-L6-v2")
    searcher = FaissSearcher(str(index), encoder)
    rerank = _reranker()
    times: dict[str, list[float]] = {"encode": [], "search": [], "encode_and_search": [], "rerank": []}
    for text in queries:
        start = time.perf_counter()
        vector = encoder.encode(text)
        encoded = time.perf_counter()
        hits = searcher.search(vector[None], k=HITS)
        searched = time.perf_counter()
        rerank([(text, passages[hit.docid]) for hit in hits])
        reranked = time.perf_counter()
        for name, seconds in (
            ("encode", encoded - start),
            ("search", searched - encoded),
            ("encode_and_search", searched - start),
            ("rerank", reranked - searched),
        ):
            times[name].append(1000 * seconds)
    return {
        f"{name}_p{percent}": float(np.percentile(values[WARM_UP:], percent))
        for name, values in times.items()
        for percent in (50, 95)
    }


def _reranker() -> Any:
    import torch

    from iaa_retrieval.inference.cpu_kernels import use_cpu_kernels
    from iaa_retrieval.inference.pair_scorer import score_pairs
    from iaa_retrieval.models.new_retriever import new_cross_encoder
    from iaa_retrieval.pyserini_plugin.threads import use_all_threads

    model = new_cross_encoder("all-MiniLM-L6-v2")
    model.to(torch.bfloat16).eval()
    use_cpu_kernels(model)

    def rerank(pairs: list[tuple[str, str]]) -> None:
        use_all_threads()  # as IaaReranker does
        score_pairs(model, pairs)

    return rerank


SECTION = Section(
    name="one_query",
    title="One query at a time",
    text=(
        f"{QUERIES} of SciFact's test queries, one after the other in a warm process: encoded in fp32, searched in the "
        f"flat index of 5,183 abstracts ({HITS} hits), and all {HITS} re-ranked by a MiniLM cross-encoder in bf16 "
        "(about 250 tokens a pair)."
    ),
    measure=measure,
    values=tuple(
        Value(f"{name}_p{percent}", f"{label}, p{percent}", "ms", 1, limit=limit if percent == 50 else None)
        for name, label, limit in (
            ("encode", "encode", None),
            ("search", "search", None),
            ("encode_and_search", "encode and search", 15.0),
            ("rerank", "re-rank 100", None),
        )
        for percent in (50, 95)
    ),
)
