"""Tuning the query encoder alone, for documents whose vectors an index holds: how its batches, loss and dev scores
differ from a bi-encoder's.

No document is read or encoded: a step looks the vectors of its documents up in the index. The negatives, where no run
gives them, are what the index finds for the training queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate, chain
from typing import cast

import numpy as np
import torch
from torch import nn

from iaa_retrieval.collections.base import Collection
from iaa_retrieval.collections.types import Qrels, Run
from iaa_retrieval.inference.batching import pad
from iaa_retrieval.inference.cuts import query_cuts
from iaa_retrieval.inference.stored_vectors import StoredVectors
from iaa_retrieval.inference.text_encoder import encode_queries
from iaa_retrieval.inference.tokens import tokenize_texts, with_lead
from iaa_retrieval.models.bi_encoder import BiEncoder
from iaa_retrieval.training.chunks import forward_in_chunks
from iaa_retrieval.training.collators import teacher_scores
from iaa_retrieval.training.dangling_judgments import DEV, TRAINING, with_their_queries
from iaa_retrieval.training.data import Example, TrainingData
from iaa_retrieval.training.dev import DEPTH, inference_precision, mean_scores
from iaa_retrieval.training.frozen_documents import freeze_documents
from iaa_retrieval.training.indexed_data import RandomDocuments, load_indexed_data, with_indexed_documents
from iaa_retrieval.training.kinds import TRAINING_KINDS, DevEvaluator, TrainingKind
from iaa_retrieval.training.objectives import NO_DOCUMENT, BiEncoderObjective
from iaa_retrieval.training.option_groups import DevOptions, ObjectiveOptions
from iaa_retrieval.training.options import ResolvedHyperparameters


def query_side_kind(index: StoredVectors, random_negatives: int, seed: int) -> TrainingKind:
    """A bi-encoder of which only the queries' side is trained, for the documents of ``index``.

    Args:
        index: whose vectors stay as they are.
        random_negatives: documents, drawn anew in each step, that every query of the step is compared with.
        seed: of that draw.
    """

    def collator(model: BiEncoder, data: TrainingData, document_length: int) -> QuerySideCollator:
        return QuerySideCollator(model, data, index, RandomDocuments(index, random_negatives, seed))

    def dev_evaluator(
        model: BiEncoder, collection: Collection, qrels: Qrels, hits: Run, dev: DevOptions, seed: int, precision: str
    ) -> DevEvaluator:
        return index_dev_evaluator(model, index, collection, qrels, precision)

    return replace(
        TRAINING_KINDS[BiEncoder.kind],
        collator=collator,
        objective=_objective,
        dev_evaluator=dev_evaluator,
        load_data=partial(load_indexed_data, index),
        tunes_queries=True,
        finish_model=partial(freeze_documents, index),
        find_hits=partial(find_hits, index),
    )


def _objective(model: BiEncoder, hyper: ResolvedHyperparameters, options: ObjectiveOptions) -> QuerySideObjective:
    return QuerySideObjective(cast(BiEncoderObjective, TRAINING_KINDS[BiEncoder.kind].objective(model, hyper, options)))


class QuerySideObjective(nn.Module):
    """The objective of a bi-encoder with vectors of documents in the place of their tokens.

    Args:
        whole: that objective, whose loss is taken.
    """

    def __init__(self, whole: BiEncoderObjective) -> None:
        super().__init__()
        self.whole = whole

    def forward(
        self,
        query_ids: torch.Tensor,
        query_mask: torch.Tensor,
        passage_vectors: torch.Tensor,
        positive_index: torch.Tensor,
        passage_keys: torch.Tensor,
        relevant_keys: torch.Tensor,
        teacher_scores: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """``{"loss": scalar}`` of a batch made by ``QuerySideCollator``."""
        queries = forward_in_chunks(
            self.whole.bi_encoder.encode_queries,
            {"input_ids": query_ids, "attention_mask": query_mask},
            self.whole.grad_cache,
        )
        return self.whole.loss_of(queries, passage_vectors, positive_index, passage_keys, relevant_keys, teacher_scores)


class QuerySideCollator:
    """Token ids of the queries, the vectors of all their documents, and what is known about which belong together.

    As ``BiEncoderCollator``, with ``passage_vectors`` fp32 [passages, d] for the documents' tokens; a document's key is
    its place in the index. The documents drawn at random come last.

    Attributes:
        cuts: count the queries that were longer than they may be.
    """

    def __init__(
        self, bi_encoder: BiEncoder, data: TrainingData, index: StoredVectors, random_documents: RandomDocuments
    ) -> None:
        self._encoder = bi_encoder
        self._data = data
        self._index = index
        self._random = random_documents
        self.cuts = (query_cuts(bi_encoder, "--query-max-length sets another length"),)

    def __call__(self, examples: Sequence[Example]) -> dict[str, torch.Tensor]:
        config, tokenizer = self._encoder.config, self._encoder.tokenizer
        texts = with_lead(config.query_lead, [self._data.queries[example.query_id] for example in examples])
        on_cut = self.cuts[0].among([example.query_id for example in examples])
        rows = tokenize_texts(tokenizer, texts, config.query_max_length, on_cut=on_cut)
        query_ids, query_mask = pad(rows, tokenizer.pad_token_id or 0, torch.device("cpu"), config.query_max_length)
        return {
            "query_ids": query_ids,
            "query_mask": query_mask,
            **document_batch(examples, self._data, self._index, self._random),
            **teacher_scores(self._data, examples),
        }


def document_batch(
    examples: Sequence[Example], data: TrainingData, index: StoredVectors, random_documents: RandomDocuments
) -> dict[str, torch.Tensor]:
    """The vectors of a step's documents, and what is known about which belong to which query.

    Returns:
        ``passage_vectors``, fp32 [n, d]: of each example its positive and its negatives, then the random documents;
        ``positive_index`` [batch], ``passage_keys`` [n] and ``relevant_keys`` as ``BiEncoderCollator`` has them.
    """
    named = [doc_id for example in examples for doc_id in example.passage_ids]
    relevant = [{*data.positives[example.query_id], example.query_id} for example in examples]
    places = index.locate({*named, *chain.from_iterable(relevant)})
    drawn = random_documents.draw(" ".join((*(example.query_id for example in examples), *named)))
    keys = np.concatenate([np.array([places[doc_id] for doc_id in named], dtype=np.int64), drawn])
    known = [sorted(places[doc_id] for doc_id in ids if doc_id in places) for ids in relevant]
    width = max(map(len, known))
    sizes = [len(example.passage_ids) for example in examples]
    return {
        "passage_vectors": torch.from_numpy(index.vectors(keys)),
        "positive_index": torch.tensor([0, *accumulate(sizes[:-1])]),
        "passage_keys": torch.from_numpy(keys),
        "relevant_keys": torch.tensor([row + [NO_DOCUMENT] * (width - len(row)) for row in known]),
    }


def index_dev_evaluator(
    bi_encoder: BiEncoder, index: StoredVectors, collection: Collection, qrels: Qrels, precision: str
) -> DevEvaluator:
    """Score dev queries by searching the index, as it will be searched; a document that is the query is no hit of it.

    Relevant documents that the index lacks are left out of the judgments.
    """
    texts, judged = with_their_queries(collection, qrels, DEV)
    judged = with_indexed_documents(index, judged, DEV)
    query_ids = list(judged)

    def evaluate_dev() -> dict[str, float]:
        with inference_precision(precision, bi_encoder.device):
            vectors = encode_queries(bi_encoder, [texts[query_id] for query_id in query_ids])
        return mean_scores(judged, index.run(query_ids, vectors, judged, DEPTH))

    return evaluate_dev


def find_hits(
    index: StoredVectors, bi_encoder: BiEncoder, collection: Collection, qrels: Qrels, hits: int, precision: str
) -> Run:
    """What the index finds for the training queries, encoded as ``bi_encoder`` does now."""
    texts, judged = with_their_queries(collection, qrels, TRAINING)
    query_ids = sorted(judged)
    with inference_precision(precision, bi_encoder.device):
        vectors = encode_queries(bi_encoder, [texts[query_id] for query_id in query_ids])
    return index.run(query_ids, vectors, judged, hits)
