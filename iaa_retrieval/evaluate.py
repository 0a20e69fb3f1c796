"""``iaa-retrieval evaluate``: score runs against relevance judgments, with significance tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from iaa_retrieval.cli import Verb
from iaa_retrieval.collections.qrels import read_qrels
from iaa_retrieval.collections.runs import read_run
from iaa_retrieval.collections.types import Qrels
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.evaluation.metrics import KNOWN_METRICS, Metric, evaluate, mean, parse_metrics
from iaa_retrieval.evaluation.significance import TTest, paired_tests
from iaa_retrieval.files import is_standard_output, write_json

DEFAULT_METRICS = "nDCG@10 R@100 MRR@10"


@dataclass(frozen=True)
class EvaluateOptions:
    """What to score. ``qrels`` is a file, a collection's split (``SPEC:SPLIT``) or an ir_datasets id."""

    qrels: str
    runs: tuple[Path, ...]
    metrics: str = DEFAULT_METRICS
    significance: bool = False
    relevance_level: int = 1


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


@click.command(cls=Verb)
@click.option(
    "--qrels",
    required=True,
    metavar="Q",
    help="Judgments: a TREC or BEIR file, COLLECTION:SPLIT, or an ir_datasets id.",
)
@click.option(
    "--run",
    "runs",
    required=True,
    multiple=True,
    metavar="RUN",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A TREC run; repeat for several.",
)
@click.option("--metrics", default=DEFAULT_METRICS, show_default=True, help=f"Any of {KNOWN_METRICS}.")
@click.option(
    "-l",
    "--relevance-level",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="Lowest grade that counts as relevant (every metric but nDCG).",
)
@click.option(
    "--significance", is_flag=True, help="Paired t-test of every run against the first, Holm-adjusted over the runs."
)
@click.option("--per-query", is_flag=True, help="Also print (and put into the JSON) every query's values.")
@click.option(
    "--json",
    "json_path",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write everything here, in full precision.",
)
def main(
    qrels: str,
    runs: tuple[Path, ...],
    metrics: str,
    relevance_level: int,
    significance: bool,
    per_query: bool,
    json_path: Path | None,
) -> None:
    """Score runs against relevance judgments, as trec_eval -c does.

    Judged queries that a run lacks count as 0; a run's queries without judgments are left out.
    """
    options = EvaluateOptions(qrels, runs, metrics, significance, relevance_level)
    result = evaluate_runs(options)
    for scores in result.scores:
        if note := _note(scores):
            click.echo(note, err=True)
    # JSON that goes to standard output must stay JSON.
    apart = json_path is not None and is_standard_output(json_path)
    if per_query:
        click.echo(_table(_per_query_rows(result)) + "\n", err=apart)
    click.echo(_table(_mean_rows(result)), err=apart)
    if result.comparisons:
        click.echo("\n" + _table(_comparison_rows(result)), err=apart)
    if json_path is not None:
        write_json(json_path, _as_json(options, result, per_query))


def _note(scores: RunScores) -> str:
    parts = []
    if scores.unjudged:
        parts.append(f"queries left out because nobody judged them: {scores.unjudged}")
    if scores.missing:
        parts.append(f"judged queries that it lacks, which count as 0: {scores.missing}")
    return f"{scores.run}: {'; '.join(parts)}" if parts else ""


def _mean_rows(result: EvaluationResult) -> list[list[str]]:
    rows = [["run", *result.metrics]]
    for scores in result.scores:
        rows.append([str(scores.run), *(f"{scores.means[name]:.4f}" for name in result.metrics)])
    return rows


def _per_query_rows(result: EvaluationResult) -> list[list[str]]:
    rows = [["run", "query", *result.metrics]]
    for scores in result.scores:
        for query_id in scores.per_query[result.metrics[0]]:
            values = (f"{scores.per_query[name][query_id]:.4f}" for name in result.metrics)
            rows.append([str(scores.run), query_id, *values])
    return rows


def _comparison_rows(result: EvaluationResult) -> list[list[str]]:
    rows = [[f"against {result.scores[0].run}", "metric", "difference", "t", "p", "p (Holm)"]]
    for comparison in result.comparisons:
        test = comparison.test
        numbers = (test.statistic, test.p_value, comparison.adjusted_p)
        rows.append(
            [
                str(comparison.run),
                comparison.metric,
                f"{test.mean_difference:+.4f}",
                *(f"{number:.4f}" for number in numbers),
            ]
        )
    return rows


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to equal width: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        aligned = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        lines.append("  ".join([first.ljust(widths[0]), *aligned]))
    return "\n".join(lines)


def _as_json(options: EvaluateOptions, result: EvaluationResult, per_query: bool) -> dict[str, Any]:
    return {
        "qrels": options.qrels,
        "relevance_level": options.relevance_level,
        "runs": [
            {
                "run": str(scores.run),
                "queries": len(scores.per_query[result.metrics[0]]),
                "unjudged_queries": scores.unjudged,
                "missing_queries": scores.missing,
                "scores": scores.means,
                **({"per_query": scores.per_query} if per_query else {}),
            }
            for scores in result.scores
        ],
        "significance": [
            {
                "run": str(c.run),
                "against": str(result.scores[0].run),
                "metric": c.metric,
                **c.test._asdict(),
                "p_value_holm": c.adjusted_p,
            }
            for c in result.comparisons
        ],
    }


if __name__ == "__main__":
    main(prog_name="python -m iaa_retrieval.evaluate")
