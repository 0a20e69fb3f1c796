"""Per-query metrics through trec_eval (pytrec_eval)."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from iaa_retrieval.collections.runs import require_finite
from iaa_retrieval.collections.types import Qrels, Run
from iaa_retrieval.errors import IaaRetrievalError, UsageError


class Metric(NamedTuple):
    """A metric as we name it, with trec_eval's measure and how to read that measure's value.

    Attributes:
        name: such as ``nDCG@10``.
        measure: such as ``ndcg_cut.10``.
        cutoff: the number of documents that count, from the best; None where all do.
    """

    name: str
    measure: str
    cutoff: int | None

    @property
    def value_key(self) -> str:
        """The name under which pytrec_eval reports the measure."""
        return self.measure.replace(".", "_")


class _Family(NamedTuple):
    name: str
    with_cutoff: Callable[[int], str] | None
    without_cutoff: str | None


_FAMILIES = {
    "ndcg": _Family("nDCG", "ndcg_cut.{}".format, None),
    "r": _Family("R", "recall.{}".format, None),
    "recall": _Family("R", "recall.{}".format, None),
    # trec_eval's recip_rank has no cut-off: see _value.
    "mrr": _Family("MRR", lambda cutoff: "recip_rank", "recip_rank"),
    "map": _Family("MAP", "map_cut.{}".format, "map"),
    "p": _Family("P", "P.{}".format, None),
    "success": _Family("Success", "success.{}".format, None),
}
_METRIC = re.compile(r"([a-z]+)(?:@([1-9][0-9]*))?", re.IGNORECASE)
KNOWN_METRICS = "nDCG@k, R@k (Recall@k), MRR, MRR@k, MAP, MAP@k, P@k, Success@k"


def parse_metrics(text: str) -> list[Metric]:
    """The metrics in ``text``, such as ``nDCG@10 R@100``; case does not matter, repetitions count once.

    Args:
        text: names separated by spaces or commas: nDCG@k, R@k (or Recall@k), MRR, MRR@k, MAP, MAP@k, P@k, Success@k.

    Returns:
        The metrics in the order of ``text``, for ``evaluate``.

    Raises:
        UsageError: an unknown name; the message lists the known ones.
    """
    metrics = {metric.name: metric for metric in map(_parse_metric, re.split(r"[\s,]+", text.strip()))}
    return list(metrics.values())


def evaluate(
    qrels: Qrels, run: Run, metrics: Sequence[Metric], *, relevance_level: int = 1
) -> dict[str, dict[str, float]]:
    """Score a run, as ``trec_eval -c -m ... -l relevance_level`` does.

    Every query with at least one judgment counts, also when the run lacks it or when none of its judgments is
    relevant: its value is 0. Queries of the run without judgments are left out. Documents are ordered by
    score, then by greater document id.

    Args:
        qrels: query id -> document id -> grade (see ``iaa_retrieval.collections.qrels.read_qrels``).
        run: query id -> document id -> score (see ``iaa_retrieval.collections.runs.read_run``).
        metrics: from ``parse_metrics``.
        relevance_level: lowest grade that counts as relevant; nDCG, whose gain is the grade, does not use it.

    Returns:
        Metric name -> query id -> value from 0 to 1, the queries in the order of ``qrels``; ``mean`` averages them.

    Raises:
        IaaRetrievalError: no query of the run is judged, or a score is not finite.
    """
    import pytrec_eval

    judged = {query_id: grades for query_id, grades in qrels.items() if grades}
    hits = {query_id: run[query_id] for query_id in judged if run.get(query_id)}
    if not hits:
        raise IaaRetrievalError(
            f"the run and the judgments have no query in common: the run has {_examples(run)}, "
            f"the judgments have {_examples(judged)}"
        )
    for query_id, scores in hits.items():
        require_finite(query_id, scores)
    # A fresh evaluator per call: one that is used again remembers the previous run.
    evaluator = pytrec_eval.RelevanceEvaluator(
        judged, {metric.measure for metric in metrics}, relevance_level=relevance_level
    )
    results = evaluator.evaluate({query_id: _as_floats(scores) for query_id, scores in hits.items()})
    return {
        metric.name: {query_id: _value(results[query_id], metric) if query_id in hits else 0.0 for query_id in judged}
        for metric in metrics
    }


def mean(per_query: Mapping[str, float]) -> float:
    """The average over queries.

    Args:
        per_query: query id -> value, of at least one query.
    """
    return statistics.fmean(per_query.values())


def _parse_metric(text: str) -> Metric:
    match = _METRIC.fullmatch(text)
    family = _FAMILIES.get(match[1].lower()) if match else None
    if match is not None and family is not None:
        if match[2] is None and family.without_cutoff is not None:
            return Metric(family.name, family.without_cutoff, None)
        if match[2] is not None and family.with_cutoff is not None:
            cutoff = int(match[2])
            return Metric(f"{family.name}@{cutoff}", family.with_cutoff(cutoff), cutoff)
    raise UsageError(f"unknown metric {text!r}; known: {KNOWN_METRICS}")


def _value(result: Mapping[str, float], metric: Metric) -> float:
    value = result[metric.value_key]
    if metric.measure == "recip_rank" and metric.cutoff is not None and value > 0:
        # Cutting the run at k changes nothing unless the first relevant document is below k.
        return value if round(1 / value) <= metric.cutoff else 0.0
    return value


def _as_floats(scores: Mapping[str, float]) -> dict[str, float]:
    return {doc_id: float(score) for doc_id, score in scores.items()}


def _examples(queries: Mapping[str, object]) -> str:
    return ", ".join(map(repr, sorted(queries)[:3])) or "none"
