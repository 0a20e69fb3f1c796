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
from iaa_retrieval.reproduction.conditions import RateSearch, Setting
from iaa_retrieval.reproduction.plan import ConditionPlan
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


def search_rates(plan: ConditionPlan, directory: Path) -> TriedRates:
    """Train a condition once with every rate that its stage tries, below ``directory``, and keep the dev scores.

    Raises:
        UsageError: the stage has no search, or nothing is trained.
        IaaRetrievalError: a command failed, or training left no dev score.
    """
    search = plan.table.rate_search
    if search is None or not plan.rates:
        raise UsageError(f"{plan.reproduction.name} tries no learning rates for {plan.name} ({plan.stage})")
    topics = next(iter(plan.columns))
    scores = {}
    environments = []
    for rate in plan.rates:
        stages = Stages(directory)
        for step in trial(plan, search, rate).chain(topics):
            run_step(stages, step)
            if step.trains:
                scores[rate] = dev_score(directory / step.name, search.metric)
                environments.append(stages.environments[step.name])
                break
    made_in = environment_of(environments)
    tried = TriedRates(made_in.date, made_in.hardware, search.metric, scores)
    write_json(plan.rates_file, asdict(tried))
    return tried


def read_tried_rates(plan: ConditionPlan) -> TriedRates | None:
    """What a condition tried; None where that is not kept.

    Raises:
        IaaRetrievalError: the file is damaged.
    """
    path = plan.rates_file
    if not path.is_file():
        return None
    try:
        return TriedRates(**read_json(path))
    except TypeError as error:
        raise IaaRetrievalError(f"{path} holds no learning rates that were tried: {error}; search again") from error


def trial(plan: ConditionPlan, search: RateSearch, rate: str) -> ConditionPlan:
    """The condition as one rate is tried: with the settings of the search."""
    condition = plan.condition
    changed = {name: Setting(value, "ours") for name, value in {**search.settings, "lr": rate}.items()}
    tried = replace(condition, name=f"{condition.name}-lr{rate}", settings={**condition.settings, **changed})
    return replace(plan, condition=tried)


def dev_score(checkpoint: Path, metric: str) -> float:
    """What training kept in a checkpoint as its score on the dev queries, to the four decimals that are kept.

    Raises:
        IaaRetrievalError: it kept none.
    """
    config = read_retriever_config(checkpoint)
    if config is None or metric not in config.dev_scores:
        raise IaaRetrievalError(f"training left no dev {metric} in {checkpoint}; the training step needs dev queries")
    return round(config.dev_scores[metric], 4)
