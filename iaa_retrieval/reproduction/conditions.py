"""``reproductions/NAME.yaml``: the steps, conditions and expected scores of one collection."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.evaluation.metrics import parse_metrics

STAGES = ("retrieval", "reranking")
PROVENANCES = ("measured", "paper")
# In a command, {output} is the step's own output and {name} the output of the step of that name.
PLACEHOLDER = re.compile(r"\{([\w.-]+)\}")


@dataclass(frozen=True)
class Step:
    """One command and the file or directory it makes, which bears the step's name."""

    name: str
    command: str

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the steps whose outputs the command reads."""
        return tuple(dict.fromkeys(name for name in PLACEHOLDER.findall(self.command) if name != "output"))

    def command_in(self, directory: Path) -> str:
        """The command line as a user pastes it, with outputs below ``directory``."""
        return PLACEHOLDER.sub(
            lambda found: str(directory / (self.name if found[1] == "output" else found[1])), self.command
        )


@dataclass(frozen=True)
class Score:
    """An expected score: what it is, how far a re-run may be off, and where it comes from."""

    value: float
    tolerance: float
    provenance: str


@dataclass(frozen=True)
class Condition:
    """One row of a table.

    Attributes:
        run: name of the step that makes the run to score.
        scores: metric -> what is expected.
        measured: for measured scores, when, with which seed and versions, on what class of hardware.
        note: what a reader should know about it.
    """

    name: str
    display_name: str
    stage: str
    method: str
    dimensions: dict[str, int]
    run: str
    scores: dict[str, Score]
    measured: dict[str, Any]
    note: str = ""


@dataclass(frozen=True)
class Reproduction:
    """Everything that a collection's YAML says."""

    name: str
    title: str
    description: str
    qrels: str
    relevance_level: int
    steps: dict[str, Step]
    conditions: list[Condition]

    def select(self, condition: str | None = None, stage: str | None = None) -> list[Condition]:
        """The conditions of a name and stage (None: any).

        Raises:
            UsageError: there is none; the message lists those there are.
        """
        chosen = [c for c in self.conditions if condition in (None, c.name) and stage in (None, c.stage)]
        if not chosen:
            known = ", ".join(f"{c.name} ({c.stage})" for c in self.conditions)
            raise UsageError(f"{self.name} has no condition {condition or ''} {stage or ''}; it has: {known}")
        return chosen

    def chain(self, condition: Condition) -> list[Step]:
        """The steps that lead to a condition's run, in the order to run them."""
        ordered: dict[str, Step] = {}

        def visit(name: str) -> None:
            if name not in ordered:
                for needed in self.steps[name].needs:
                    visit(needed)
                ordered[name] = self.steps[name]

        visit(condition.run)
        return list(ordered.values())


def reproductions_directory() -> Path:
    """Where the YAML files and pages are: ``reproductions/`` beside the package."""
    directory = Path(__file__).resolve().parents[2] / "reproductions"
    if not directory.is_dir():
        raise IaaRetrievalError(f"{directory} is missing; install the project from a clone with: pip install -e .")
    return directory


def load_reproduction(name: str, directory: Path | None = None) -> Reproduction:
    """Read ``NAME.yaml``.

    Raises:
        UsageError: there is no such collection; the message lists those there are.
        IaaRetrievalError: the file is malformed.
    """
    directory = directory or reproductions_directory()
    path = directory / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in directory.glob("*.yaml")))
        raise UsageError(f"no reproduction of {name!r}; there are: {known}")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        steps = {key: Step(key, " ".join(str(command).split())) for key, command in values["steps"].items()}
        reproduction = Reproduction(
            name=name,
            title=values["title"],
            description=values["description"].strip(),
            qrels=values["qrels"],
            relevance_level=int(values.get("relevance_level", 1)),
            steps=steps,
            conditions=[_condition(entry) for entry in values["conditions"]],
        )
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise IaaRetrievalError(f"{path} is malformed: {' '.join(str(error).split())}") from error
    _check(reproduction, path)
    return reproduction


def _condition(entry: dict[str, Any]) -> Condition:
    scores = {
        metric: Score(float(score["value"]), float(score["tolerance"]), score["provenance"])
        for metric, score in entry["scores"].items()
    }
    return Condition(
        name=entry["name"],
        display_name=entry["display_name"],
        stage=entry["stage"],
        method=entry["method"],
        dimensions=entry.get("dimensions", {}),
        run=entry["run"],
        scores=scores,
        measured=entry.get("measured", {}),
        note=entry.get("note", "").strip(),
    )


def _check(reproduction: Reproduction, path: Path) -> None:
    for step in reproduction.steps.values():
        for needed in step.needs:
            if needed not in reproduction.steps:
                raise IaaRetrievalError(f"{path}: step {step.name} needs {needed}, which is not a step")
        if "{output}" not in step.command:
            raise IaaRetrievalError(f"{path}: step {step.name} does not say where its {{output}} goes")
        try:
            shlex.split(step.command)
        except ValueError as error:
            raise IaaRetrievalError(f"{path}: the command of step {step.name} cannot be parsed: {error}") from error
    for name in reproduction.steps:
        _refuse_cycle(reproduction, name, (), path)
    names = [(condition.name, condition.stage) for condition in reproduction.conditions]
    for name, stage in names:
        if names.count((name, stage)) > 1:
            raise IaaRetrievalError(f"{path}: there are two conditions {name} of stage {stage}")
    for condition in reproduction.conditions:
        if condition.run not in reproduction.steps or condition.stage not in STAGES:
            raise IaaRetrievalError(f"{path}: condition {condition.name} has an unknown run or stage")
        try:
            known = {metric.name for metric in parse_metrics(" ".join(condition.scores))}
        except UsageError as error:
            raise IaaRetrievalError(f"{path}: condition {condition.name}: {error}") from error
        for metric, score in condition.scores.items():
            if metric not in known:
                raise IaaRetrievalError(f"{path}: {condition.name} {metric}: write it as in {', '.join(sorted(known))}")
            if score.provenance not in PROVENANCES:
                raise IaaRetrievalError(f"{path}: {condition.name} {metric}: provenance is measured or paper")
            if score.provenance == "measured" and not condition.measured:
                raise IaaRetrievalError(f"{path}: {condition.name} {metric} is measured, but not when and with what")


def _refuse_cycle(reproduction: Reproduction, name: str, before: tuple[str, ...], path: Path) -> None:
    if name in before:
        raise IaaRetrievalError(f"{path}: step {name} needs its own output, by way of {' and '.join(before)}")
    for needed in reproduction.steps[name].needs:
        _refuse_cycle(reproduction, needed, (*before, name), path)
