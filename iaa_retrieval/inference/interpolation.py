"""A re-ranker's score and the first stage's in one: which weight, and by which formula."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from iaa_retrieval.collections.types import Run
from iaa_retrieval.models.retriever_config import RetrieverConfig

LOG = logging.getLogger("iaa_retrieval")

BARE = 1.0  # the weight of a score that nothing is added to
BARE_ADVICE = "; --interpolate none, or the argument interpolate=1, gives the bare score"


def interpolated(new: Mapping[str, float], old: Mapping[str, float], weight: float) -> dict[str, float]:
    """One query's scores: ``weight * new + (1 - weight) * old``, each scaled to [0, 1]; at 1 ``new`` as it is.

    Args:
        new: document id -> the re-ranker's score.
        old: the first stage's scores of the same documents.
        weight: of the new score, from 0 to 1.
    """
    if weight == BARE:
        return dict(new)
    scaled_new, scaled_old = _scaled(new), _scaled(old)
    return {doc_id: weight * scaled_new[doc_id] + (1 - weight) * scaled_old[doc_id] for doc_id in new}


def interpolated_run(new: Run, old: Run, weight: float) -> Run:
    """The same for every query of ``new``."""
    return {query_id: interpolated(scores, old[query_id], weight) for query_id, scores in new.items()}


def learnt_weight(config: RetrieverConfig) -> float:
    """The weight that a re-ranker's training chose; where it chose none, that of a bare score."""
    return BARE if config.interpolation is None else config.interpolation.weight


def weight_to_use(config: RetrieverConfig, asked: float | None, advice: str = BARE_ADVICE) -> float:
    """The weight of a re-ranker's score: the one asked for, else the learnt one, of which a line says whence it is.

    Args:
        config: of the re-ranker.
        asked: from 0 to 1; None is ``learnt_weight``.
        advice: the end of that line.
    """
    if asked is not None:
        return asked
    learnt = config.interpolation
    if learnt is not None:
        LOG.info(
            "interpolating: %.2f of the re-ranker's score and %.2f of the first stage's, as learnt on %d dev queries "
            "of the run %s, tagged %s%s",
            *(learnt.weight, 1 - learnt.weight, learnt.queries, learnt.first_stage, learnt.tag, advice),
        )
    return learnt_weight(config)


def _scaled(scores: Mapping[str, float]) -> dict[str, float]:
    if not scores:
        return {}
    low, high = min(scores.values()), max(scores.values())
    return {doc_id: (score - low) / (high - low) if high > low else 1.0 for doc_id, score in scores.items()}
