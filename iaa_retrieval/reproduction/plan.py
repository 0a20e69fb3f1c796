"""A reproduction, and each of its conditions bound to it: what is run, where it goes and what it is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from iaa_retrieval.errors import UsageError
from iaa_retrieval.nearest import did_you_mean
from iaa_retrieval.reproduction.conditions import Backbone, Condition, Role, Roles, Setting, StageTable, TopicSet
from iaa_retrieval.reproduction.steps import CommandStep, chain_of, expand


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
    roles: Roles
    checkpoint_tolerance: float | None
    requires: dict[str, str]
    topic_sets: dict[str, TopicSet]
    stages: dict[str, StageTable]
    steps: dict[str, str]
    conditions: list[Condition]

    @property
    def plans(self) -> list[ConditionPlan]:
        """Every condition, in the order of the YAML."""
        return [ConditionPlan(self, condition) for condition in self.conditions]

    @property
    def printed_directory(self) -> Path:
        """Where outputs go if nothing else is said, as seen from the repository's root."""
        return Path("runs") / self.name

    def select(self, condition: str | None = None, stage: str | None = None) -> list[ConditionPlan]:
        """The conditions of a name and stage (None: any).

        Raises:
            UsageError: there is none; the message lists those there are.
        """
        chosen = [plan for plan in self.plans if condition in (None, plan.name) and stage in (None, plan.stage)]
        if not chosen:
            known = ", ".join(f"{c.name} ({c.stage})" for c in self.conditions)
            wanted = " ".join(filter(None, (condition, stage)))
            hint = did_you_mean(condition or "", [c.name for c in self.conditions])
            raise UsageError(f"{self.name} has no condition {wanted}; it has: {known}{hint}")
        return chosen


@dataclass(frozen=True)
class ConditionPlan:
    """One condition within its reproduction, and all that follows from the two."""

    reproduction: Reproduction
    condition: Condition

    @property
    def name(self) -> str:
        """Of the condition."""
        return self.condition.name

    @property
    def stage(self) -> str:
        """Of the condition."""
        return self.condition.stage

    @property
    def key(self) -> tuple[str, str]:
        """Stage and name, by which results are kept."""
        return self.stage, self.name

    @property
    def label(self) -> str:
        """What messages call it."""
        return f"{self.reproduction.name} {self.name} ({self.stage})"

    @property
    def role(self) -> Role:
        """What it is in the comparison that its table makes."""
        return self.reproduction.roles.of(self.condition.method)

    @property
    def table(self) -> StageTable:
        """The table that it is a row of."""
        return self.reproduction.stages[self.stage]

    @property
    def columns(self) -> dict[str, tuple[str, ...]]:
        """Topic set -> metrics of its table."""
        return self.table.columns

    @property
    def settings(self) -> dict[str, Setting]:
        """Those of its stage, and its own, which win."""
        return {**self.table.settings, **self.condition.settings}

    @property
    def rates(self) -> tuple[str, ...]:
        """The learning rates that it tries; none where its stage has no search or nothing is trained."""
        search = self.table.rate_search
        return search.rates_of(self.role, self.condition.method) if search else ()

    @property
    def trains(self) -> bool:
        """Whether it needs training."""
        return any(step.trains for topics in self.columns for step in self.chain(topics))

    @property
    def trained_weights(self) -> int | None:
        """Number of trained weights, without heads and, of adapters, biases; None if nothing is trained."""
        from iaa_retrieval.tuning.methods import get_method

        backbone = self.reproduction.backbone
        if self.role is Role.UNTUNED:
            return None
        if self.role is Role.FULL:
            hidden = backbone.hidden_size
            # BERT's pooler, a matrix and a bias, has no part in a bi-encoder's vector and is not trained.
            return backbone.parameters - (hidden * (hidden + 1) if self.stage == "retrieval" else 0)
        method = get_method(self.condition.method)
        return method.weight_count(backbone.hidden_size, backbone.layers, self.condition.dimensions)

    @property
    def checkpoint(self) -> Path:
        """Where its committed checkpoint is, or would be."""
        return self.reproduction.directory / "checkpoints" / self.reproduction.name / self.stage / self.name

    @property
    def printed_checkpoint(self) -> Path:
        """The committed checkpoint as seen from the repository's root, where commands are pasted."""
        directory = self.reproduction.directory
        return Path(directory.name) / self.checkpoint.relative_to(directory)

    @property
    def lacks_checkpoint(self) -> bool:
        """Whether it needs training and nothing of it is committed."""
        return self.trains and not self.checkpoint.is_dir()

    @property
    def result_file(self) -> Path:
        """Where its result is kept."""
        return self.reproduction.directory / "results" / self.reproduction.name / self.stage / f"{self.name}.json"

    @property
    def rates_file(self) -> Path:
        """Where the dev scores of the learning rates that it tried are kept."""
        return self.result_file.with_suffix(".rates.json")

    def run_name(self, topics: str, seed: int | None = None) -> str:
        """Name of the step that makes the run of a topic set (None: the first seed)."""
        return expand(self.condition.run or self.table.run, self._variables(topics, seed))

    def chain(self, topics: str, seed: int | None = None) -> list[CommandStep]:
        """The steps that lead to the run of a topic set, in the order to run them (None: the first seed)."""
        return chain_of(self.run_name(topics, seed), self.reproduction.steps, self._variables(topics, seed))

    def _variables(self, topics: str, seed: int | None) -> dict[str, str]:
        """What a template may name in angle brackets."""
        condition = self.condition
        seed = condition.seeds[0] if seed is None else seed
        further = "" if seed == condition.seeds[0] else f"-seed{seed}"
        flags = (f"--{name.replace('_', '-')} {value}" for name, value in condition.dimensions.items())
        return {
            **{name: setting.value for name, setting in self.settings.items()},
            "name": condition.name + further,
            "stage": condition.stage,
            "method": condition.method,
            "dimensions": " ".join(flags),
            "seed": str(seed),
            "backbone": self.reproduction.backbone.name,
            "topics": topics,
            "queries": self.reproduction.topic_sets[topics].queries,
        }
