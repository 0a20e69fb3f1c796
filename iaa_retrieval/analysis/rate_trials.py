"""Runs that tried a learning rate: what their dev score was, or that they diverged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iaa_retrieval.analysis.learning_runs import (
    RATES_SUFFIX,
    method_of_condition,
    read_config,
    settings_of,
    task_of,
    task_of_reproduction,
)
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.files import atomic_directory, read_json, write_json

DIVERGED_FILE = "diverged.json"


@dataclass(frozen=True)
class RateTrial:
    """One run with one learning rate.

    Attributes:
        source: the path it was read from.
        method: its name.
        rate: the peak learning rate.
        score: the dev score of the kept checkpoint, from 0 to 1; None where the run diverged.
        task: as of ``LearningRun``.
        settings: as of ``LearningRun``, without the learning rate; empty of a run that diverged and left none.
    """

    source: str
    method: str
    rate: float
    score: float | None
    task: Mapping[str, Any]
    settings: Mapping[str, Any]


def read_rate_trials(paths: Sequence[str | Path], metric: str) -> list[RateTrial]:
    """Read checkpoints, runs that a sweep recorded as diverged, and ``CONDITION.rates.json`` of reproductions.

    Args:
        paths: directories and files, in any order.
        metric: which dev score.

    Raises:
        UsageError: a path that is none of these, or has another metric.
        IaaRetrievalError: a damaged file; a checkpoint without dev scores.
    """
    trials: list[RateTrial] = []
    for path in map(Path, paths):
        if path.is_dir():
            trials.append(_of_diverged(path) if (path / DIVERGED_FILE).is_file() else _of_checkpoint(path, metric))
        elif path.is_file() and path.name.endswith(RATES_SUFFIX):
            trials += _of_rates_file(path, metric)
        else:
            raise UsageError(f"{path} tells no learning rates; name checkpoint directories or CONDITION{RATES_SUFFIX}")
    return trials


def write_diverged(directory: Path, kind: str, method: str, rate: float, reason: str) -> None:
    """Record that a run diverged, in the place where its checkpoint would be."""
    with atomic_directory(directory) as made:
        record = {"kind": kind, "method": method, "learning_rate": rate, "reason": reason}
        write_json(made / DIVERGED_FILE, record)


def _of_checkpoint(directory: Path, metric: str) -> RateTrial:
    config = read_config(directory)
    rate, score = config.training.get("learning_rate"), config.dev_scores.get(metric)
    if rate is None or score is None:
        missing = "learning rate" if rate is None else f"dev {metric}"
        raise IaaRetrievalError(f"{directory} says no {missing}; train with --dev-split or --dev-fraction")
    settings = {name: value for name, value in settings_of(config).items() if name != "learning_rate"}
    return RateTrial(str(directory), config.method, float(rate), float(score), task_of(config), settings)


def _of_diverged(directory: Path) -> RateTrial:
    path = directory / DIVERGED_FILE
    record = read_json(path)
    try:
        rate = float(record["learning_rate"])
        return RateTrial(str(directory), str(record["method"]), rate, None, {"kind": record["kind"]}, {})
    except (KeyError, TypeError, ValueError) as error:
        raise IaaRetrievalError(f"{path} is no record of a run that diverged: {error}") from error


def _of_rates_file(path: Path, metric: str) -> list[RateTrial]:
    """A trial for each score; a rate may have a list of them (of several seeds), and null is a run that diverged."""
    content = read_json(path)
    condition = path.name.removesuffix(RATES_SUFFIX)
    method, task, settings = method_of_condition(condition), task_of_reproduction(path), {"condition": condition}
    trials = []
    try:
        if content["metric"] != metric:
            raise UsageError(f"{path} has dev {content['metric']} and not {metric}; ask for that with --metric")
        for rate, found in content["scores"].items():
            for score in found if isinstance(found, list) else [found]:
                value = None if score is None else float(score)
                trials.append(RateTrial(str(path), method, float(rate), value, task, settings))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise IaaRetrievalError(f"{path} holds no learning rates that were tried: {error}") from error
    return trials
