"""Examples to padded batches."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from iaa_retrieval.inference.batching import pad
from iaa_retrieval.inference.cuts import Cuts, query_cuts
from iaa_retrieval.inference.pair_tokens import PairReader
from iaa_retrieval.inference.tokens import tokenize_texts, with_lead
from iaa_retrieval.models.bi_encoder import BiEncoder
from iaa_retrieval.models.cross_encoder import CrossEncoder
from iaa_retrieval.models.retriever import Retriever
from iaa_retrieval.training.data import Example, TrainingData
from iaa_retrieval.training.objectives import NO_DOCUMENT


class BiEncoderCollator:
    """Token ids of the queries and of all their passages, and what is known about which belong together.

    ``positive_index`` [batch] is each query's positive's row among the passages. ``passage_keys`` [passages] and
    ``relevant_keys`` [batch, most relevant documents] number documents, the same in every batch; a document that is
    the query itself is listed with those relevant to it, for it is no negative of it either.

    Attributes:
        cuts: count the queries, and the documents, that were longer than they may be in training.
    """

    def __init__(self, bi_encoder: BiEncoder, data: TrainingData, document_max_length: int) -> None:
        self._encoder = bi_encoder
        self._data = data
        self._document_max_length = document_max_length
        self._keys = {doc_id: key for key, doc_id in enumerate(sorted(data.passages))}
        self.cuts = _training_cuts(bi_encoder, document_max_length, "documents")

    def __call__(self, examples: Sequence[Example]) -> dict[str, torch.Tensor]:
        config, tokenizer = self._encoder.config, self._encoder.tokenizer
        cpu, pad_id = torch.device("cpu"), tokenizer.pad_token_id or 0
        doc_ids = [doc_id for example in examples for doc_id in example.passage_ids]
        first = [0]
        for example in examples[:-1]:
            first.append(first[-1] + len(example.passage_ids))
        queries = with_lead(config.query_lead, [self._data.queries[e.query_id] for e in examples])
        passages = with_lead(config.document_lead, [self._data.passages[d] for d in doc_ids])
        query_length, passage_length = config.query_max_length, self._document_max_length
        on_query_cut = self.cuts[0].among([example.query_id for example in examples])
        query_rows = tokenize_texts(tokenizer, queries, query_length, suffix=config.query_suffix, on_cut=on_query_cut)
        on_passage_cut = self.cuts[1].among(doc_ids)
        passage_rows = tokenize_texts(
            tokenizer, passages, passage_length, suffix=config.document_suffix, on_cut=on_passage_cut
        )
        query_ids, query_mask = pad(query_rows, pad_id, cpu, query_length)
        passage_ids, passage_mask = pad(passage_rows, pad_id, cpu, passage_length)
        relevant = [self._no_negatives_of(example.query_id) for example in examples]
        width = max(map(len, relevant))
        batch = {
            "query_ids": query_ids,
            "query_mask": query_mask,
            "passage_ids": passage_ids,
            "passage_mask": passage_mask,
            "positive_index": torch.tensor(first),
            "passage_keys": torch.tensor([self._keys[d] for d in doc_ids]),
            "relevant_keys": torch.tensor([keys + [NO_DOCUMENT] * (width - len(keys)) for keys in relevant]),
        }
        return {**batch, **teacher_scores(self._data, examples)}

    def _no_negatives_of(self, query_id: str) -> list[int]:
        positives = self._data.positives[query_id]
        itself = [query_id] if query_id in self._keys and query_id not in positives else []
        return [self._keys[doc_id] for doc_id in (*positives, *itself)]


class CrossEncoderCollator:
    """Token ids of each query with its positive, then with its negatives.

    Attributes:
        cuts: count the queries, and the documents beside them, that were longer than they may be in training.
    """

    def __init__(self, cross_encoder: CrossEncoder, data: TrainingData, max_length: int) -> None:
        self._reader = PairReader(cross_encoder, max_length)
        self._data = data
        self.cuts = _training_cuts(cross_encoder, max_length, "documents (with their queries)")

    def __call__(self, examples: Sequence[Example]) -> dict[str, torch.Tensor]:
        # Every group is cut to the shortest, which only differs where a run has too few negatives to draw from.
        size = min(len(example.passage_ids) for example in examples)
        keys = [(example.query_id, doc_id) for example in examples for doc_id in example.passage_ids[:size]]
        pairs = [(self._data.queries[query_id], self._data.passages[doc_id]) for query_id, doc_id in keys]
        tokens = self._reader.tokens(
            pairs,
            on_query_cut=self.cuts[0].among([query_id for query_id, _ in keys]),
            on_document_cut=self.cuts[1].among([doc_id for _, doc_id in keys]),
        )
        inputs = self._reader.inputs(tokens, range(len(pairs)), torch.device("cpu"))
        return {**inputs, "group_size": torch.tensor(size), **teacher_scores(self._data, examples)}


def _training_cuts(model: Retriever, max_length: int, documents: str) -> tuple[Cuts, Cuts]:
    most = model.position_limit
    option = "--document-max-length" if max_length == model.config.document_max_length else "--train-max-length"
    advice = f"{option} sets another length"
    return (
        query_cuts(model, "--query-max-length sets another length"),
        Cuts(f"{documents} seen in training", max_length, advice=advice, most=most),
    )


def teacher_scores(data: TrainingData, examples: Sequence[Example]) -> dict[str, torch.Tensor]:
    """The teacher's scores [batch, 1 + negatives] of each query's own passages; nothing without a teacher."""
    if not data.teacher:
        return {}
    scores = [[data.teacher[example.query_id][d] for d in example.passage_ids] for example in examples]
    return {"teacher_scores": torch.tensor(scores, dtype=torch.float32)}
