"""Run conditions from raw collection to score, and compare with what is expected."""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from iaa_retrieval.collections.qrels import read_qrels
from iaa_retrieval.collections.runs import read_run
from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.evaluation.metrics import evaluate, mean, parse_metrics
from iaa_retrieval.reproduction.conditions import Condition, Reproduction, Score, Step
from iaa_retrieval.reproduction.stages import Stages

LOG = logging.getLogger("iaa_retrieval")


class Outcome(Enum):
    """How a re-run compares with what is expected; LOWER and HIGHER are failures."""

    OK = "OK"
    LOWER = "off by more than the tolerance"
    HIGHER = "higher than expected"
    PAPER = "not compared: the expected score is the paper's, on other hardware and data"


class Comparison(NamedTuple):
    """One cell: expected, measured now, and what that means."""

    condition: str
    stage: str
    metric: str
    expected: Score
    measured: float
    outcome: Outcome


def run_conditions(
    reproduction: Reproduction, conditions: Sequence[Condition], directory: Path, *, display_commands: bool = False
) -> list[Comparison]:
    """Run every step of ``conditions`` that is not valid already below ``directory``, and score their runs.

    Raises:
        IaaRetrievalError: a command failed; its output is in a log file that the message names.
    """
    stages = Stages(directory)
    comparisons = []
    for condition in conditions:
        for step in reproduction.chain(condition):
            if display_commands:
                LOG.info("$ %s", step.command_in(directory))
            stages.run(
                step.name,
                {"command": step.command},
                lambda output, step=step: _execute(step, directory),  # type: ignore[misc]
                after=step.needs,
            )
        comparisons += score_condition(reproduction, condition, directory / condition.run)
    return comparisons


def score_condition(reproduction: Reproduction, condition: Condition, run: Path) -> list[Comparison]:
    """Score a condition's run and compare each metric with what is expected."""
    per_metric = evaluate(
        read_qrels(reproduction.qrels),
        read_run(run),
        parse_metrics(" ".join(condition.scores)),
        relevance_level=reproduction.relevance_level,
    )
    return [
        Comparison(
            condition.name, condition.stage, metric, score, found := mean(per_metric[metric]), judge(score, found)
        )
        for metric, score in condition.scores.items()
    ]


def judge(expected: Score, measured: float) -> Outcome:
    """Compare at the four decimals that are printed."""
    if expected.provenance == "paper":
        return Outcome.PAPER
    difference = round(measured, 4) - expected.value
    if abs(difference) <= expected.tolerance + 1e-9:
        return Outcome.OK
    return Outcome.LOWER if difference < 0 else Outcome.HIGHER


def evaluation_command(reproduction: Reproduction, condition: Condition, directory: Path) -> str:
    """The command line that scores a condition's run."""
    level = f" -l {reproduction.relevance_level}" if reproduction.relevance_level != 1 else ""
    return (
        f"python -m iaa_retrieval.evaluate --qrels {reproduction.qrels} --run {directory / condition.run}{level} "
        f'--metrics "{" ".join(condition.scores)}"'
    )


def _execute(step: Step, directory: Path) -> None:
    words = shlex.split(step.command_in(directory))
    if words[0] == "python":
        words[0] = sys.executable
    log = directory / ".stages" / f"{step.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w", encoding="utf-8") as stream:
        try:
            finished = subprocess.run(words, stdout=stream, stderr=subprocess.STDOUT, env=os.environ, check=False)
        except OSError as error:
            raise IaaRetrievalError(f"step {step.name}: cannot run {words[0]} ({error.strerror})") from error
    if finished.returncode != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise IaaRetrievalError(f"step {step.name} failed ({lines[-1] if lines else 'no output'}); see {log}")
