"""Re-rank a run with a cross-encoder, or with a bi-encoder's similarities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from iaa_retrieval.collections.runs import rank
from iaa_retrieval.collections.types import Run
from iaa_retrieval.inference.cuts import Cuts, document_cuts, query_cuts
from iaa_retrieval.inference.interpolation import interpolated_run, weight_to_use
from iaa_retrieval.inference.pair_scorer import score_pairs
from iaa_retrieval.inference.text_encoder import encode_passages, encode_queries
from iaa_retrieval.models.bi_encoder import BiEncoder
from iaa_retrieval.models.cross_encoder import CrossEncoder
from iaa_retrieval.models.retriever import Retriever
from iaa_retrieval.progress import progress

# Texts held at a time: a cross-encoder's pairs, or a bi-encoder's documents, of which it encodes each once.
CHUNK_TEXTS = 20_000


def rerank_run(
    model: Retriever,
    run: Run,
    queries: Mapping[str, str],
    texts_of: Callable[[Sequence[str]], Mapping[str, str]],
    *,
    hits: int = 100,
    interpolate: float | None = None,
    cut_advice: tuple[str, str] = ("", ""),
) -> Run:
    """Score each query's first ``hits`` documents anew; what lies below them is left out.

    Args:
        model: scores a query and a passage.
        run: the first stage.
        queries: query id -> text, for every query of the run.
        texts_of: document ids -> texts.
        hits: depth.
        interpolate: weight a of the new score; the final one is ``a * new + (1 - a) * old``, each scaled to
            [0, 1] per query. 1 is the new score alone, unscaled. None is what the model's training chose, which a
            line says, or else 1.
        cut_advice: how the caller's user sets another length of queries, and of documents (or pairs); one warning
            each counts those that are longer than the model reads.
    """
    weight = weight_to_use(model.config, interpolate)
    cuts = query_cuts(model, cut_advice[0]), document_cuts(model, cut_advice[1])
    score_keys = _SCORERS[model.kind]
    top = {query_id: dict(rank(scores)[:hits]) for query_id, scores in run.items()}
    reranked: Run = {}
    with progress(total=sum(map(len, top.values())), desc="re-ranking", unit="pair") as bar:
        for query_ids in _chunks(top, count_once=not model.reads_pairs):
            texts = texts_of(list(dict.fromkeys(doc_id for q in query_ids for doc_id in top[q])))
            keys = [(query_id, doc_id) for query_id in query_ids for doc_id in top[query_id]]
            scores = score_keys(model, keys, queries, texts, *cuts)
            for query_id in query_ids:
                reranked[query_id] = {}
            for (query_id, doc_id), score in zip(keys, scores, strict=True):
                reranked[query_id][doc_id] = float(score)
            bar.update(len(keys))
    for counted in cuts:
        counted.warn()
    return interpolated_run(reranked, top, weight)


def with_tail(reranked: Run, first_stage: Run) -> Run:
    """Put the first stage's other documents below the re-ranked ones, in their own order.

    Their scores only carry that order: 1, 2, ... below the lowest re-ranked one.
    """
    whole: Run = {}
    for query_id, scores in reranked.items():
        floor = min(scores.values(), default=0.0)
        rest = [doc_id for doc_id, _ in rank(first_stage[query_id]) if doc_id not in scores]
        whole[query_id] = {**scores, **{doc_id: floor - place for place, doc_id in enumerate(rest, start=1)}}
    return whole


def _chunks(top: Run, *, count_once: bool) -> Iterator[list[str]]:
    """Query ids whose documents are at most ``CHUNK_TEXTS`` together; with ``count_once``, distinct documents."""
    chunk: list[str] = []
    held: set[str] = set()  # documents that do not count again
    texts = 0
    for query_id, scores in top.items():
        if chunk and texts + len(scores.keys() - held) > CHUNK_TEXTS:
            yield chunk
            chunk, held, texts = [], set(), 0
        chunk.append(query_id)
        texts += len(scores.keys() - held)
        if count_once:
            held |= scores.keys()
    if chunk:
        yield chunk


def _pair_scores(
    model: CrossEncoder,
    keys: Sequence[tuple[str, str]],
    queries: Mapping[str, str],
    texts: Mapping[str, str],
    of_queries: Cuts,
    of_documents: Cuts,
) -> np.ndarray:
    """A score for each (query id, document id), float32 [len(keys)]."""
    return score_pairs(
        model,
        [(queries[query_id], texts[doc_id]) for query_id, doc_id in keys],
        on_query_cut=of_queries.among([query_id for query_id, _ in keys]),
        on_pair_cut=of_documents.count(len(keys)),
    )


def _similarities(
    model: BiEncoder,
    keys: Sequence[tuple[str, str]],
    queries: Mapping[str, str],
    texts: Mapping[str, str],
    of_queries: Cuts,
    of_documents: Cuts,
) -> np.ndarray:
    """The inner product of the vectors of each (query id, document id), float32 [len(keys)]."""
    rows = {query_id: row for row, query_id in enumerate(dict.fromkeys(query_id for query_id, _ in keys))}
    columns = {doc_id: column for column, doc_id in enumerate(texts)}
    query_vectors = encode_queries(model, [queries[query_id] for query_id in rows], on_cut=of_queries.among(list(rows)))
    passage_vectors = encode_passages(model, list(texts.values()), on_cut=of_documents.among(list(texts)))
    left = query_vectors[[rows[query_id] for query_id, _ in keys]]
    right = passage_vectors[[columns[doc_id] for _, doc_id in keys]]
    scores: np.ndarray = np.einsum("nd,nd->n", left, right)
    return scores


_SCORERS: dict[str, Callable[..., np.ndarray]] = {BiEncoder.kind: _similarities, CrossEncoder.kind: _pair_scores}
