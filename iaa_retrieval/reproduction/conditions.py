"""What a ``reproductions/NAME.yaml`` says, as objects: tables, conditions and expected scores."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from iaa_retrieval.errors import UsageError
from iaa_retrieval.reproduction.steps import Step, chain_of, expand

STAGES = ("retrieval", "reranking")
# paper: the source paper's, on other hardware and data; published: another project's, for the very same command.
PROVENANCES = ("measured", "paper", "published")
# What a score's significance marks may say that it is better than.
FULL, BEST_BASELINE = "full", "best-baseline"
DEFAULT_SEED = 42
UNTUNED = "none"


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
        methods: rates that every parameter-efficient method tries.
        full: rates that full fine-tuning tries.
        metric: of the dev queries, by which the best is chosen.
        settings: what a trial sets otherwise than the training that follows, such as its number of steps.
    """

    methods: tuple[str, ...]
    full: tuple[str, ...]
    metric: str
    settings: dict[str, str]

    def rates_of(self, condition: Condition) -> tuple[str, ...]:
        """The rates that a condition tries; none where nothing is trained."""
        return {UNTUNED: (), "full": self.full}.get(condition.method, self.methods)


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

    @property
    def is_baseline(self) -> bool:
        """Whether it is a parameter-efficient method other than IAA."""
        return self.method not in (UNTUNED, "full") and not self.is_iaa

    @property
    def is_iaa(self) -> bool:
        """Whether it is a variant of IAA."""
        return self.method.startswith("iaa-")


@dataclass(frozen=True)
class Reproduction:
    """Everything that a collection's YAML says.

    Attributes:
        directory: where the YAML is, with ``checkpoints/`` and ``results/`` beside it.
        checkpoint_tolerance: how far a score from a committed checkpoint may be off; None means as from nothing.
        requires: environment variable -> what it must name before a command is pasted.
        steps: template of an output's name -> template of the command that makes it.
    """

    name: str
    directory: Path
    title: str
    description: str
    backbone: Backbone
    checkpoint_tolerance: float | None
    requires: dict[str, str]
    topic_sets: dict[str, TopicSet]
    stages: dict[str, StageTable]
    steps: dict[str, str]
    conditions: list[Condition]

    def select(self, condition: str | None = None, stage: str | None = None) -> list[Condition]:
        """The conditions of a name and stage (None: any).

        Raises:
            UsageError: there is none; the message lists those there are.
        """
        chosen = [c for c in self.conditions if condition in (None, c.name) and stage in (None, c.stage)]
        if not chosen:
            known = ", ".join(f"{c.name} ({c.stage})" for c in self.conditions)
            wanted = " ".join(filter(None, (condition, stage)))
            raise UsageError(f"{self.name} has no condition {wanted}; it has: {known}")
        return chosen

    def columns(self, condition: Condition) -> dict[str, tuple[str, ...]]:
        """Topic set -> metrics of the condition's table."""
        return self.stages[condition.stage].columns

    def settings(self, condition: Condition) -> dict[str, Setting]:
        """Those of its stage, and its own, which win."""
        return {**self.stages[condition.stage].settings, **condition.settings}

    def run_name(self, condition: Condition, topics: str, seed: int | None = None) -> str:
        """Name of the step that makes the run of a topic set."""
        template = condition.run or self.stages[condition.stage].run
        return expand(template, self._variables(condition, topics, seed))

    def chain(self, condition: Condition, topics: str, seed: int | None = None) -> list[Step]:
        """The steps that lead to the run of a topic set, in the order to run them (None: the first seed)."""
        variables = self._variables(condition, topics, seed)
        return chain_of(self.run_name(condition, topics, seed), self.steps, variables)

    def checkpoint(self, condition: Condition) -> Path:
        """Where the committed checkpoint of a condition is, or would be."""
        return self.directory / "checkpoints" / self.name / condition.stage / condition.name

    def trained_weights(self, condition: Condition) -> int | None:
        """Number of trained weights, without heads and, of adapters, biases; None if nothing is trained."""
        from iaa_retrieval.tuning.methods import get_method

        if condition.method == UNTUNED:
            return None
        if condition.method == "full":
            hidden = self.backbone.hidden_size
            # BERT's pooler, a matrix and a bias, has no part in a bi-encoder's vector and is not trained.
            return self.backbone.parameters - (hidden * (hidden + 1) if condition.stage == "retrieval" else 0)
        method = get_method(condition.method)
        return method.weight_count(self.backbone.hidden_size, self.backbone.layers, condition.dimensions)

    def _variables(self, condition: Condition, topics: str, seed: int | None) -> dict[str, str]:
        """What a template may name in angle brackets."""
        seed = condition.seeds[0] if seed is None else seed
        further = "" if seed == condition.seeds[0] else f"-seed{seed}"
        flags = (f"--{name.replace('_', '-')} {value}" for name, value in condition.dimensions.items())
        return {
            **{name: setting.value for name, setting in self.settings(condition).items()},
            "name": condition.name + further,
            "stage": condition.stage,
            "method": condition.method,
            "dimensions": " ".join(flags),
            "seed": str(seed),
            "backbone": self.backbone.name,
            "topics": topics,
            "queries": self.topic_sets[topics].queries,
        }
