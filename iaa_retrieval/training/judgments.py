"""Which queries and documents a training run learns from, and which it is chosen by."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from iaa_retrieval.collections.base import Collection
from iaa_retrieval.collections.holdout import hold_out
from iaa_retrieval.collections.negatives import mine_negatives
from iaa_retrieval.collections.runs import read_run
from iaa_retrieval.collections.sampling import sample_ids
from iaa_retrieval.collections.types import Qrels, Run
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.training.dangling_judgments import DEV, TRAINING, with_their_queries
from iaa_retrieval.training.data import ExampleDataset, TrainingData
from iaa_retrieval.training.kinds import TrainingKind
from iaa_retrieval.training.option_groups import DataOptions, DevOptions
from iaa_retrieval.training.options import ResolvedHyperparameters
from iaa_retrieval.training.splits import dev_collection, training_collection

LOG = logging.getLogger("iaa_retrieval")


class Judgments(NamedTuple):
    """What is learnt from, and what chooses the checkpoint.

    Attributes:
        collection: with the training split.
        train: judgments of the training queries.
        dev: judgments of the dev queries; empty where there are none.
        dev_collection: with the queries of ``dev``.
    """

    collection: Collection
    train: Qrels
    dev: Qrels
    dev_collection: Collection


def load_judgments(data: DataOptions, dev: DevOptions, seed: int) -> Judgments:
    """The judgments of the training and the dev queries.

    Queries that the collection does not have are left out of both.
    """
    collection = training_collection(data.collection, data.split)
    with_dev = collection
    texts, train = with_their_queries(collection, collection.qrels(), TRAINING)
    dev_qrels: Qrels = {}
    if dev.dev_fraction:
        train, dev_qrels = hold_out(train, dev.dev_fraction, seed)
    elif dev.dev_split:
        with_dev = dev_collection(data.collection, dev.dev_split)
        dev_qrels = judgments_of_split(with_dev, dev.dev_split, {query_id: texts[query_id] for query_id in train})
    train = {query_id: train[query_id] for query_id in sample_ids(train, data.train_queries, seed)}
    return Judgments(collection, train, dev_qrels, with_dev)


def judgments_of_split(with_dev: Collection, split: str, train: Mapping[str, str]) -> Qrels:
    """The judgments of a dev split, of which no query may be a training query.

    Args:
        train: the training queries, id -> text.

    Raises:
        UsageError: the two have queries in common.
    """
    dev_texts, dev_qrels = with_their_queries(with_dev, with_dev.qrels(), DEV)
    clash = set(train) & set(dev_qrels)
    if clash:
        raise UsageError(f"dev split {split} shares {len(clash)} queries with the training split (e.g. {min(clash)})")
    _warn_of_shared_texts(set(train.values()), dev_texts, split)
    return dev_qrels


def scored_dev_queries(judgments: Judgments, dev: DevOptions, seed: int) -> Qrels:
    """The dev queries that are scored, at most ``--dev-queries`` of them."""
    return {query_id: judgments.dev[query_id] for query_id in sample_ids(judgments.dev, dev.dev_queries, seed)}


def _warn_of_shared_texts(train: set[str], dev: dict[str, str], split: str) -> None:
    """Warn of dev queries that are training queries under another id."""
    shared = [query_id for query_id, text in dev.items() if text in train]
    if shared:
        LOG.warning(
            "%d of %d queries of dev split %s have the text of a training query (e.g. %s): dev scores will be too high",
            len(shared),
            len(dev),
            split,
            shared[0],
        )


def mine_training_data(
    kind: TrainingKind, options: DataOptions, judgments: Judgments, run: Run, negatives_per_query: int
) -> TrainingData:
    """The training texts, with the negatives that ``run`` gives and the teacher's scores.

    With a teacher, documents that it did not score are no negatives.

    Raises:
        UsageError: a kind that needs negatives without a run to take them from.
        IaaRetrievalError: the run gives none.
    """
    collection, qrels = judgments.collection, judgments.train
    if kind.compares_within_query and not run:
        raise UsageError(
            f"a {kind.name} learns from negatives; give a first-stage run of the training queries with --negatives "
            "(python -m iaa_retrieval.search makes one) or --teacher"
        )
    if negatives_per_query == 0 or not run:
        return kind.load_data(collection, qrels, {}, "")
    first, last = options.negative_ranks
    negatives, report = mine_negatives(run, qrels, first_rank=first, last_rank=last, margin=options.negative_margin)
    source = options.negatives_run or "searching the index"
    LOG.info("negatives from %s: %s", source, report)
    if not report.kept:
        raise IaaRetrievalError(f"{source} gives no negative for any training query; is it a run of these queries?")
    if options.teacher is None:
        return kind.load_data(collection, qrels, negatives, source)
    teacher = run if options.negatives is None else read_run(options.teacher)
    scored = {q: [d for d in ids if d in teacher.get(q, ())] for q, ids in negatives.items()}
    LOG.info(
        "teacher %s: scores %d of these negatives and the positives of %d of %d queries",
        options.teacher,
        sum(map(len, scored.values())),
        sum(any(grade > 0 and d in teacher.get(q, ()) for d, grade in grades.items()) for q, grades in qrels.items()),
        len(qrels),
    )
    return replace(kind.load_data(collection, qrels, scored, source), teacher=teacher)


def make_examples(
    kind: TrainingKind, data: TrainingData, hyper: ResolvedHyperparameters, seed: int, processes: int
) -> ExampleDataset:
    """The examples of a run, of which there must be enough for a step of all ``processes``.

    Raises:
        UsageError: there are not, or a step would have nothing to compare a positive with.
        IaaRetrievalError: there is no example at all.
    """
    examples = ExampleDataset(data, hyper.negatives_per_query, seed, needs_negatives=kind.compares_within_query)
    count, batch_size = len(examples), hyper.batch_size
    if processes > 1 and count < processes * batch_size:
        fitting = f"--batch-size {count // processes} or" if count >= processes else "other data or"
        raise UsageError(
            f"too few training examples ({count}) for {processes} processes with --batch-size {batch_size}, which "
            f"take {processes * batch_size} in a step; use {fitting} fewer processes"
        )
    if count < batch_size:
        LOG.warning(
            "the training examples (%d) are fewer than --batch-size %d: each step takes all of them", count, batch_size
        )
    if not kind.compares_within_query and processes * min(count, batch_size) == 1 and not examples.has_negatives:
        raise UsageError(
            f"a {kind.name} learns by comparing a query's positive with other documents, and a step would have none: "
            f"of training examples there are {count}, --batch-size is {batch_size} and no --negatives are given"
        )
    return examples
