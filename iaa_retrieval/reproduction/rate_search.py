"""Choosing a learning rate on the dev queries: every method of a stage tries as many rates for as many steps.

The stage's ``rate_search`` says which. What came out is kept beside the results after every rate, in
``reproductions/results/COLLECTION/STAGE/CONDITION.rates.json``, and shown on the pages; the YAML's rate must be the
best. A search that was interrupted goes on: what was trained below the directory of the run is used again.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.models.retriever_config import read_retriever_config
from iaa_retrieval.reproduction.conditions import RateSearch, Setting
from iaa_retrieval.reproduction.plan import ConditionPlan
from iaa_retrieval.reproduction.runner import environment_of, run_step
from iaa_retrieval.reproduction.stages import Environment, Stages, current_environment
from iaa_retrieval.reproduction.tried_rates import TriedRates, tried_rates, write_tried_rates
from iaa_retrieval.training.divergence import tells_of_divergence

LOG = logging.getLogger("iaa_retrieval")


def search_rates(plan: ConditionPlan, directory: Path) -> TriedRates:
    """Train a condition with every rate and seed that its stage tries, below ``directory``, and keep the dev scores.

    A training that diverges is no failure of the search: its rate is kept without a score.

    Raises:
        UsageError: the stage has no search, or nothing is trained.
        IaaRetrievalError: a command failed, or training left no dev score.
    """
    search = plan.table.rate_search
    if search is None or not plan.rates:
        raise UsageError(f"{plan.reproduction.name} tries no learning rates for {plan.name} ({plan.stage})")
    found: dict[str, dict[str, float | None]] = {}
    environments: list[Environment] = []
    for rate in plan.rates:
        tried_plan = trial(plan, search, rate)
        found[rate] = {}
        for seed in tried_plan.condition.seeds:
            stages = Stages(directory)
            score = found[rate][str(seed)] = _dev_score_of(tried_plan, seed, stages, search.metric)
            environments += [current_environment()] if score is None else stages.environments.values()
        made_in = environment_of(environments)
        tried = tried_rates(search.metric, made_in.date, made_in.hardware, found)
        write_tried_rates(plan, tried)
    return tried


def trial(plan: ConditionPlan, search: RateSearch, rate: str) -> ConditionPlan:
    """The condition as one rate is tried: with the settings and the seeds of the search."""
    condition = plan.condition
    changed = {name: Setting(value, "ours") for name, value in {**search.settings, "lr": rate}.items()}
    tried = replace(
        condition,
        name=f"{condition.name}-lr{rate}",
        settings={**condition.settings, **changed},
        seeds=search.seeds or condition.seeds[:1],
    )
    return replace(plan, condition=tried)


def _dev_score_of(tried: ConditionPlan, seed: int, stages: Stages, metric: str) -> float | None:
    """Train and read the dev score; None where training diverged."""
    for step in tried.chain(next(iter(tried.columns)), seed):
        try:
            run_step(stages, step)
        except IaaRetrievalError as error:
            if step.trains and tells_of_divergence(str(error)):
                LOG.warning("%s diverged: %s", tried.label, error)
                return None
            raise
        if step.trains:
            return dev_score(stages.directory / step.name, metric)
    raise IaaRetrievalError(f"{tried.label} trains nothing, so that there is no dev {metric}")


def dev_score(checkpoint: Path, metric: str) -> float:
    """What training kept in a checkpoint as its score on the dev queries, to the four decimals that are kept.

    Raises:
        IaaRetrievalError: it kept none.
    """
    config = read_retriever_config(checkpoint)
    if config is None or metric not in config.dev_scores:
        raise IaaRetrievalError(f"training left no dev {metric} in {checkpoint}; the training step needs dev queries")
    return round(config.dev_scores[metric], 4)
