"""Reading ``reproductions/NAME.yaml`` and refusing what is wrong in it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.evaluation.metrics import parse_metrics
from iaa_retrieval.reproduction.conditions import (
    BEST_BASELINE,
    DEFAULT_SEED,
    FULL,
    PROVENANCES,
    STAGES,
    UNTUNED,
    Backbone,
    Condition,
    PaperColumn,
    RateSearch,
    Reproduction,
    Score,
    Setting,
    StageTable,
    TopicSet,
)
from iaa_retrieval.tuning.methods import get_method

SETTING_PROVENANCES = ("paper", "ours")


def reproductions_directory() -> Path:
    """Where the YAML files and pages are: ``reproductions/`` beside the package."""
    directory = Path(__file__).resolve().parents[2] / "reproductions"
    if not directory.is_dir():
        raise IaaRetrievalError(f"{directory} is missing; install the project from a clone with: pip install -e .")
    return directory


def reproduction_names(directory: Path | None = None) -> list[str]:
    """Every collection that has a YAML."""
    return sorted(file.stem for file in (directory or reproductions_directory()).glob("*.yaml"))


def load_reproduction(name: str, directory: Path | None = None) -> Reproduction:
    """Read ``NAME.yaml``.

    Raises:
        UsageError: there is no such collection; the message lists those there are.
        IaaRetrievalError: the file is malformed.
    """
    directory = directory or reproductions_directory()
    path = directory / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(reproduction_names(directory))
        raise UsageError(f"no reproduction of {name!r}; there are: {known}")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        reproduction = Reproduction(
            name=name,
            directory=directory,
            title=values["title"],
            description=_text(values["description"]),
            backbone=Backbone(**values["backbone"]),
            checkpoint_tolerance=values.get("checkpoint_tolerance"),
            requires=values.get("requires", {}),
            topic_sets={key: TopicSet(name=key, **entry) for key, entry in values["topic_sets"].items()},
            stages={key: _stage(key, entry) for key, entry in values["stages"].items()},
            steps=values["steps"],
            conditions=[_condition(entry) for entry in values["conditions"]],
        )
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise IaaRetrievalError(f"{path} is malformed: {' '.join(str(error).split())}") from error
    try:
        _check(reproduction)
    except IaaRetrievalError as error:
        raise IaaRetrievalError(f"{path}: {error}") from error
    return reproduction


def _text(value: str) -> str:
    return " ".join(value.split())


def _stage(stage: str, entry: dict[str, Any]) -> StageTable:
    column = entry.get("paper_column")
    return StageTable(
        stage=stage,
        title=entry["title"],
        columns={topics: tuple(metrics) for topics, metrics in entry["columns"].items()},
        run=entry["run"],
        settings=_settings(entry.get("settings", {})),
        note=_text(entry.get("note", "")),
        paper_column=PaperColumn(**column) if column else None,
        rate_search=_rate_search(entry["rate_search"]) if "rate_search" in entry else None,
    )


def _rate_search(entry: dict[str, Any]) -> RateSearch:
    return RateSearch(
        methods=tuple(map(str, entry["methods"])),
        full=tuple(map(str, entry["full"])),
        metric=entry["metric"],
        settings={name: str(value) for name, value in entry.get("settings", {}).items()},
    )


def _settings(entries: dict[str, dict[str, Any]]) -> dict[str, Setting]:
    return {
        name: Setting(str(entry["value"]), entry["provenance"], _text(entry.get("note", "")))
        for name, entry in entries.items()
    }


def _condition(entry: dict[str, Any]) -> Condition:
    budget = entry.get("budget", "")
    return Condition(
        name=entry["name"],
        display_name=entry["display_name"],
        stage=entry["stage"],
        method=entry["method"],
        budget=budget,
        counts_as=entry.get("counts_as", budget),
        dimensions=entry.get("dimensions", {}),
        run=entry.get("run", ""),
        settings=_settings(entry.get("settings", {})),
        seeds=tuple(entry.get("seeds", (DEFAULT_SEED,))),
        scores={
            topics: {metric: _score(score) for metric, score in scores.items()}
            for topics, scores in entry.get("scores", {}).items()
        },
        measured=entry.get("measured", {}),
        note=_text(entry.get("note", "")),
    )


def _score(entry: dict[str, Any]) -> Score:
    return Score(
        value=float(entry["value"]),
        tolerance=float(entry["tolerance"]),
        provenance=entry["provenance"],
        seeds={int(seed): float(value) for seed, value in entry.get("seeds", {}).items()},
        better_than=tuple(entry.get("better_than", ())),
    )


def _check(reproduction: Reproduction) -> None:
    for table in reproduction.stages.values():
        _check_stage(reproduction, table)
    names = Counter((condition.name, condition.stage) for condition in reproduction.conditions)
    for name, stage in names:
        if names[name, stage] > 1:
            raise IaaRetrievalError(f"there are two conditions {name} of stage {stage}")
    for condition in reproduction.conditions:
        try:
            _check_condition(reproduction, condition)
        except IaaRetrievalError as error:
            raise IaaRetrievalError(f"condition {condition.name} ({condition.stage}): {error}") from error


def _check_stage(reproduction: Reproduction, table: StageTable) -> None:
    if table.stage not in STAGES:
        raise IaaRetrievalError(f"unknown stage {table.stage}; the stages are {' and '.join(STAGES)}")
    for topics, metrics in table.columns.items():
        if topics not in reproduction.topic_sets:
            raise IaaRetrievalError(f"stage {table.stage} has columns of {topics}, which is no topic set")
        for metric, parsed in zip(metrics, parse_metrics(" ".join(metrics)), strict=True):
            if metric != parsed.name:
                raise IaaRetrievalError(f"stage {table.stage}, {metric}: write it as {parsed.name}")


def _check_condition(reproduction: Reproduction, condition: Condition) -> None:
    if condition.stage not in reproduction.stages:
        raise IaaRetrievalError("the file has no such stage")
    if condition.method != UNTUNED:
        get_method(condition.method).check(condition.dimensions)
    for setting in reproduction.settings(condition).values():
        if setting.provenance not in SETTING_PROVENANCES:
            raise IaaRetrievalError(f"a setting's provenance is {' or '.join(SETTING_PROVENANCES)}")
    columns = reproduction.columns(condition)
    for topics, scores in condition.scores.items():
        for metric, score in scores.items():
            if metric not in columns.get(topics, ()):
                raise IaaRetrievalError(f"{topics} {metric} is no column of its stage")
            _check_score(condition, metric, score)
    for topics in columns:
        for seed in condition.seeds:
            reproduction.chain(condition, topics, seed)


def _check_score(condition: Condition, metric: str, score: Score) -> None:
    if score.provenance not in PROVENANCES:
        raise IaaRetrievalError(f"{metric}: provenance is {', '.join(PROVENANCES)}")
    if score.provenance == "measured" and not condition.measured:
        raise IaaRetrievalError(f"{metric} is measured, but not when and with what")
    unknown = set(score.better_than) - {FULL, BEST_BASELINE}
    if unknown or (score.better_than and score.provenance == "measured"):
        raise IaaRetrievalError(f"{metric}: better_than is {FULL} or {BEST_BASELINE}, and computed for measured scores")
    if score.provenance == "measured" and len(condition.seeds) > 1 and set(score.seeds) != set(condition.seeds):
        raise IaaRetrievalError(f"{metric}: each of the seeds {', '.join(map(str, condition.seeds))} needs its value")
    if score.seeds and abs(score.value - sum(score.seeds.values()) / len(score.seeds)) > 0.00011:
        raise IaaRetrievalError(f"{metric}: {score.value} is not the mean of its seeds' values")
