"""``iaa-retrieval evaluate``: score runs against relevance judgments, with significance tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from iaa_retrieval.aligned_columns import aligned
from iaa_retrieval.cli import Verb
from iaa_retrieval.files import is_standard_output, write_json
from iaa_retrieval.jobs.evaluate import EvaluateOptions, EvaluationResult, RunScores, evaluate_runs
from iaa_retrieval.options import build, click_options


@click.command(cls=Verb)
@click_options(EvaluateOptions)
@click.option("--per-query", is_flag=True, help="Also print (and put into the JSON) every query's values.")
@click.option(
    "--json",
    "json_path",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write everything here, in full precision.",
)
def main(per_query: bool, json_path: Path | None, **values: Any) -> None:
    """Score runs against relevance judgments, as trec_eval -c does.

    Judged queries that a run lacks count as 0; a run's queries without judgments are left out.
    """
    options = build(EvaluateOptions, values)
    result = evaluate_runs(options)
    for scores in result.scores:
        if note := _note(scores):
            click.echo(note, err=True)
    # JSON that goes to standard output must stay JSON.
    apart = json_path is not None and is_standard_output(json_path)
    if per_query:
        click.echo(aligned(_per_query_rows(result)) + "\n", err=apart)
    click.echo(aligned(_mean_rows(result)), err=apart)
    if result.comparisons:
        click.echo("\n" + aligned(_comparison_rows(result)), err=apart)
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
