"""What the ``quickstart`` verb does: run its steps and score their runs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from iaa_retrieval.collections.runs import read_run
from iaa_retrieval.collections.types import Qrels, Run
from iaa_retrieval.evaluation.metrics import evaluate, mean, parse_metrics
from iaa_retrieval.evaluation.significance import paired_tests
from iaa_retrieval.files import write_json
from iaa_retrieval.jobs.quickstart_options import (
    BI_ENCODER,
    CROSS_ENCODER,
    DIRECTORY,
    RESULTS,
    UNTUNED_RUN,
    QuickstartOptions,
    dense_run,
    reranked_run,
)
from iaa_retrieval.jobs.quickstart_steps import QuickstartData, quickstart_steps
from iaa_retrieval.models.retriever_config import read_retriever_config
from iaa_retrieval.reproduction.runner import run_step
from iaa_retrieval.reproduction.significance import ALPHA
from iaa_retrieval.reproduction.stages import Stages
from iaa_retrieval.versions import library_versions

METRICS = "nDCG@10 MRR@10 R@100"
BASELINES = {"bm25": "b", UNTUNED_RUN: "u"}  # runs that train nothing -> mark of what is significantly better


def run_quickstart(options: QuickstartOptions) -> dict[str, Any]:
    """Run all steps that are not valid already; write and return ``results.json``.

    Raises:
        UsageError: the collection has no training or no test queries.
        IaaRetrievalError: a step failed; the outputs of finished steps stay and are used again.
    """
    options = options.resolved()
    data = QuickstartData(options)
    directory = Path(str(options.output))
    stages = Stages(directory)
    for step in quickstart_steps(options, data, directory):
        run_step(stages, step)
    runs = [*BASELINES, dense_run(options), reranked_run(options)]
    results = {
        "collection": data.source,
        "documents": data.searched.document_count(),
        "queries": len(data.test_queries),
        **_scores(data.qrels, {name: read_run(directory / f"{name}.trec") for name in runs}),
        "trainable_parameters": {
            dense_run(options): _trained(directory / BI_ENCODER),
            reranked_run(options): _trained(directory / CROSS_ENCODER),
        },
        "seconds": stages.seconds,
        "reused": stages.reused,
        "settings": asdict(options),
        "versions": library_versions(),
    }
    write_json(directory / RESULTS, results)
    return results


def _trained(checkpoint: Path) -> int:
    config = read_retriever_config(checkpoint)
    return sum(config.trainable_parameters.values()) if config else 0


def _scores(qrels: Qrels, runs: Mapping[str, Run]) -> dict[str, Any]:
    """Mean scores of each run, and every tuned run's tests against BM25 and against the untuned encoder."""
    metrics = parse_metrics(METRICS)
    values = {name: evaluate(qrels, run, metrics) for name, run in runs.items()}
    compared = [
        (name, baseline, metric)
        for name in runs
        if name not in BASELINES
        for baseline in BASELINES
        for metric in values[name]
    ]
    tests = paired_tests([(values[baseline][metric], values[name][metric]) for name, baseline, metric in compared])
    return {
        "runs": {name: {metric: mean(of_metric) for metric, of_metric in of.items()} for name, of in values.items()},
        "significance": [
            {
                "run": name,
                "baseline": baseline,
                "metric": metric,
                **found.test._asdict(),
                "p_value_holm": found.adjusted_p,
            }
            for (name, baseline, metric), found in zip(compared, tests, strict=True)
        ],
    }


def results_table(results: Mapping[str, Any]) -> str:
    """The results as text: scores with marks of significance, trained parameters, seconds per step."""
    metrics = list(next(iter(results["runs"].values())))
    lines = [
        f"{results['collection']}: {results['documents']:,} documents, {results['queries']} test queries",
        "",
        f"{'run':18}" + "".join(f"{name:>11}" for name in metrics) + f"{'trained parameters':>22}",
    ]
    for name, scores in results["runs"].items():
        cells = "".join(f"{scores[metric]:9.4f}{_marks(results, name, metric):2}" for metric in metrics)
        trained = results["trainable_parameters"].get(name, 0)
        lines.append(f"{name:18}{cells}{trained:22,}")
    lines += [
        "",
        "b, u: significantly better than BM25, than the untuned encoder (two-tailed paired t-test, Holm-corrected "
        "p <= 0.05).",
        "",
        *(
            f"{name:24}{seconds:8.1f} s{'  (from an earlier run)' if name in results['reused'] else ''}"
            for name, seconds in results["seconds"].items()
        ),
    ]
    return "\n".join(lines)


def serving_command(results: Mapping[str, Any]) -> str:
    """The command that opens a page on what was built."""
    output = str(results["settings"]["output"])
    return "python -m iaa_retrieval.serve" + ("" if output == DIRECTORY else f" --quickstart {shlex.quote(output)}")


def _marks(results: Mapping[str, Any], run: str, metric: str) -> str:
    return "".join(
        BASELINES[test["baseline"]]
        for test in results["significance"]
        if test["run"] == run
        and test["metric"] == metric
        and test["p_value_holm"] <= ALPHA
        and test["mean_difference"] > 0
    )
