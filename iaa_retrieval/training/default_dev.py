"""The dev queries of a re-ranker for which nobody named any: how much of the first stage it keeps is learnt on them."""

from __future__ import annotations

import logging

from iaa_retrieval.collections.base import Collection
from iaa_retrieval.collections.holdout import hold_out
from iaa_retrieval.collections.runs import read_run
from iaa_retrieval.collections.types import Qrels, Run
from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.training.dangling_judgments import TRAINING, with_their_queries
from iaa_retrieval.training.judgments import Judgments, judgments_of_split
from iaa_retrieval.training.kinds import TrainingKind
from iaa_retrieval.training.option_groups import (
    DEFAULT_DEV_FRACTION,
    DEFAULT_DEV_SPLIT,
    FEWEST_DEV_QUERIES,
    DataOptions,
    DevOptions,
)
from iaa_retrieval.training.splits import dev_collection

LOG = logging.getLogger("iaa_retrieval")


def with_default_dev(
    kind: TrainingKind, judgments: Judgments, data: DataOptions, dev: DevOptions, run: Run, seed: int
) -> Judgments:
    """The judgments with dev queries, where the kind needs some and none were named; one line says which.

    They are those of the split called dev, if there is one with enough queries that the run has; else a tenth of the
    training queries, unless that is too few.

    Args:
        run: that negatives are taken from; empty where it is yet to be made, for the dev queries too.
    """
    if not kind.compares_within_query or dev.dev_split or dev.dev_fraction is not None:
        return judgments
    of_split = _of_default_split(judgments, data, read_run(dev.dev_run) if dev.dev_run else run)
    if of_split is not None:
        with_dev, qrels = of_split
        LOG.info(
            "no dev queries were named: the %d of split %s choose the checkpoint, and how much of the first stage's "
            "score to keep; --dev-fraction 0 is none",
            len(qrels),
            DEFAULT_DEV_SPLIT,
        )
        return judgments._replace(dev=qrels, dev_collection=with_dev)
    queries = len(judgments.train)
    if round(DEFAULT_DEV_FRACTION * queries) < FEWEST_DEV_QUERIES:
        LOG.info(
            "no dev queries were named, and there are too few training queries (%d) to hold some out unasked: the last "
            "checkpoint is kept, and its bare score; --dev-fraction holds some out",
            queries,
        )
        return judgments
    train, held_out = hold_out(judgments.train, DEFAULT_DEV_FRACTION, seed)
    LOG.info(
        "no dev queries were named: %d of %d training queries are held out to choose the checkpoint, and how much of "
        "the first stage's score to keep; --dev-fraction 0 is none",
        len(held_out),
        queries,
    )
    return judgments._replace(train=train, dev=held_out, dev_collection=judgments.collection)


def _of_default_split(judgments: Judgments, data: DataOptions, run: Run) -> tuple[Collection, Qrels] | None:
    """The dev split with its judgments, if there is one that can be used."""
    collection = judgments.collection
    if DEFAULT_DEV_SPLIT not in collection.splits() or collection.split == DEFAULT_DEV_SPLIT:
        return None
    texts, _ = with_their_queries(collection, judgments.train, TRAINING)
    try:
        with_dev = dev_collection(data.collection, DEFAULT_DEV_SPLIT)
        qrels = judgments_of_split(with_dev, DEFAULT_DEV_SPLIT, texts)
    except IaaRetrievalError:  # nobody asked for it, so nobody needs to hear what is wrong with it
        return None
    usable = [query_id for query_id in qrels if not run or query_id in run]
    return (with_dev, qrels) if len(usable) >= FEWEST_DEV_QUERIES else None
