"""The parts of what a ``reproductions/NAME.yaml`` says: tables, conditions, roles and expected scores."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from iaa_retrieval.tuning import methods

STAGES = ("retrieval", "reranking")
# paper: the source paper's, on other hardware and data; published: another project's, for the very same command.
PROVENANCES = ("measured", "paper", "published")
# What a score's significance marks may say that it is better than.
FULL, BEST_BASELINE = "full", "best-baseline"
DEFAULT_SEED = 42
UNTUNED = methods.UNTUNED.name  # the method of a condition that trains nothing


class Role(Enum):
    """What a condition is in the comparison that a table makes."""

    SUBJECT = "subject"  # what the reproduction is about
    BASELINE = "baseline"  # another parameter-efficient method
    FULL = "full"  # every weight is trained
    UNTUNED = "untuned"  # nothing is trained


@dataclass(frozen=True)
class Roles:
    """Who is who; a method that trains something and is not named here is a baseline.

    Attributes:
        subject: how prose calls what the reproduction is about; empty where it is about nothing in particular.
        subject_methods: the forms of it, as named in the registry of tuning methods.
        full_method: the method that trains every weight.
    """

    subject: str = ""
    subject_methods: tuple[str, ...] = ()
    full_method: str | None = None

    def of(self, method: str) -> Role:
        """The role of a method."""
        if method == UNTUNED:
            return Role.UNTUNED
        if method == self.full_method:
            return Role.FULL
        return Role.SUBJECT if method in self.subject_methods else Role.BASELINE


@dataclass(frozen=True)
class Score:
    """An expected score.

    Attributes:
        value: the mean, where there are several seeds.
        tolerance: how far a re-run from nothing may be off.
        provenance: one of ``PROVENANCES``.
        seeds: seed -> value, where there are several.
        better_than: what the source says it is significantly better than (``full``, ``best-baseline``).
    """

    value: float
    tolerance: float
    provenance: str
    seeds: dict[int, float] = field(default_factory=dict)
    better_than: tuple[str, ...] = ()

    @property
    def deviation(self) -> float | None:
        """Standard deviation over the seeds (n - 1)."""
        return statistics.stdev(self.seeds.values()) if self.seeds else None


@dataclass(frozen=True)
class Setting:
    """A value that the commands use, and whose it is: the paper's, or ``ours`` where the paper is silent."""

    value: str
    provenance: str
    note: str = ""


@dataclass(frozen=True)
class TopicSet:
    """Queries to search and their judgments; both are a file, a collection's split or an ir_datasets id."""

    name: str
    display_name: str
    queries: str
    qrels: str
    relevance_level: int = 1


@dataclass(frozen=True)
class PaperColumn:
    """A column of the paper's that stands beside ours: its collection, stage and topic set."""

    collection: str
    stage: str
    topics: str


@dataclass(frozen=True)
class RateSearch:
    """How the learning rates of a stage are chosen on the dev queries.

    Attributes:
        methods: rates that every parameter-efficient method tries, unless ``rates`` has others for it.
        full: rates that full fine-tuning tries.
        metric: of the dev queries, by which the best is chosen.
        settings: what a trial sets otherwise than the training that follows, such as its number of steps.
        rates: method -> the rates that it tries instead.
        seeds: of the trials, whose mean counts; none means the first of the condition.
    """

    methods: tuple[str, ...]
    full: tuple[str, ...]
    metric: str
    settings: dict[str, str]
    rates: dict[str, tuple[str, ...]] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()

    def rates_of(self, role: Role, method: str) -> tuple[str, ...]:
        """The rates that a condition of that role and method tries; none where nothing is trained."""
        if role is Role.UNTUNED:
            return ()
        return self.rates.get(method, self.full if role is Role.FULL else self.methods)


@dataclass(frozen=True)
class StageTable:
    """One table of a page.

    Attributes:
        columns: topic set -> metrics, in the order of the table.
        run: template of the name of the step that makes a condition's run.
        settings: name -> value for every condition of the stage that has none of its own.
    """

    stage: str
    title: str
    columns: dict[str, tuple[str, ...]]
    run: str
    settings: dict[str, Setting]
    note: str = ""
    paper_column: PaperColumn | None = None
    rate_search: RateSearch | None = None


@dataclass(frozen=True)
class Backbone:
    """The encoder that is tuned; its size gives the number of trained weights."""

    name: str
    display_name: str
    hidden_size: int
    layers: int
    parameters: int


@dataclass(frozen=True)
class Condition:
    """One row of a table.

    Attributes:
        method: a name in the registry of tuning methods, or ``none``.
        budget: share of the backbone that is trained, as in ``0.5%``; empty where nothing is.
        counts_as: the budget whose methods it is compared with, for those that cannot spend all of it.
        run: template of the name of the step that makes the run; empty means the stage's.
        scores: topic set -> metric -> what is expected; empty means not yet run.
        measured: for measured scores, when, with which versions, on what class of hardware.
        note: what a reader should know about it.
    """

    name: str
    display_name: str
    stage: str
    method: str
    budget: str
    counts_as: str
    dimensions: dict[str, int]
    run: str
    settings: dict[str, Setting]
    seeds: tuple[int, ...]
    scores: dict[str, dict[str, Score]]
    measured: dict[str, Any]
    note: str = ""

    def score(self, topics: str, metric: str) -> Score | None:
        """What is expected, or None."""
        return self.scores.get(topics, {}).get(metric)

    @property
    def is_measured(self) -> bool:
        """Whether any of its expected scores was measured by this project."""
        return any(s.provenance == "measured" for scores in self.scores.values() for s in scores.values())
