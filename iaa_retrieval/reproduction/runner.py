"""Run conditions from raw collection to score, and compare with what is expected."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from iaa_retrieval.collections.qrels import read_qrels
from iaa_retrieval.collections.runs import read_run
from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.evaluation.metrics import evaluate, parse_metrics
from iaa_retrieval.reproduction.conditions import Score, TopicSet
from iaa_retrieval.reproduction.execution import expand_environment
from iaa_retrieval.reproduction.plan import ConditionPlan
from iaa_retrieval.reproduction.results import PerQuery, Result, SeedResult, read_history
from iaa_retrieval.reproduction.stages import Environment, Stages
from iaa_retrieval.reproduction.steps import CommandStep, Step, without_training

LOG = logging.getLogger("iaa_retrieval")


class Outcome(Enum):
    """How a re-run compares with what is expected; LOWER and HIGHER are failures."""

    OK = "OK"
    LOWER = "off by more than the tolerance"
    HIGHER = "higher than expected"
    PAPER = "not compared: the expected score is the paper's, on other hardware and data"
    NEW = "not compared: there is no expected score yet"


MISSES = (Outcome.LOWER, Outcome.HIGHER)


class Comparison(NamedTuple):
    """One cell: expected, measured now, and what that means."""

    condition: str
    stage: str
    topics: str
    metric: str
    expected: Score | None
    measured: float
    outcome: Outcome


def run_condition(
    plan: ConditionPlan,
    directory: Path,
    *,
    seeds: Sequence[int] = (),
    from_checkpoint: bool = False,
    display_commands: bool = False,
) -> Result:
    """Run every step of a condition that is not valid already below ``directory``, and score its runs.

    Args:
        seeds: only these of the condition's; none means all.
        from_checkpoint: use the committed checkpoint instead of training; the first seed only.

    Raises:
        IaaRetrievalError: a command failed (its output is in a log file that the message names); no checkpoint is
            committed.
    """
    results = {}
    environments: dict[str, Environment] = {}
    for seed in plan.condition.seeds[:1] if from_checkpoint else seeds or plan.condition.seeds:
        stages = Stages(directory)
        per_query: PerQuery = {}
        trained = None
        for topics, metrics in plan.columns.items():
            chain = plan.chain(topics, seed)
            checkpoints = committed_checkpoints(plan, chain) if from_checkpoint else {}
            for step in without_training(chain) if from_checkpoint else chain:
                if display_commands:
                    LOG.info("$ %s", step.command_in(directory, used_by(step, checkpoints)))
                run_step(stages, step, checkpoints)
                trained = step.name if step.trains else trained
            run = directory / plan.run_name(topics, seed)
            per_query[topics] = score_run(plan.reproduction.topic_sets[topics], run, metrics)
        results[seed] = SeedResult(
            per_query,
            seconds=stages.seconds[trained] if trained else None,
            history=_history(directory / trained) if trained else [],
        )
        environments |= stages.environments
    return Result(*environment_of(environments.values()), from_checkpoint, results)


def environment_of(environments: Iterable[Environment]) -> Environment:
    """What a result was made in, from what its stages were made in: the last date, every class of machine.

    All of them have the same versions: an output of others is made again.
    """
    made_in = sorted(environments, key=lambda environment: environment.date)
    machines = dict.fromkeys(environment.hardware for environment in made_in)
    return Environment(made_in[-1].date, "; ".join(machines), made_in[-1].versions)


def compare(plan: ConditionPlan, result: Result) -> list[Comparison]:
    """Each score of a result against what is expected."""
    comparisons = []
    for topics, metrics in plan.columns.items():
        for metric in metrics:
            measured = result.mean(topics, metric)
            if measured is not None:
                expected = plan.condition.score(topics, metric)
                if expected is not None and result.from_checkpoint:
                    expected = _expected_from_checkpoint(plan, expected, next(iter(result.seeds)))
                outcome = judge(expected, measured)
                comparisons.append(Comparison(plan.name, plan.stage, topics, metric, expected, measured, outcome))
    return comparisons


def judge(expected: Score | None, measured: float) -> Outcome:
    """Compare at the four decimals that are printed."""
    if expected is None:
        return Outcome.NEW
    if expected.provenance == "paper":
        return Outcome.PAPER
    difference = round(measured, 4) - expected.value
    if abs(difference) <= expected.tolerance + 1e-9:
        return Outcome.OK
    return Outcome.LOWER if difference < 0 else Outcome.HIGHER


def score_run(topics: TopicSet, run: Path, metrics: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Metric -> query id -> value."""
    return evaluate(
        read_qrels(expand_environment(topics.qrels)),
        read_run(run),
        parse_metrics(" ".join(metrics)),
        relevance_level=topics.relevance_level,
    )


def committed_checkpoints(plan: ConditionPlan, chain: list[CommandStep]) -> dict[str, Path]:
    """Name of the training step of a chain -> the committed checkpoint that stands for it; empty without training.

    Raises:
        IaaRetrievalError: there is none.
    """
    trained = [step.name for step in chain if step.trains]
    if trained and not plan.checkpoint.is_dir():
        raise IaaRetrievalError(
            f"no checkpoint of {plan.name} ({plan.stage}) is committed in {plan.checkpoint}; leave out "
            "--from-checkpoint to train it"
        )
    return dict.fromkeys(trained, plan.checkpoint)


def _expected_from_checkpoint(plan: ConditionPlan, expected: Score, seed: int) -> Score:
    """A checkpoint is one seed's, and nothing is trained that could come out otherwise."""
    tolerance = plan.reproduction.checkpoint_tolerance
    return replace(
        expected,
        value=expected.seeds.get(seed, expected.value),
        tolerance=expected.tolerance if tolerance is None else tolerance,
    )


def run_step(stages: Stages, step: Step, checkpoints: Mapping[str, Path] | None = None) -> None:
    """Run one step unless its output is there and still valid.

    Args:
        checkpoints: name of a training step -> the committed checkpoint that stands for its output.

    Raises:
        IaaRetrievalError: it failed.
    """
    used = used_by(step, checkpoints or {})
    stages.run(
        step.name,
        step.inputs,
        lambda output: step.make(stages.directory, used),
        after=tuple(name for name in step.needs if name not in used),
        reads=[*step.reads, *map(str, used.values())],
    )


def used_by(step: Step, checkpoints: Mapping[str, Path]) -> dict[str, Path]:
    """The committed checkpoints that a step reads."""
    return {name: path for name, path in checkpoints.items() if name in step.needs}


def _history(checkpoint: Path) -> list[dict[str, float]]:
    return read_history(checkpoint) if (checkpoint / "history.json").is_file() else []
