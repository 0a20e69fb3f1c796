"""Run conditions from raw collection to score, and compare with what is expected."""

from __future__ import annotations

import logging
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from iaa_retrieval.collections.qrels import read_qrels
from iaa_retrieval.collections.runs import read_run
from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.evaluation.metrics import evaluate, parse_metrics
from iaa_retrieval.reproduction.conditions import Condition, Reproduction, Score, TopicSet
from iaa_retrieval.reproduction.contents import named_in
from iaa_retrieval.reproduction.results import PerQuery, Result, SeedResult, read_history
from iaa_retrieval.reproduction.stages import Environment, Stages
from iaa_retrieval.reproduction.steps import Step, without_training

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
    reproduction: Reproduction,
    condition: Condition,
    directory: Path,
    *,
    from_checkpoint: bool = False,
    display_commands: bool = False,
) -> Result:
    """Run every step of a condition that is not valid already below ``directory``, and score its runs.

    Args:
        from_checkpoint: use the committed checkpoint instead of training; the first seed only.

    Raises:
        IaaRetrievalError: a command failed (its output is in a log file that the message names); no checkpoint is
            committed.
    """
    seeds = {}
    environments: dict[str, Environment] = {}
    for seed in condition.seeds[:1] if from_checkpoint else condition.seeds:
        stages = Stages(directory)
        per_query: PerQuery = {}
        trained = None
        for topics, metrics in reproduction.columns(condition).items():
            chain = reproduction.chain(condition, topics, seed)
            checkpoints = committed_checkpoints(reproduction, condition, chain) if from_checkpoint else {}
            for step in without_training(chain) if from_checkpoint else chain:
                run_step(stages, step, directory, checkpoints, display_commands=display_commands)
                trained = step.name if step.trains else trained
            run = directory / reproduction.run_name(condition, topics, seed)
            per_query[topics] = score_run(reproduction.topic_sets[topics], run, metrics)
        seeds[seed] = SeedResult(
            per_query,
            seconds=stages.seconds[trained] if trained else None,
            history=_history(directory / trained) if trained else [],
        )
        environments |= stages.environments
    return Result(*environment_of(environments.values()), from_checkpoint, seeds)


def environment_of(environments: Iterable[Environment]) -> Environment:
    """What a result was made in, from what its stages were made in: the last date, every class of machine.

    All of them have the same versions: an output of others is made again.
    """
    made_in = sorted(environments, key=lambda environment: environment.date)
    machines = dict.fromkeys(environment.hardware for environment in made_in)
    return Environment(made_in[-1].date, "; ".join(machines), made_in[-1].versions)


def compare(reproduction: Reproduction, condition: Condition, result: Result) -> list[Comparison]:
    """Each score of a result against what is expected."""
    comparisons = []
    for topics, metrics in reproduction.columns(condition).items():
        for metric in metrics:
            measured = result.mean(topics, metric)
            if measured is not None:
                expected = condition.score(topics, metric)
                if expected is not None and result.from_checkpoint:
                    expected = _expected_from_checkpoint(reproduction, expected, next(iter(result.seeds)))
                outcome = judge(expected, measured)
                comparisons.append(
                    Comparison(condition.name, condition.stage, topics, metric, expected, measured, outcome)
                )
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
        read_qrels(_expand_environment(topics.qrels)),
        read_run(run),
        parse_metrics(" ".join(metrics)),
        relevance_level=topics.relevance_level,
    )


def committed_checkpoints(reproduction: Reproduction, condition: Condition, chain: list[Step]) -> dict[str, Path]:
    """Name of the training step of a chain -> the committed checkpoint that stands for it; empty without training.

    Raises:
        IaaRetrievalError: there is none.
    """
    checkpoint = reproduction.checkpoint(condition)
    trained = [step.name for step in chain if step.trains]
    if trained and not checkpoint.is_dir():
        raise IaaRetrievalError(
            f"no checkpoint of {condition.name} ({condition.stage}) is committed in {checkpoint}; leave out "
            "--from-checkpoint to train it"
        )
    return dict.fromkeys(trained, checkpoint)


def _expected_from_checkpoint(reproduction: Reproduction, expected: Score, seed: int) -> Score:
    """A checkpoint is one seed's, and nothing is trained that could come out otherwise."""
    tolerance = reproduction.checkpoint_tolerance
    return replace(
        expected,
        value=expected.seeds.get(seed, expected.value),
        tolerance=expected.tolerance if tolerance is None else tolerance,
    )


def run_step(
    stages: Stages,
    step: Step,
    directory: Path,
    checkpoints: Mapping[str, Path] | None = None,
    *,
    display_commands: bool = False,
) -> None:
    """Run one step below ``directory`` unless its output is there and still valid.

    Args:
        checkpoints: name of a training step -> the committed checkpoint that stands for its output.

    Raises:
        IaaRetrievalError: its command failed (the message names the log file).
    """
    used = {name: path for name, path in (checkpoints or {}).items() if name in step.needs}
    command = step.command_in(directory, used)
    if display_commands:
        LOG.info("$ %s", command)
    stages.run(
        step.name,
        {"command": step.command},
        lambda output: _execute(step, command, directory),
        after=tuple(name for name in step.needs if name not in used),
        reads=[*named_in(step.command), *map(str, used.values())],
    )


def _history(checkpoint: Path) -> list[dict[str, float]]:
    return read_history(checkpoint) if (checkpoint / "history.json").is_file() else []


def _execute(step: Step, command: str, directory: Path) -> None:
    name = step.name
    words = [_expand_environment(word) for word in shlex.split(command)]
    if words[0] == "python":
        words[0] = sys.executable
    words = _resuming(words)
    log = directory / ".stages" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w", encoding="utf-8") as stream:
        try:
            finished = subprocess.run(words, stdout=stream, stderr=subprocess.STDOUT, env=os.environ, check=False)
        except OSError as error:
            raise IaaRetrievalError(f"step {name}: cannot run {words[0]} ({error.strerror})") from error
    if finished.returncode != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise IaaRetrievalError(f"step {name} failed ({lines[-1] if lines else 'no output'}); see {log}")


def _resuming(words: list[str]) -> list[str]:
    """A command that continues interrupted work, which is there only when it is of this very step."""
    if "iaa_retrieval.train" in words:
        return [*words, "--resume"]
    if "iaa_retrieval.encode" in words and "output" in words:
        section = words.index("output") + 1
        return [*words[:section], "--resume", *words[section:]]
    return words


def _expand_environment(word: str) -> str:
    """Put environment variables in, as the shell does where a page's commands are pasted."""
    expanded = os.path.expandvars(word)
    unset = re.search(r"\$(\w+)", expanded)
    if unset:
        raise IaaRetrievalError(f"the environment variable {unset[1]} is not set; the reproduction's page says to what")
    return expanded
