"""Scores of runs against relevance judgments, with significance tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, overload

import click

from iaa_retrieval.collections.qrels import read_qrels
from iaa_retrieval.collections.runs import read_run
from iaa_retrieval.collections.types import Qrels, Run
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.evaluation.metrics import KNOWN_METRICS, Metric, evaluate, mean, parse_metrics
from iaa_retrieval.evaluation.significance import TTest, paired_tests
from iaa_retrieval.options import Checked, at_least, option


@dataclass(frozen=True)
class EvaluateOptions(Checked):
    """Which runs to score against which judgments, and how."""

    qrels: str = option(
        help="Judgments: a TREC or BEIR file, COLLECTION:SPLIT, or an ir_datasets id.",
        metavar="Q",
    )
    runs: tuple[Path, ...] = option(
        help="A TREC run; repeat for several.",
        metavar="RUN",
        flags=("--run",),
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
    )
    metrics: str = option("nDCG@10 R@100 MRR@10", help=f"Any of {KNOWN_METRICS}.")
    relevance_level: int = option(
        1,
        help="Lowest grade that counts as relevant (every metric but nDCG).",
        flags=("-l", "--relevance-level"),
        type=click.IntRange(min=1),
        check=at_least(1),
    )
    significance: bool = option(
        False, help="Paired t-test of every run against the first, Holm-adjusted over the runs."
    )


@dataclass(frozen=True)
class RunScores:
    """The scores of one run over the judged queries.

    Attributes:
        means: metric name -> average over all judged queries.
        per_query: metric name -> query id -> value.
        unjudged: how many of the run's queries have no judgments and were left out.
        missing: how many judged queries the run lacks; each counts as 0.
    """

    run: Path
    means: dict[str, float]
    per_query: dict[str, dict[str, float]]
    unjudged: int
    missing: int


@dataclass(frozen=True)
class Comparison:
    """One run against the first one on one metric; ``adjusted_p`` is Holm's over the runs."""

    run: Path
    metric: str
    test: TTest
    adjusted_p: float


@dataclass(frozen=True)
class EvaluationResult:
    """The scores of every run, in the order asked for, and the comparisons if they were asked for."""

    metrics: tuple[str, ...]
    scores: tuple[RunScores, ...]
    comparisons: tuple[Comparison, ...]


def evaluate_runs(options: EvaluateOptions) -> EvaluationResult:
    """Score every run as ``trec_eval -c -m ... -l relevance_level`` does and compare each with the first.

    Args:
        options: what to score.

    Returns:
        The scores of every run, with those of each query, and the comparisons.

    Raises:
        UsageError: an unknown metric or collection, or a comparison of a single run.
        IaaRetrievalError: a malformed file, or a run that shares no query with the judgments.
    """
    metrics = parse_metrics(options.metrics)
    if options.significance and len(options.runs) < 2:
        raise UsageError("a significance test compares runs with the first one; name at least two with --run")
    qrels = read_qrels(options.qrels)
    scores = tuple(_score(path, qrels, metrics, options.relevance_level) for path in options.runs)
    comparisons = _compare(scores, metrics) if options.significance else ()
    return EvaluationResult(tuple(metric.name for metric in metrics), scores, comparisons)


@overload
def evaluate_run(
    qrels: Qrels | str | Path, run: Run | str | Path, metrics: str = ..., *, relevance_level: int = ...
) -> dict[str, float]: ...


@overload
def evaluate_run(
    qrels: Qrels | str | Path,
    run: Run | str | Path,
    metrics: str = ...,
    *,
    relevance_level: int = ...,
    per_query: Literal[True],
) -> dict[str, dict[str, float]]: ...


def evaluate_run(
    qrels: Qrels | str | Path,
    run: Run | str | Path,
    metrics: str = EvaluateOptions.metrics,
    *,
    relevance_level: int = EvaluateOptions.relevance_level,
    per_query: bool = False,
) -> dict[str, float] | dict[str, dict[str, float]]:
    """Score a run against relevance judgments, as ``trec_eval -c -m ... -l relevance_level`` does.

    Judged queries that the run lacks count as 0; its queries without judgments are left out. Hits are ordered by
    score, and where scores are equal by document id, as trec_eval does.

    Args:
        qrels: judgments: query id -> document id -> grade; or a TREC or BEIR file, ``COLLECTION:SPLIT`` or an
            ir_datasets id.
        run: query id -> document id -> score, or a TREC run file.
        metrics: names such as ``nDCG@10``, between spaces or commas.
        relevance_level: lowest grade that counts as relevant, for every metric but nDCG.
        per_query: the values of all queries instead of their average.

    Returns:
        Metric name -> average over the judged queries, from 0 to 1; with ``per_query``, metric name -> query id ->
        value.

    Raises:
        UsageError: an unknown metric, or judgments that cannot be found.
        IaaRetrievalError: a malformed file, a score that is not finite, or no query in common.
    """
    judged = qrels if isinstance(qrels, dict) else read_qrels(str(qrels))
    found = run if isinstance(run, dict) else read_run(run)
    values = evaluate(judged, found, parse_metrics(metrics), relevance_level=relevance_level)
    return values if per_query else {name: mean(of_queries) for name, of_queries in values.items()}


def _score(path: Path, qrels: Qrels, metrics: Sequence[Metric], relevance_level: int) -> RunScores:
    run = read_run(path)
    try:
        per_query = evaluate(qrels, run, metrics, relevance_level=relevance_level)
    except IaaRetrievalError as error:
        raise IaaRetrievalError(f"{path}: {error}") from error
    means = {name: mean(values) for name, values in per_query.items()}
    return RunScores(path, means, per_query, len(run.keys() - qrels.keys()), len(qrels.keys() - run.keys()))


def _compare(scores: Sequence[RunScores], metrics: Sequence[Metric]) -> tuple[Comparison, ...]:
    first, *others = scores
    comparisons = []
    for metric in metrics:
        baseline = first.per_query[metric.name]
        tests = paired_tests([(baseline, other.per_query[metric.name]) for other in others])
        comparisons += [
            Comparison(other.run, metric.name, test, adjusted_p)
            for other, (test, adjusted_p) in zip(others, tests, strict=True)
        ]
    return tuple(comparisons)
