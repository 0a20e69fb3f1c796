"""Dev scores during training, on held-out queries only."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch

from iaa_retrieval.collections.base import Collection
from iaa_retrieval.collections.types import Qrels, Run
from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.evaluation.metrics import evaluate, mean, parse_metrics
from iaa_retrieval.inference.pair_scorer import score_pairs
from iaa_retrieval.inference.text_encoder import encode_passages, encode_queries
from iaa_retrieval.models.bi_encoder import BiEncoder
from iaa_retrieval.models.cross_encoder import CrossEncoder
from iaa_retrieval.training.options import DEV_METRICS


def bi_encoder_dev_evaluator(
    bi_encoder: BiEncoder,
    collection: Collection,
    qrels: Qrels,
    *,
    sample_size: int,
    distractors: Mapping[str, list[str]],
    precision: str,
    seed: int,
) -> Callable[[], dict[str, float]]:
    """Score dev queries by exact search over a sampled corpus.

    The corpus is every judged document, the queries' ``distractors`` (their mined negatives, where a run gives
    some) and a random sample up to ``sample_size`` documents. Its scores compare training runs with each other;
    they are higher than scores over the full collection.
    """
    queries = _texts_of(collection, qrels)
    chosen = {doc_id for grades in qrels.values() for doc_id in grades}
    chosen |= {doc_id for query_id in queries for doc_id in distractors.get(query_id, ())}
    others = sorted(document.doc_id for document in collection.documents() if document.doc_id not in chosen)
    extra = max(0, sample_size - len(chosen))
    chosen |= set(random.Random(seed).sample(others, min(extra, len(others))))
    doc_ids = sorted(chosen)
    documents = collection.get_documents(doc_ids)
    texts = [documents[doc_id].contents for doc_id in doc_ids]
    query_ids = list(queries)

    def evaluate_dev() -> dict[str, float]:
        with _inference_precision(precision, bi_encoder.device):
            vectors = encode_passages(bi_encoder, texts)
            scores = encode_queries(bi_encoder, [queries[q] for q in query_ids]) @ vectors.T
        run: Run = {}
        for query_id, row in zip(query_ids, scores, strict=True):
            top = np.argsort(-row)[:100]
            run[query_id] = {doc_ids[i]: float(row[i]) for i in top}
        return _mean_scores(qrels, run)

    return evaluate_dev


def cross_encoder_dev_evaluator(
    cross_encoder: CrossEncoder,
    collection: Collection,
    qrels: Qrels,
    *,
    candidates: Run,
    precision: str,
) -> Callable[[], dict[str, float]]:
    """Score dev queries by re-ranking ``candidates``, a first-stage run already cut to the wanted depth."""
    queries = {query_id: text for query_id, text in _texts_of(collection, qrels).items() if query_id in candidates}
    if not queries:
        raise IaaRetrievalError("the run to re-rank has none of the dev queries; give one that has, with --dev-run")
    documents = collection.get_documents(sorted({d for query_id in queries for d in candidates[query_id]}))
    keys = [(query_id, doc_id) for query_id in queries for doc_id in candidates[query_id]]
    pairs = [(queries[query_id], documents[doc_id].contents) for query_id, doc_id in keys]
    judged = {query_id: qrels[query_id] for query_id in queries}

    def evaluate_dev() -> dict[str, float]:
        with _inference_precision(precision, cross_encoder.device):
            scores = score_pairs(cross_encoder, pairs)
        run: Run = {query_id: {} for query_id in queries}
        for (query_id, doc_id), score in zip(keys, scores, strict=True):
            run[query_id][doc_id] = float(score)
        return _mean_scores(judged, run)

    return evaluate_dev


def _texts_of(collection: Collection, qrels: Qrels) -> dict[str, str]:
    texts = {query.query_id: query.text for query in collection.queries()}
    for query_id in qrels:
        if query_id not in texts:
            raise IaaRetrievalError(
                f"{collection.name}: its qrels judge query {query_id}, which its queries do not have"
            )
    return {query_id: texts[query_id] for query_id in sorted(qrels)}


def _mean_scores(qrels: Qrels, run: Run) -> dict[str, float]:
    per_metric = evaluate(qrels, run, parse_metrics(" ".join(DEV_METRICS)))
    return {name: mean(values) for name, values in per_metric.items()}


def _inference_precision(precision: str, device: torch.device) -> AbstractContextManager[object]:
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16 if precision == "bf16" else torch.float16)
