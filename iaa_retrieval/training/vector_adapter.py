"""Training a vector adapter: a small map over query vectors, against the vectors of documents."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from iaa_retrieval.collections.types import Qrels
from iaa_retrieval.inference.stored_vectors import StoredVectors
from iaa_retrieval.models.vector_adapter import VectorAdapter
from iaa_retrieval.training.data import ExampleDataset
from iaa_retrieval.training.dev import DEPTH, mean_scores
from iaa_retrieval.training.divergence import divergence
from iaa_retrieval.training.indexed_data import RandomDocuments
from iaa_retrieval.training.losses.registry import get_loss
from iaa_retrieval.training.objectives import known_positives
from iaa_retrieval.training.query_side import document_batch

WARMUP = 0.1  # share of the steps
UNSEEN = " of unseen documents"

Vectors = Mapping[str, np.ndarray]
"""Query id -> its vector, float32 [d]."""


@dataclass(frozen=True)
class VectorTraining:
    """How an adapter is trained.

    Attributes:
        epochs: passes over the examples.
        batch_size: queries per step.
        lr: peak learning rate.
        weight_decay: AdamW's, of the two matrices.
        temperature: divides the similarities.
        random_negatives: documents of the index that every query of a step is compared with.
        seed: of everything random.
    """

    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    temperature: float
    random_negatives: int
    seed: int


class Trained(NamedTuple):
    """What a training kept.

    Attributes:
        epoch: that it is of; 0 is the vectors as they were given.
        steps: until then.
        scores: of the dev queries; empty without any.
        history: an entry for each epoch, loss and dev scores.
    """

    epoch: int
    steps: int
    scores: dict[str, float]
    history: list[dict[str, float]]


def train_adapter(
    adapter: VectorAdapter,
    queries: Vectors,
    examples: ExampleDataset,
    index: StoredVectors,
    how: VectorTraining,
    evaluate_dev: Callable[[], dict[str, float]] | None,
    metric: str,
) -> Trained:
    """Train ``adapter`` in place; where there are dev queries it ends with the weights of the best epoch.

    Args:
        adapter: as it was made, or trained before.
        queries: the vectors of all queries of the examples.
        examples: queries with a positive and negatives.
        index: holds the vectors of their documents.
        how: hyper-parameters.
        evaluate_dev: scores the adapter as it is; None without dev queries.
        metric: which of the scores chooses the epoch; the first of equal ones.

    Raises:
        NotFiniteError: the loss became infinite.
    """
    decayed = [adapter.down.weight, adapter.up.weight]
    others = [adapter.down.bias, adapter.up.bias]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": how.weight_decay}, {"params": others, "weight_decay": 0.0}], lr=how.lr
    )
    per_epoch = -(-len(examples) // how.batch_size)
    total = per_epoch * how.epochs
    warmup = max(1, round(WARMUP * total))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, (total - step) / max(1, total - warmup))
    )
    scores = {} if evaluate_dev is None else evaluate_dev()
    history = [{"epoch": 0.0, **scores}]
    best, state = Trained(0, 0, scores, history), copy.deepcopy(adapter.state_dict())
    for epoch in range(1, how.epochs + 1):
        losses = []
        for batch in _batches(examples, how, epoch):
            loss = _loss(adapter, queries, examples, index, how, batch)
            if not torch.isfinite(loss):
                raise divergence(f"the loss became {loss.item()} in epoch {epoch}")
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        scores = {} if evaluate_dev is None else evaluate_dev()
        history.append({"epoch": float(epoch), "loss": float(np.mean(losses)), **scores})
        if evaluate_dev is None or scores[metric] > best.scores[metric]:
            best, state = Trained(epoch, epoch * per_epoch, scores, history), copy.deepcopy(adapter.state_dict())
    adapter.load_state_dict(state)
    return best


def vector_dev_evaluator(
    adapter: VectorAdapter, queries: Vectors, dev: Qrels, unseen: Qrels, index: StoredVectors
) -> Callable[[], dict[str, float]]:
    """Score dev queries by searching the index with their vectors as the adapter maps them.

    Args:
        adapter: as it is at each call.
        queries: the vectors of all dev queries.
        dev: their judgments.
        unseen: of those among them for which training knows no relevant document; their scores come on top, under the
            metric's name with ``UNSEEN`` behind it, where there are any.
        index: what is searched.
    """
    query_ids = list(dev)
    given = np.stack([queries[query_id] for query_id in query_ids])

    def evaluate_dev() -> dict[str, float]:
        run = index.run(query_ids, adapter.map(given), dev, DEPTH)
        scores = mean_scores(dev, run)
        if unseen:
            of_unseen = mean_scores(unseen, {query_id: run[query_id] for query_id in unseen})
            scores |= {f"{name}{UNSEEN}": value for name, value in of_unseen.items()}
        return scores

    return evaluate_dev


def of_unseen_documents(dev: Qrels, train: Qrels) -> Qrels:
    """The judgments of the dev queries of whose relevant documents no training query has any."""
    seen = {doc_id for grades in train.values() for doc_id, grade in grades.items() if grade > 0}
    return {q: grades for q, grades in dev.items() if not any(d in seen for d, grade in grades.items() if grade > 0)}


def _batches(examples: ExampleDataset, how: VectorTraining, epoch: int) -> Iterator[list[int]]:
    """The numbers of the examples of each step of an epoch, in an order that seed and epoch decide."""
    examples.set_epoch(epoch)
    order = np.random.default_rng([how.seed, epoch]).permutation(len(examples)).tolist()
    for start in range(0, len(order), how.batch_size):
        yield order[start : start + how.batch_size]


def _loss(
    adapter: VectorAdapter,
    queries: Vectors,
    examples: ExampleDataset,
    index: StoredVectors,
    how: VectorTraining,
    numbers: list[int],
) -> torch.Tensor:
    chosen = [examples[number] for number in numbers]
    documents = document_batch(chosen, examples.data, index, RandomDocuments(index, how.random_negatives, how.seed))
    moved = adapter(torch.from_numpy(np.stack([queries[example.query_id] for example in chosen])))
    positive = documents["positive_index"]
    ignore = known_positives(documents["passage_keys"], documents["relevant_keys"], positive)
    loss: torch.Tensor = get_loss("bi-encoder", "contrastive").function(
        moved @ documents["passage_vectors"].T / how.temperature, positive, ignore
    )
    return loss
