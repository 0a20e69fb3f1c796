"""Re-ranking the hits of a Pyserini searcher with a cross-encoder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from iaa_retrieval.collections.lines import clean_text
from iaa_retrieval.collections.runs import rank
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.inference.cuts import document_cuts, query_cuts
from iaa_retrieval.inference.interpolation import interpolated, weight_to_use
from iaa_retrieval.inference.loading import load_for_inference
from iaa_retrieval.inference.pair_scorer import score_pairs
from iaa_retrieval.models.pair_template import PairSettings
from iaa_retrieval.pyserini_plugin.threads import use_all_threads

TextOf = Callable[[str], str]
"""The text of a document, by its id."""


@dataclass(frozen=True)
class Hit:
    """A re-ranked document; the two attributes that Pyserini's own writers and fusion read from a hit."""

    docid: str
    score: float


class IaaReranker:
    """A cross-encoder that re-orders hits, keeping as much of their scores as its training chose.

    Args:
        encoder_dir: a checkpoint, or another's re-ranker as ``rerank --encoder`` takes it.
        text_of: gives a document's text by its id; None reads it from the hit, as LuceneSearcher's hits allow
            for an index that keeps raw documents.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        device: ``auto``, ``cpu``, ``cuda:0``, ...
        max_length, query_max_length: tokens of a pair, and of a query in it; default: the checkpoint's own.
        interpolate: weight of the new score against that of the hit, from 0 to 1, both scaled to [0, 1] per query; 1
            is the new score alone, unscaled. None is what the checkpoint's training chose, or else 1.
        head, pair_template, pair_instruction, pair_tokens: how another's re-ranker scores a pair, where it does not say
            so itself: the options of ``rerank`` of these names.

    Raises:
        UsageError: a length that the checkpoint cannot take, a weight out of range, or settings that are not for it.
        IaaRetrievalError: the checkpoint cannot be loaded, or is no cross-encoder.
    """

    def __init__(
        self,
        encoder_dir: str,
        *,
        text_of: TextOf | None = None,
        precision: str = "auto",
        device: str = "auto",
        max_length: int | None = None,
        query_max_length: int | None = None,
        interpolate: float | None = None,
        head: str | None = None,
        pair_template: str | None = None,
        pair_instruction: str | None = None,
        pair_tokens: tuple[str, str] | None = None,
    ) -> None:
        if interpolate is not None and not 0 <= interpolate <= 1:
            raise UsageError(f"interpolate {interpolate} must lie between 0 and 1")
        self.cross_encoder = load_for_inference(
            encoder_dir,
            kind="cross-encoder",
            max_length=max_length,
            query_max_length=query_max_length,
            pair=PairSettings(head, pair_template, pair_instruction, pair_tokens),
            precision=precision,
            device=device,
        )
        self._query_cuts = query_cuts(self.cross_encoder, "the argument query_max_length sets another length")
        self._pair_cuts = document_cuts(self.cross_encoder, "the argument max_length sets another length")
        self.text_of = text_of
        self.weight = weight_to_use(self.cross_encoder.config, interpolate)

    def rerank(self, query: str, hits: Sequence[Any], *, text_of: TextOf | None = None) -> list[Hit]:
        """Score every hit against ``query`` and put the best first (see ``runs.rank`` for ties).

        Raises:
            IaaRetrievalError: a hit whose text is not to be had.
        """
        return self.rerank_batch({"": query}, {"": hits}, text_of=text_of)[""]

    def rerank_batch(
        self, queries: Mapping[str, str], hits: Mapping[str, Sequence[Any]], *, text_of: TextOf | None = None
    ) -> dict[str, list[Hit]]:
        """Re-rank the hits of several queries at once, both by query id; faster than one query at a time."""
        use_all_threads()
        text_of = text_of or self.text_of
        keys: list[tuple[str, str]] = []
        pairs: list[tuple[str, str]] = []
        for query_id, query in queries.items():
            for hit in hits[query_id]:
                keys.append((query_id, hit.docid))
                pairs.append((query, text_of(hit.docid) if text_of else text_of_hit(hit)))
        scores: dict[str, dict[str, float]] = {query_id: {} for query_id in queries}
        scored = score_pairs(
            self.cross_encoder,
            pairs,
            on_query_cut=self._query_cuts.among([query for query, _ in pairs]),
            on_pair_cut=self._pair_cuts.count(len(pairs)),
        )
        self._query_cuts.warn()
        self._pair_cuts.warn()
        for (query_id, doc_id), score in zip(keys, scored, strict=True):
            scores[query_id][doc_id] = float(score)
        reranked = {}
        for query_id, new in scores.items():
            old = {hit.docid: float(hit.score) for hit in hits[query_id]}
            reranked[query_id] = [Hit(*hit) for hit in rank(interpolated(new, old, self.weight))]
        return reranked


class RerankingSearcher:
    """A first stage and a re-ranker behind the methods of Pyserini's searchers.

    Args:
        first_stage_searcher: anything with ``search(query, k)`` and ``batch_search(queries, q_ids, k,
            threads)``, such as LuceneSearcher or FaissSearcher.
        reranker: re-orders what the first stage finds.
        hits: how many documents of the first stage are re-ranked; no search returns more.
        text_of: gives a document's text by its id; needed after FaissSearcher, whose hits hold no text.
    """

    def __init__(
        self,
        first_stage_searcher: Any,
        reranker: IaaReranker,
        *,
        hits: int = 100,
        text_of: TextOf | None = None,
    ) -> None:
        self.first_stage_searcher = first_stage_searcher
        self.reranker = reranker
        self.hits = hits
        self.text_of = text_of

    def search(self, query: str, k: int = 10) -> list[Hit]:
        """The best ``k`` of the re-ranked hits of one query."""
        found = self.first_stage_searcher.search(query, self.hits)
        return self.reranker.rerank(query, found, text_of=self.text_of)[:k]

    def batch_search(
        self, queries: Sequence[str], q_ids: Sequence[str], k: int = 10, threads: int = 1
    ) -> dict[str, list[Hit]]:
        """The best ``k`` re-ranked hits of each query, by query id; ``threads`` is for the first stage."""
        found = self.first_stage_searcher.batch_search(list(queries), list(q_ids), self.hits, threads)
        by_id = dict(zip(q_ids, queries, strict=True))
        reranked = self.reranker.rerank_batch(by_id, found, text_of=self.text_of)
        return {query_id: hits[:k] for query_id, hits in reranked.items()}


def text_of_hit(hit: Any) -> str:
    """The text of a LuceneSearcher's hit, see ``stored_text``."""
    stored = getattr(hit, "lucene_document", None)
    if stored is None:
        return stored_text(None, None, hit.docid)
    return stored_text(stored.get("raw"), stored.get("contents"), hit.docid)


def stored_text(raw: str | None, contents: str | None, doc_id: str) -> str:
    """The text of a document in a Lucene index, from its stored ``raw`` or ``contents`` field.

    Raw JSON gives its ``contents``, or its title and text; other raw documents are taken as they are.

    Raises:
        IaaRetrievalError: the index stores neither.
    """
    if raw is None and contents is None:
        raise IaaRetrievalError(
            f"document {doc_id!r} has no text here; index it with iaa_retrieval.index, or give text_of"
        )
    try:
        record = json.loads(raw or "")
    except ValueError:
        return clean_text(str(raw or contents))
    if not isinstance(record, dict):
        return clean_text(str(raw))
    parts = [record["contents"]] if "contents" in record else [record.get("title"), record.get("text")]
    return clean_text(" ".join(str(part) for part in parts if part) or str(raw))
