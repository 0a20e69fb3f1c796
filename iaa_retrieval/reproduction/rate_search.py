"""Choosing a learning rate on the dev queries: every method of a stage tries as many rates for as many steps.

The stage's ``rate_search`` says which. What came out is kept beside the results, in
``reproductions/results/COLLECTION/STAGE/CONDITION.rates.json``, and shown on the pages; the YAML's rate must be the
best.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.files import read_json, write_json
from iaa_retrieval.models.retriever_config import read_retriever_config
from iaa_retrieval.reproduction.conditions import Condition, RateSearch, Reproduction, Setting
from iaa_retrieval.reproduction.results import result_file
from iaa_retrieval.reproduction.runner import environment_of, run_step
from iaa_retrieval.reproduction.stages import Stages


@dataclass(frozen=True)
class TriedRates:
    """The dev score of each rate that a condition tried, as written in the YAML (``1e-3``)."""

    date: str
    hardware: str
    metric: str
    scores: dict[str, float]

    @property
    def best(self) -> str:
        """The rate with the best dev score; of equals the first."""
        return max(self.scores, key=lambda rate: self.scores[rate])


def search_rates(reproduction: Reproduction, condition: Condition, directory: Path) -> TriedRates:
    """Train a condition once with every rate that its stage tries, below ``directory``, and keep the dev scores.

    Raises:
        UsageError: the stage has no search, or nothing is trained.
        IaaRetrievalError: a command failed, or training left no dev score.
    """
    search = reproduction.stages[condition.stage].rate_search
    rates = search.rates_of(condition) if search else ()
    if search is None or not rates:
        raise UsageError(f"{reproduction.name} tries no learning rates for {condition.name} ({condition.stage})")
    topics = next(iter(reproduction.columns(condition)))
    scores = {}
    environments = []
    for rate in rates:
        trial = _trial(condition, search, rate)
        stages = Stages(directory)
        for step in reproduction.chain(trial, topics):
            run_step(stages, step, directory)
            if step.trains:
                scores[rate] = _dev_score(directory / step.name, search.metric)
                environments.append(stages.environments[step.name])
                break
    made_in = environment_of(environments)
    tried = TriedRates(made_in.date, made_in.hardware, search.metric, scores)
    write_json(rates_file(reproduction, condition), asdict(tried))
    return tried


def rates_file(reproduction: Reproduction, condition: Condition) -> Path:
    """Where the dev scores of a condition's rates are kept."""
    return result_file(reproduction, condition).with_suffix(".rates.json")


def read_tried_rates(reproduction: Reproduction, condition: Condition) -> TriedRates | None:
    """What a condition tried; None where that is not kept.

    Raises:
        IaaRetrievalError: the file is damaged.
    """
    path = rates_file(reproduction, condition)
    if not path.is_file():
        return None
    try:
        return TriedRates(**read_json(path))
    except TypeError as error:
        raise IaaRetrievalError(f"{path} holds no learning rates that were tried: {error}; search again") from error


def _trial(condition: Condition, search: RateSearch, rate: str) -> Condition:
    changed = {name: Setting(value, "ours") for name, value in {**search.settings, "lr": rate}.items()}
    return replace(condition, name=f"{condition.name}-lr{rate}", settings={**condition.settings, **changed})


def _dev_score(checkpoint: Path, metric: str) -> float:
    config = read_retriever_config(checkpoint)
    if config is None or metric not in config.dev_scores:
        raise IaaRetrievalError(f"training left no dev {metric} in {checkpoint}; the training step needs dev queries")
    return round(config.dev_scores[metric], 4)
