"""Reading ``reproductions/NAME.yaml``: from what it may say to objects, and refusing what does not fit together."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import yaml

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.evaluation.metrics import parse_metrics
from iaa_retrieval.nearest import did_you_mean
from iaa_retrieval.reproduction.conditions import (
    BEST_BASELINE,
    FULL,
    PROVENANCES,
    STAGES,
    UNTUNED,
    Backbone,
    Condition,
    PaperColumn,
    RateSearch,
    Roles,
    Score,
    Setting,
    StageTable,
    TopicSet,
)
from iaa_retrieval.reproduction.plan import ConditionPlan, Reproduction
from iaa_retrieval.reproduction.schema import (
    ConditionEntry,
    RateSearchEntry,
    ReproductionFile,
    RolesEntry,
    ScoreEntry,
    SettingEntry,
    StageEntry,
    parse,
)
from iaa_retrieval.strict_yaml import read_yaml
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
        IaaRetrievalError: the file is malformed; one line names the file, the place and what was meant.
    """
    directory = directory or reproductions_directory()
    path = directory / f"{name}.yaml"
    if not path.is_file():
        names = reproduction_names(directory)
        hint = did_you_mean(name, names)
        raise UsageError(f"no reproduction of {name!r}; there are: {', '.join(names)}{hint}")
    try:
        contents = parse(read_yaml(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError, IaaRetrievalError) as error:
        raise IaaRetrievalError(f"{path} is malformed: {' '.join(str(error).split())}") from error
    reproduction = _reproduction(name, directory, contents)
    try:
        _check(reproduction)
    except IaaRetrievalError as error:
        raise IaaRetrievalError(f"{path}: {error}") from error
    return reproduction


def _reproduction(name: str, directory: Path, file: ReproductionFile) -> Reproduction:
    return Reproduction(
        name=name,
        directory=directory,
        title=file.title,
        description=file.description,
        backbone=Backbone(**dict(file.backbone)),
        roles=_roles(file.roles),
        checkpoint_tolerance=file.checkpoint_tolerance,
        requires=file.requires,
        topic_sets={key: TopicSet(name=key, **dict(entry)) for key, entry in file.topic_sets.items()},
        stages={key: _stage(key, entry) for key, entry in file.stages.items()},
        steps=file.steps,
        conditions=[_condition(entry) for entry in file.conditions],
    )


def _roles(entry: RolesEntry) -> Roles:
    if entry.subject is None:
        return Roles(full_method=entry.full)
    return Roles(entry.subject.display_name, tuple(entry.subject.methods), entry.full)


def _stage(stage: str, entry: StageEntry) -> StageTable:
    return StageTable(
        stage=stage,
        title=entry.title,
        columns={topics: tuple(metrics) for topics, metrics in entry.columns.items()},
        run=entry.run,
        settings=_settings(entry.settings),
        note=entry.note,
        paper_column=PaperColumn(**dict(entry.paper_column)) if entry.paper_column else None,
        rate_search=_rate_search(entry.rate_search) if entry.rate_search else None,
    )


def _rate_search(entry: RateSearchEntry) -> RateSearch:
    return RateSearch(
        methods=tuple(entry.methods),
        full=tuple(entry.full),
        metric=entry.metric,
        settings=entry.settings,
        rates={method: tuple(rates) for method, rates in entry.rates.items()},
        seeds=tuple(entry.seeds),
    )


def _settings(entries: dict[str, SettingEntry]) -> dict[str, Setting]:
    return {name: Setting(**dict(entry)) for name, entry in entries.items()}


def _condition(entry: ConditionEntry) -> Condition:
    return Condition(
        name=entry.name,
        display_name=entry.display_name,
        stage=entry.stage,
        method=entry.method,
        budget=entry.budget,
        counts_as=entry.budget if entry.counts_as is None else entry.counts_as,
        dimensions=entry.dimensions,
        run=entry.run,
        settings=_settings(entry.settings),
        seeds=tuple(entry.seeds),
        scores={
            topics: {metric: _score(score) for metric, score in scores.items()}
            for topics, scores in entry.scores.items()
        },
        measured=entry.measured.model_dump(exclude_none=True),
        note=entry.note,
    )


def _score(entry: ScoreEntry) -> Score:
    return Score(entry.value, entry.tolerance, entry.provenance, entry.seeds, tuple(entry.better_than))


def _check(reproduction: Reproduction) -> None:
    _check_roles(reproduction.roles)
    for table in reproduction.stages.values():
        _check_stage(reproduction, table)
    names = Counter((condition.name, condition.stage) for condition in reproduction.conditions)
    for name, stage in names:
        if names[name, stage] > 1:
            raise IaaRetrievalError(f"there are two conditions {name} of stage {stage}")
    for plan in reproduction.plans:
        try:
            _check_condition(plan)
        except IaaRetrievalError as error:
            raise IaaRetrievalError(f"condition {plan.name} ({plan.stage}): {error}") from error


def _check_roles(roles: Roles) -> None:
    methods = [*roles.subject_methods, *filter(None, [roles.full_method])]
    for method, count in Counter(methods).items():
        try:
            get_method(method)
        except UsageError as error:
            raise IaaRetrievalError(f"roles: {error}") from error
        if count > 1:
            raise IaaRetrievalError(f"roles: {method} is named twice")


def _check_stage(reproduction: Reproduction, table: StageTable) -> None:
    if table.stage not in STAGES:
        raise IaaRetrievalError(f"unknown stage {table.stage}; the stages are {' and '.join(STAGES)}")
    for topics, metrics in table.columns.items():
        if topics not in reproduction.topic_sets:
            hint = did_you_mean(topics, reproduction.topic_sets)
            raise IaaRetrievalError(f"stage {table.stage} has columns of {topics}, which is no topic set{hint}")
        for metric, parsed in zip(metrics, parse_metrics(" ".join(metrics)), strict=True):
            if metric != parsed.name:
                raise IaaRetrievalError(f"stage {table.stage}, {metric}: write it as {parsed.name}")
    if table.rate_search:
        _check_rate_search(table.stage, table.rate_search)


def _check_rate_search(stage: str, search: RateSearch) -> None:
    parse_metrics(search.metric)
    for method in search.rates:
        try:
            get_method(method)
        except UsageError as error:
            raise IaaRetrievalError(f"stage {stage}, rate_search: {error}") from error
    for rates in (search.methods, search.full, *search.rates.values()):
        for rate in rates:
            if not _is_rate(rate):
                raise IaaRetrievalError(f"stage {stage}, rate_search: {rate} is no learning rate; write it as 1e-3")
        if len(set(map(float, rates))) < len(rates):
            raise IaaRetrievalError(f"stage {stage}, rate_search: a rate is named twice in {', '.join(rates)}")
    if len(set(search.seeds)) < len(search.seeds):
        raise IaaRetrievalError(f"stage {stage}, rate_search: a seed is named twice")


def _is_rate(text: str) -> bool:
    try:
        return 0 < float(text) < float("inf")
    except ValueError:
        return False


def _check_condition(plan: ConditionPlan) -> None:
    condition = plan.condition
    if plan.stage not in plan.reproduction.stages:
        raise IaaRetrievalError(f"the file has no such stage{did_you_mean(plan.stage, plan.reproduction.stages)}")
    if condition.method != UNTUNED:
        get_method(condition.method).check(condition.dimensions)
    for setting in plan.settings.values():
        if setting.provenance not in SETTING_PROVENANCES:
            raise IaaRetrievalError(f"a setting's provenance is {' or '.join(SETTING_PROVENANCES)}")
    columns = plan.columns
    for topics, scores in condition.scores.items():
        for metric, score in scores.items():
            if metric not in columns.get(topics, ()):
                hint = did_you_mean(f"{topics} {metric}", [f"{t} {m}" for t in columns for m in columns[t]])
                raise IaaRetrievalError(f"{topics} {metric} is no column of its stage{hint}")
            _check_score(condition, metric, score)
    for topics in columns:
        for seed in condition.seeds:
            plan.chain(topics, seed)


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
