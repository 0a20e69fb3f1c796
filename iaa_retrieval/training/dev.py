"""Dev scores during training, on held-out queries only."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import nn

from iaa_retrieval.collections.base import Collection
from iaa_retrieval.collections.negatives import is_query_itself
from iaa_retrieval.collections.types import Qrels, Run
from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.evaluation.metrics import evaluate, mean, parse_metrics
from iaa_retrieval.inference.pair_scorer import score_pairs
from iaa_retrieval.inference.text_encoder import encode_passages, encode_queries
from iaa_retrieval.models.bi_encoder import BiEncoder
from iaa_retrieval.models.cross_encoder import CrossEncoder
from iaa_retrieval.training.dangling_judgments import DEV, with_their_documents, with_their_queries
from iaa_retrieval.training.option_groups import DEV_METRICS

DEPTH = 100  # hits of a dev query that are scored


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
    they are higher than scores over the full collection. A document that is the query itself is no hit of it.
    """
    queries, qrels = with_their_queries(collection, qrels, DEV)
    judged = {doc_id for grades in qrels.values() for doc_id in grades}
    chosen = judged | {doc_id for query_id in queries for doc_id in distractors.get(query_id, ())}
    found: set[str] = set()
    others = []
    for document in collection.documents():
        if document.doc_id in chosen:
            found.add(document.doc_id)
        else:
            others.append(document.doc_id)
    others.sort()
    qrels = with_their_documents(collection, qrels, found, DEV)
    queries = {query_id: queries[query_id] for query_id in sorted(qrels)}
    chosen -= judged - found
    extra = max(0, sample_size - len(chosen))
    chosen |= set(random.Random(seed).sample(others, min(extra, len(others))))
    doc_ids = sorted(chosen)
    documents = collection.get_documents(doc_ids)
    texts = [documents[doc_id].contents for doc_id in doc_ids]
    place = {doc_id: i for i, doc_id in enumerate(doc_ids)}
    query_ids = list(queries)

    def evaluate_dev() -> dict[str, float]:
        with inference_precision(precision, bi_encoder.device):
            vectors = encode_passages(bi_encoder, texts)
            scores = encode_queries(bi_encoder, [queries[q] for q in query_ids]) @ vectors.T
        run: Run = {}
        for query_id, row in zip(query_ids, scores, strict=True):
            top = [doc_ids[i] for i in np.argsort(-row)[: DEPTH + 1]]  # one more, if the query itself is among them
            hits = [doc_id for doc_id in top if not is_query_itself(query_id, doc_id, qrels[query_id])][:DEPTH]
            run[query_id] = {doc_id: float(row[place[doc_id]]) for doc_id in hits}
        return mean_scores(qrels, run)

    return evaluate_dev


class RerankedDev:
    """Scores dev queries by re-ranking the hits of a first stage; a call gives their means by metric.

    Args:
        cross_encoder: as it is at each call.
        queries: query id -> text.
        candidates: the first stage's hits of these queries, with its scores.
        texts: document id -> text, of all candidates.
        judged: what is relevant to them.
        precision: that the scores are computed in.
    """

    def __init__(
        self,
        cross_encoder: CrossEncoder,
        queries: Mapping[str, str],
        candidates: Run,
        texts: Mapping[str, str],
        judged: Qrels,
        precision: str,
    ) -> None:
        self.candidates = {query_id: candidates[query_id] for query_id in queries}
        self.judged = judged
        self._cross_encoder = cross_encoder
        self._precision = precision
        self._keys = [(query_id, doc_id) for query_id in queries for doc_id in self.candidates[query_id]]
        self._pairs = [(queries[query_id], texts[doc_id]) for query_id, doc_id in self._keys]
        self._last: tuple[str, Run] | None = None

    def run(self) -> Run:
        """The candidates with the cross-encoder's own scores; those of the last call, if the weights are the same."""
        weights = _digest_of_trained(self._cross_encoder)
        if self._last is None or self._last[0] != weights:
            self._last = weights, self._scored()
        return self._last[1]

    def _scored(self) -> Run:
        with inference_precision(self._precision, self._cross_encoder.device):
            scores = score_pairs(self._cross_encoder, self._pairs)
        run: Run = {query_id: {} for query_id in self.candidates}
        for (query_id, doc_id), score in zip(self._keys, scores, strict=True):
            run[query_id][doc_id] = float(score)
        return run

    def __call__(self) -> dict[str, float]:
        return mean_scores(self.judged, self.run())


def cross_encoder_dev_evaluator(
    cross_encoder: CrossEncoder,
    collection: Collection,
    qrels: Qrels,
    *,
    candidates: Run,
    precision: str,
) -> RerankedDev:
    """Score dev queries by re-ranking ``candidates``, a first-stage run already cut to the wanted depth."""
    queries, qrels = with_their_queries(collection, qrels, DEV)
    qrels = {query_id: grades for query_id, grades in qrels.items() if query_id in candidates}
    if not qrels:
        raise IaaRetrievalError("the run to re-rank has none of the dev queries; give one that has, with --dev-run")
    documents = collection.get_documents(sorted({d for query_id in qrels for d in candidates[query_id]}))
    others = {d for grades in qrels.values() for d in grades if d not in documents}
    found = {*documents, *collection.find_documents(sorted(others))}
    judged = with_their_documents(collection, qrels, found, DEV)
    queries = {query_id: queries[query_id] for query_id in sorted(judged)}
    texts = {doc_id: document.contents for doc_id, document in documents.items()}
    return RerankedDev(cross_encoder, queries, candidates, texts, judged, precision)


def _digest_of_trained(model: nn.Module) -> str:
    """Hash of the weights that training changes; hex."""
    digest = hashlib.sha256()
    for parameter in model.parameters():
        if parameter.requires_grad:
            digest.update(parameter.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()


def mean_scores(qrels: Qrels, run: Run) -> dict[str, float]:
    """The mean over the judged queries of each dev metric, by its name."""
    per_metric = evaluate(qrels, run, parse_metrics(" ".join(DEV_METRICS)))
    return {name: mean(values) for name, values in per_metric.items()}


def inference_precision(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """What dev texts go through the network in: autocast, unless ``precision`` is ``fp32``."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16 if precision == "bf16" else torch.float16)
