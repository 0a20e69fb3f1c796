"""What a ``reproductions/NAME.yaml`` may say: every key, and the type of its value. Nothing else passes.

Whether two places of a file agree with each other is checked in ``iaa_retrieval.reproduction.loading``.
"""

from __future__ import annotations

import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.reproduction.conditions import DEFAULT_SEED
from iaa_retrieval.schema_problems import first_problem


def _as_text(value: Any) -> Any:
    """YAML reads 16 as a number, 1e-3 as text and 2026-11-24 as a date; commands and pages need the text."""
    plain = isinstance(value, (int, float, datetime.date)) and not isinstance(value, bool)
    return str(value) if plain else value


def _as_one_line(value: Any) -> Any:
    return " ".join(value.split()) if isinstance(value, str) else value


Plain = Annotated[str, BeforeValidator(_as_text)]  # text, a number or a date
Prose = Annotated[str, BeforeValidator(_as_one_line)]  # over several lines of the file, one here


class Entry(BaseModel):
    """A mapping of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class BackboneEntry(Entry):
    """See ``conditions.Backbone``."""

    name: str
    display_name: str
    hidden_size: int = Field(gt=0)
    layers: int = Field(gt=0)
    parameters: int = Field(gt=0)


class SubjectEntry(Entry):
    """What the reproduction is about: how prose calls it, and the methods that are forms of it."""

    display_name: str
    methods: list[str] = Field(min_length=1)


class RolesEntry(Entry):
    """See ``conditions.Roles``; ``full`` is the method that trains every weight."""

    subject: SubjectEntry | None = None
    full: str | None = None


class TopicSetEntry(Entry):
    """See ``conditions.TopicSet``."""

    display_name: str
    queries: str
    qrels: str
    relevance_level: int = Field(default=1, ge=1)


class SettingEntry(Entry):
    """See ``conditions.Setting``."""

    value: Plain
    provenance: str
    note: Prose = ""


class PaperColumnEntry(Entry):
    """See ``conditions.PaperColumn``."""

    collection: str
    stage: str
    topics: str


class RateSearchEntry(Entry):
    """See ``conditions.RateSearch``."""

    methods: list[Plain]
    full: list[Plain]
    metric: str
    settings: dict[str, Plain] = {}
    rates: dict[str, list[Plain]] = {}
    seeds: list[int] = []


class StageEntry(Entry):
    """See ``conditions.StageTable``."""

    title: str
    columns: dict[str, list[str]] = Field(min_length=1)
    run: str
    settings: dict[str, SettingEntry] = {}
    note: Prose = ""
    paper_column: PaperColumnEntry | None = None
    rate_search: RateSearchEntry | None = None


class ScoreEntry(Entry):
    """See ``conditions.Score``."""

    value: float
    tolerance: float = Field(ge=0)
    provenance: str
    seeds: dict[int, float] = {}
    better_than: list[str] = []


class MeasuredEntry(Entry):
    """When the scores of a condition were measured, on what class of hardware and with which versions."""

    date: Plain | None = None
    hardware: str | None = None
    versions: str | None = None


class ConditionEntry(Entry):
    """See ``conditions.Condition``."""

    name: str
    display_name: str
    stage: str
    method: str
    budget: str = ""
    counts_as: str | None = None
    dimensions: dict[str, int] = {}
    run: str = ""
    settings: dict[str, SettingEntry] = {}
    seeds: list[int] = Field(default=[DEFAULT_SEED], min_length=1)
    scores: dict[str, dict[str, ScoreEntry]] = {}
    measured: MeasuredEntry = MeasuredEntry()
    note: Prose = ""


class ReproductionFile(Entry):
    """The whole file; see ``plan.Reproduction``."""

    title: str
    description: Prose
    backbone: BackboneEntry
    roles: RolesEntry = RolesEntry()
    checkpoint_tolerance: float | None = Field(default=None, ge=0)
    requires: dict[str, str] = {}
    topic_sets: dict[str, TopicSetEntry]
    stages: dict[str, StageEntry]
    steps: dict[str, str]
    conditions: list[ConditionEntry] = Field(min_length=1)


def parse(values: Any) -> ReproductionFile:
    """What YAML read, with every value of the right type.

    Raises:
        IaaRetrievalError: a key that is unknown or missing, or a value of another type; one line names the place.
    """
    try:
        return ReproductionFile.model_validate(values)
    except ValidationError as error:
        raise IaaRetrievalError(first_problem(error, ReproductionFile, values)) from error
