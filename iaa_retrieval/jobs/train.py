"""Tune a bi-encoder for first-stage search, or a cross-encoder for re-ranking."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.java import prepare_java
from iaa_retrieval.keyword_options import documented_options
from iaa_retrieval.training.options import TrainOptions

if TYPE_CHECKING:
    from iaa_retrieval.training.run import TrainResult


@documented_options(TrainOptions, "bi-encoder")
def train_bi_encoder(**options: Any) -> TrainResult:
    """Train query and document vectors with in-batch and hard negatives, and write the checkpoint.

    It takes the options of ``python -m iaa_retrieval.train bi-encoder`` by the same names::

        train_bi_encoder(collection="beir/scifact/train", dev_fraction=0.1, method="iaa-l", output="runs/scifact")

    Returns:
        The checkpoint's directory, the counts of trained numbers, the dev scores (between 0 and 1; of held-out queries
        over a sampled corpus) and the seconds that training took.

    Raises:
        UsageError: options out of range, that contradict each other, the method or the backbone; interrupted work at
            the output, and neither ``resume`` nor ``overwrite``.
        IaaRetrievalError: an output that is not empty, data that cannot be trained on, a loss that became infinite, or
            another process that makes the same output.
        TypeError: an unknown option, or ``collection`` or ``output`` is missing.
    """
    return _train("bi-encoder", options)


@documented_options(TrainOptions, "cross-encoder")
def train_cross_encoder(**options: Any) -> TrainResult:
    """Train a re-ranker, which sees a query and a document together, and write the checkpoint.

    It takes the options of ``python -m iaa_retrieval.train cross-encoder`` by the same names. Without ``negatives``, a
    run of the training queries, and without a ``teacher``, BM25's runs are made and kept in a folder beside the output,
    where they are found again::

        train_cross_encoder(collection="beir/scifact/train", budget="0.5%", output="runs/rerank")

    How much of the first stage's score the re-ranker keeps is chosen on the dev queries, and ``rerank_run`` does so.

    Returns:
        The checkpoint's directory, the counts of trained numbers, the dev scores (between 0 and 1; of held-out queries
        over a re-ranked run) and the seconds that training took.

    Raises:
        UsageError, IaaRetrievalError, TypeError: as for ``train_bi_encoder``.
    """
    return _train("cross-encoder", options)


def _train(kind: str, options: dict[str, Any]) -> TrainResult:
    from iaa_retrieval.training.run import needs_first_stage, train_retriever

    values = {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in options.items()}
    made = TrainOptions.of(kind=kind, **values)
    if not needs_first_stage(made):
        return train_retriever(made)
    try:
        prepare_java()  # first, for without it nothing need be loaded
    except IaaRetrievalError as error:
        raise IaaRetrievalError(
            f"{error}; the negatives are BM25's, unless a run of the training queries is given with --negatives"
        ) from error
    from iaa_retrieval.jobs.first_stage import make_first_stage

    return train_retriever(made, make_first_stage)
