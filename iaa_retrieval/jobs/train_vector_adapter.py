"""Tune query vectors alone: a small map over them, for encoders whose weights are out of reach."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from iaa_retrieval.collections.negatives import is_margin
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.keyword_options import documented_options
from iaa_retrieval.options import Check, Checked, above, at_least, build, one_of, option, share

if TYPE_CHECKING:
    import numpy as np

    from iaa_retrieval.collections.types import Qrels
    from iaa_retrieval.inference.query_vectors import QueryVectors
    from iaa_retrieval.inference.stored_vectors import StoredVectors
    from iaa_retrieval.training.data import ExampleDataset
    from iaa_retrieval.training.vector_adapter import Trained

LOG = logging.getLogger("iaa_retrieval")

METRIC = "nDCG@10"
_UNIT_LENGTH = 1e-3  # by how much a vector's length may differ from 1 that is said to be of unit length


@dataclass(frozen=True, kw_only=True)
class VectorAdapterOptions(Checked):
    """One training of a vector adapter."""

    queries: str = option(
        help="Vectors of the training queries: embedding.pkl or its directory (encode queries makes one; so can any "
        "program, with the columns id, text and embedding), or Parquet (docid, vector).",
        metavar="FILE-or-DIR",
    )
    index: str = option(
        help="Vectors of the documents: a Faiss directory, which stays on disk, or Parquet, which is read into memory.",
        metavar="DIR",
    )
    qrels: str = option(
        help="Judgments of the training queries: a file, SPEC:SPLIT or ir_datasets id.", metavar="QRELS"
    )
    output: str = option(help="Directory to make.", type=click.Path(file_okay=False))
    r: int = option(128, help="Numbers between the two matrices: capacity.", check=at_least(1))
    activation: str = option(
        "linear",
        help="What stands between the two matrices; linear is nothing, so that the map is a matrix of rank r.",
        check=one_of("linear", "relu", "gelu"),
    )
    negatives: str | None = option(
        None,
        help="TREC run of the training queries to take hard negatives from.",
        default_text="what the index finds for the vectors as they are given",
        type=click.Path(dir_okay=False),
        metavar="RUN",
    )
    negatives_per_query: int = option(1, help="Hard negatives per example.", check=at_least(0))
    negative_ranks: tuple[int, int] = option(
        (1, 100),
        help="First and last rank that negatives are taken from.",
        check=Check(lambda ranks: 1 <= ranks[0] <= ranks[1], "two ranks from 1 on, the lower one first"),
    )
    negative_margin: str | None = option(
        None,
        help="Leave out negatives that score above the query's positive minus this or, of one such as 95%, above that "
        "share of the positive's score.",
        default_text="keep them",
        metavar="NUMBER|SHARE",
        check=Check(is_margin, "a difference of 0 or more, or a share up to 100% such as 95%"),
    )
    random_negatives: int = option(
        8192,
        help="Documents of the index, drawn anew in each step, that every query of the step is compared with; all, "
        "where it has no more.",
        check=at_least(0),
    )
    temperature: float = option(0.05, help="Divides the similarities.", check=above(0))
    epochs: int = option(20, help="Passes over the training queries.", check=at_least(1))
    batch_size: int = option(128, help="Queries per step.", check=at_least(1))
    lr: float = option(3e-3, help="Peak learning rate.", check=above(0))
    weight_decay: float = option(0.01, help="AdamW weight decay, of the two matrices.", check=at_least(0))
    dev_fraction: float = option(
        0.1,
        help="Hold out this share of the training queries, by seed; the epoch that scores best on them is kept, the "
        "vectors as they are given where none is better. 0 holds none out and keeps the last epoch.",
        check=share(),
    )
    select: str = option(
        "all",
        help="Which dev queries choose the epoch: all, or unseen, those for which training knows no relevant document. "
        "A map that learns where the judged documents lie finds these better and the others worse.",
        check=one_of("all", "unseen"),
    )
    seed: int = option(42, help="Seed of everything random.")
    overwrite: bool = option(False, help="Replace a finished adapter at the end.")


class VectorAdapterResult(NamedTuple):
    """What a training made.

    Attributes:
        output: the adapter's directory.
        epoch: that was kept; 0 is none, the adapter changes nothing.
        dev_scores: of it; empty without dev queries.
        dev_scores_before: of the vectors as they were given.
        dev_queries: how many there were.
    """

    output: Path
    epoch: int
    dev_scores: dict[str, float]
    dev_scores_before: dict[str, float]
    dev_queries: int


@documented_options(VectorAdapterOptions)
def train_vector_adapter(**options: Any) -> VectorAdapterResult:
    """Train a small map over query vectors for an index of documents, and write it; no encoder is needed.

    It takes the options of ``python -m iaa_retrieval.train vector-adapter`` by the same names::

        train_vector_adapter(queries="queries", index="index", qrels="beir/scifact/train", output="adapter")

    Returns:
        Where it is, the epoch that was kept, and the dev scores (between 0 and 1) before and after.

    Raises:
        UsageError: options out of range, or an index that does not give back its vectors.
        IaaRetrievalError: an output that is not empty, vectors that do not fit together, or judgments of other queries
            or documents.
        TypeError: an unknown option, or a required one is missing.
    """
    values = {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in options.items()}
    return train_on_vectors(build(VectorAdapterOptions, values))


def train_on_vectors(options: VectorAdapterOptions) -> VectorAdapterResult:
    """As ``train_vector_adapter``, from the options as one object."""
    import numpy as np
    import torch

    from iaa_retrieval.files import require_empty
    from iaa_retrieval.inference.query_vectors import read_query_vectors
    from iaa_retrieval.inference.stored_vectors import open_stored_vectors
    from iaa_retrieval.models.vector_adapter import VectorAdapter
    from iaa_retrieval.training.vector_adapter import (
        UNSEEN,
        VectorTraining,
        of_unseen_documents,
        train_adapter,
        vector_dev_evaluator,
    )

    require_empty(options.output, overwrite=options.overwrite)
    queries, index = read_query_vectors(options.queries), open_stored_vectors(options.index)
    require_one_space(queries, index)
    train, dev = _judgments(options, queries, index)
    vectors = dict(zip(queries.ids, queries.vectors, strict=True))
    examples = _examples(options, vectors, train, index)
    torch.manual_seed(options.seed)
    unit = bool(np.abs(np.linalg.norm(queries.vectors, axis=1) - 1).max() < _UNIT_LENGTH)
    adapter = VectorAdapter(index.dimension, options.r, options.activation, normalize=unit)
    unseen = of_unseen_documents(dev, train)
    if options.select == "unseen" and not unseen:
        raise UsageError(
            f"--select unseen: training knows a relevant document of every dev query ({len(dev)}); use --select all"
        )
    evaluate_dev = vector_dev_evaluator(adapter, vectors, dev, unseen, index) if dev else None
    names = ("epochs", "batch_size", "lr", "weight_decay", "temperature", "random_negatives", "seed")
    how = VectorTraining(**{name: getattr(options, name) for name in names})
    metric = METRIC + (UNSEEN if options.select == "unseen" else "")
    kept = train_adapter(adapter, vectors, examples, index, how, evaluate_dev, metric)
    before = {name: value for name, value in kept.history[0].items() if name != "epoch"}
    if dev:
        _warn_of_no_gain(kept, before, len(dev), len(unseen))
    record = {"queries": len(train), "dev_queries": len(dev), "unseen_dev_queries": len(unseen)}
    record |= {"epoch": kept.epoch, "steps": kept.steps}
    _write(options, adapter, queries, index, record, before, kept.scores, kept.history)
    return VectorAdapterResult(Path(options.output), kept.epoch, kept.scores, before, len(dev))


def require_one_space(queries: QueryVectors, index: StoredVectors) -> None:
    """Refuse vectors of queries that are not of the same space as those of the documents, as far as that is known.

    Raises:
        IaaRetrievalError: another length, or another encoder; both sides are named.
    """
    from iaa_retrieval.models.retriever_config import require_same_encoder

    if queries.vectors.shape[1] != index.dimension:
        raise IaaRetrievalError(
            f"{queries.source} holds vectors of {queries.vectors.shape[1]} numbers, and {index.source} of "
            f"{index.dimension}; encode both with one encoder"
        )
    if queries.config is not None and index.config is not None:
        left, right = index.config.index_fingerprint, queries.config.index_fingerprint
        require_same_encoder(index.source, left, queries.source, right)


def _warn_of_no_gain(kept: Trained, before: Mapping[str, float], dev: int, unseen: int) -> None:
    """Say where the adapter is no better than the vectors as they are given."""
    from iaa_retrieval.training.vector_adapter import UNSEEN

    name = METRIC + UNSEEN
    if kept.epoch == 0:
        LOG.warning(
            "no epoch scored better on the dev queries (%d) than the vectors as they are given, so the adapter changes "
            "nothing; try another --lr, --r or --temperature",
            dev,
        )
    elif name in before and kept.scores[name] < before[name]:
        LOG.warning(
            "on the dev queries (%d of %d) for which training knows no relevant document, %s fell from %.4f to %.4f: "
            "the adapter learnt where the judged documents lie; --select unseen chooses the epoch by these queries",
            *(unseen, dev, METRIC, before[name], kept.scores[name]),
        )


def _judgments(options: VectorAdapterOptions, queries: QueryVectors, index: StoredVectors) -> tuple[Qrels, Qrels]:
    """Of the training queries and of the dev queries, all with a vector and with a relevant document in the index."""
    from iaa_retrieval.collections.holdout import hold_out
    from iaa_retrieval.collections.qrels import read_qrels
    from iaa_retrieval.training.dangling_judgments import TRAINING
    from iaa_retrieval.training.indexed_data import with_indexed_documents

    qrels = read_qrels(options.qrels)
    known = set(queries.ids)
    missing = [query_id for query_id in qrels if query_id not in known]
    if len(missing) == len(qrels):
        raise IaaRetrievalError(f"{options.qrels} judges none of the queries in {queries.source}")
    if missing:
        LOG.warning(
            "%d of %d judged queries have no vector in %s (e.g. %s); left out of training",
            *(len(missing), len(qrels), queries.source, missing[0]),
        )
    usable = with_indexed_documents(index, {q: qrels[q] for q in qrels if q in known}, TRAINING)
    return hold_out(usable, options.dev_fraction, options.seed) if options.dev_fraction else (usable, {})


def _examples(
    options: VectorAdapterOptions, vectors: Mapping[str, np.ndarray], train: Qrels, index: StoredVectors
) -> ExampleDataset:
    """The training queries with their negatives, of a run or of a search with the vectors as they are given."""
    import numpy as np

    from iaa_retrieval.collections.negatives import mine_negatives
    from iaa_retrieval.collections.runs import read_run
    from iaa_retrieval.training.data import ExampleDataset, TrainingData
    from iaa_retrieval.training.indexed_data import indexed_negatives

    positives = {q: sorted(d for d, grade in grades.items() if grade > 0) for q, grades in train.items()}
    negatives: dict[str, list[str]] = {}
    if options.negatives_per_query:
        first, last = options.negative_ranks
        query_ids = list(train)
        run = (
            index.run(query_ids, np.stack([vectors[query_id] for query_id in query_ids]), train, last)
            if options.negatives is None
            else read_run(options.negatives)
        )
        source = options.negatives or "searching the index"
        mined, report = mine_negatives(run, train, first_rank=first, last_rank=last, margin=options.negative_margin)
        LOG.info("negatives from %s: %s", source, report)
        negatives = indexed_negatives(index, mined, source)
    data = TrainingData({}, {}, positives, negatives)
    return ExampleDataset(data, options.negatives_per_query, options.seed)


def _write(
    options: VectorAdapterOptions,
    adapter: Any,
    queries: QueryVectors,
    index: StoredVectors,
    record: dict[str, int],
    before: dict[str, float],
    scores: dict[str, float],
    history: list[dict[str, float]],
) -> None:
    from iaa_retrieval.files import atomic_directory, write_json
    from iaa_retrieval.models.vector_adapter import VectorAdapterConfig, save_vector_adapter
    from iaa_retrieval.versions import library_versions

    places = ("queries", "index", "qrels", "negatives")
    asked = {name: value for name, value in asdict(options).items() if name not in ("output", "overwrite", *places)}
    named = {name: Path(value).name for name in places if (value := getattr(options, name)) is not None}
    config = VectorAdapterConfig(
        dimension=index.dimension,
        r=options.r,
        activation=options.activation,
        normalize=adapter.normalize,
        encoder_fingerprint="" if queries.config is None else queries.config.fingerprint,
        index_fingerprint="" if index.config is None else index.config.index_fingerprint,
        training={**named, **asked, **record},
        versions=library_versions(),
        dev_scores={**scores, **{f"{name} before": value for name, value in before.items()}},
    )
    with atomic_directory(options.output, overwrite=options.overwrite) as directory:
        save_vector_adapter(adapter, config, directory)
        write_json(directory / "history.json", history)
