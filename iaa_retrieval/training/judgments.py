"""Which queries and documents a training run learns from, and which it is chosen by."""

from __future__ import annotations

import logging
from dataclasses import replace

from iaa_retrieval.collections.base import Collection
from iaa_retrieval.collections.collection import load_collection
from iaa_retrieval.collections.holdout import hold_out
from iaa_retrieval.collections.negatives import mine_negatives
from iaa_retrieval.collections.runs import read_run
from iaa_retrieval.collections.sampling import sample_ids
from iaa_retrieval.collections.types import Qrels, Run
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.training.data import TrainingData, load_training_data
from iaa_retrieval.training.options import ResolvedHyperparameters, TrainOptions

LOG = logging.getLogger("iaa_retrieval")


def load_judgments(options: TrainOptions) -> tuple[Collection, Qrels, Qrels]:
    """The collection, the training judgments and the dev judgments (empty without dev queries)."""
    collection = load_collection(options.collection, options.split)
    try:
        train = collection.qrels()
    except UsageError:
        # No split was named and there are several: the one that is called train is meant.
        if options.split is not None or "train" not in collection.splits():
            raise
        collection = load_collection(options.collection, "train")
        train = collection.qrels()
    if options.dev_fraction:
        train, dev = hold_out(train, options.dev_fraction, options.seed)
    elif options.dev_split:
        dev = load_collection(options.collection, options.dev_split).qrels()
        clash = set(train) & set(dev)
        if clash:
            raise UsageError(
                f"dev split {options.dev_split} shares {len(clash)} queries with the training split (e.g. {min(clash)})"
            )
    else:
        dev = {}
    train = {query_id: train[query_id] for query_id in sample_ids(train, options.train_queries, options.seed)}
    return collection, train, dev


def mine_training_data(
    options: TrainOptions, collection: Collection, qrels: Qrels, run: Run, hyper: ResolvedHyperparameters
) -> TrainingData:
    """The training texts, with the negatives that ``run`` gives and the teacher's scores.

    With a teacher, documents that it did not score are no negatives.

    Raises:
        UsageError: a cross-encoder without a run to take negatives from.
        IaaRetrievalError: the run gives none.
    """
    if options.kind == "cross-encoder" and not run:
        raise UsageError(
            "a cross-encoder learns from negatives; give a first-stage run of the training queries with --negatives "
            "(python -m iaa_retrieval.search makes one) or --teacher"
        )
    if hyper.negatives_per_query == 0 or not run:
        return load_training_data(collection, qrels, {})
    first, last = options.negative_ranks
    negatives, report = mine_negatives(run, qrels, first_rank=first, last_rank=last, margin=options.negative_margin)
    LOG.info("negatives from %s: %s", options.negatives_run, report)
    if not report.kept:
        raise IaaRetrievalError(
            f"{options.negatives_run} gives no negative for any training query; is it a run of these queries?"
        )
    if options.teacher is None:
        return load_training_data(collection, qrels, negatives)
    teacher = run if options.negatives is None else read_run(options.teacher)
    scored = {q: [d for d in ids if d in teacher.get(q, ())] for q, ids in negatives.items()}
    LOG.info(
        "teacher %s: scores %d of these negatives and the positives of %d of %d queries",
        options.teacher,
        sum(map(len, scored.values())),
        sum(any(grade > 0 and d in teacher.get(q, ()) for d, grade in grades.items()) for q, grades in qrels.items()),
        len(qrels),
    )
    return replace(load_training_data(collection, qrels, scored), teacher=teacher)
