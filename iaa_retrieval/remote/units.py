"""What the other machine does: one unit of work for each learning rate that is tried and for each seed of a row.

A unit runs the commands that the YAML states for it, so what it is follows from the YAML alone. Its key names all that
its outcome depends on; what has come back under a key is not done again.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.reproduction.conditions import Setting
from iaa_retrieval.reproduction.plan import ConditionPlan, Reproduction
from iaa_retrieval.reproduction.rate_search import trial
from iaa_retrieval.reproduction.steps import CommandStep
from iaa_retrieval.reproduction.tried_rates import read_tried_rates

TRIAL, ROW, SHARED = "trial", "row", "shared"
KINDS = (SHARED, TRIAL, ROW)
_PREFIX = "python -m iaa_retrieval."


@dataclass(frozen=True)
class Unit:
    """Commands that one process runs, one after the other.

    Attributes:
        kind: ``trial`` trains with one learning rate, ``row`` trains with one seed and scores, ``shared`` makes a run
            that others start from and that no training has a part in.
        seed, rate: of the training, where there is one; the rate None is the YAML's.
        runs: topic set -> name of the step that makes its run, of a row.
        given: names of the runs that the bundle brings.
        shared: names of the runs that shared units make.
    """

    kind: str
    reproduction: str
    stage: str
    condition: str
    steps: tuple[CommandStep, ...]
    seed: int | None = None
    rate: str | None = None
    runs: Mapping[str, str] = field(default_factory=dict)
    given: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What messages and log files call it."""
        if self.kind == SHARED:
            return f"{self.reproduction}/{self.steps[-1].name}"
        rate = f"-lr{self.rate}" if self.kind == TRIAL else ""
        return f"{self.reproduction}/{self.stage}/{self.condition}{rate}-seed{self.seed}"

    @property
    def commands(self) -> list[str]:
        """Before outputs have a place, so that they are the same everywhere."""
        return [step.command for step in self.steps]


@dataclass(frozen=True)
class Digests:
    """Hashes of what units read, by name; hex.

    Attributes:
        given: ``REPRODUCTION/STEP`` -> that of a run.
        training_precision: the precision of training, which counts too.
    """

    collections: Mapping[str, str]
    backbones: Mapping[str, str]
    given: Mapping[str, str]
    training_precision: str

    def key_of(self, unit: Unit, shared: Mapping[str, Unit]) -> str:
        """Hash of all that the outcome of a unit depends on; hex.

        Args:
            shared: name of its run -> unit.
        """
        before = [shared[name] for name in unit.shared]
        units = [*before, unit]
        words = {name for one in units for step in one.steps for name in _names_in(step)}
        given = [f"{one.reproduction}/{name}" for one in units for name in one.given]
        values = {
            "unit": [unit.kind, unit.reproduction, unit.stage, unit.condition],
            "commands": [one.commands for one in units],
            "collections": {name: found for name, found in self.collections.items() if name in words},
            "backbones": dict(self.backbones),
            "given": {name: self.given[name] for name in given},
            "training_precision": self.training_precision,
        }
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _names_in(step: CommandStep) -> Iterator[str]:
    for word in step.reads:
        yield word
        yield word.rpartition(":")[0]


def trials_of(plan: ConditionPlan) -> list[Unit]:
    """A unit for each learning rate and seed that a condition tries; none where what it tried is kept already."""
    search = plan.table.rate_search
    tried_already = read_tried_rates(plan)
    if search is None or (tried_already is not None and set(tried_already.scores) >= set(plan.rates)):
        return []
    topics = next(iter(plan.columns))
    units = []
    for rate in plan.rates:
        tried = trial(plan, search, rate)
        for seed in tried.condition.seeds:
            chain = tried.chain(topics, seed)
            last = next((step.name for step in chain if step.trains), None)
            if last is not None:
                units.append(_unit(plan, TRIAL, chain, [last], seed=seed, rate=rate))
    return units


def dev_scores(tried: Iterable[tuple[Unit, float | None]]) -> dict[str, dict[str, float | None]]:
    """Rate -> seed -> dev score of trials, in their order; None where training diverged."""
    found: dict[str, dict[str, float | None]] = {}
    for unit, score in tried:
        found.setdefault(str(unit.rate), {})[str(unit.seed)] = score
    return found


def rows_of(plan: ConditionPlan, rate: str | None = None) -> list[Unit]:
    """A unit for each seed of a condition that trains something, with this learning rate (None: the YAML's)."""
    if not plan.trains:
        return []
    tuned = plan if rate is None else with_rate(plan, rate)
    units = []
    for seed in tuned.condition.seeds:
        runs = {topics: tuned.run_name(topics, seed) for topics in tuned.columns}
        chain = {step.name: step for topics in tuned.columns for step in tuned.chain(topics, seed)}
        units.append(_unit(plan, ROW, chain.values(), runs.values(), seed=seed, rate=rate, runs=runs))
    return units


def with_rate(plan: ConditionPlan, rate: str) -> ConditionPlan:
    """A condition with another learning rate than the YAML's."""
    settings = {**plan.condition.settings, "lr": Setting(rate, "ours")}
    return replace(plan, condition=replace(plan.condition, settings=settings))


def shared_units(reproduction: Reproduction, units: Iterable[Unit]) -> dict[str, Unit]:
    """Name of its run -> the unit that makes it, of every run without training that ``units`` start from."""
    wanted = dict.fromkeys((unit.stage, unit.condition, name) for unit in units for name in unit.shared)
    found: dict[str, Unit] = {}
    for stage, condition, name in wanted:
        if name not in found:
            (plan,) = reproduction.select(condition, stage)
            chain = {step.name: step for topics in plan.columns for step in plan.chain(topics)}
            found[name] = _unit(plan, SHARED, chain.values(), [name])
    return found


def steps_making(names: Iterable[str], chain: Iterable[CommandStep]) -> list[CommandStep]:
    """Those of a chain that make outputs of these names, and all that they need, in the order to run them."""
    steps = list(chain)
    wanted = set(names)
    for step in reversed(steps):
        if step.name in wanted:
            wanted.update(step.needs)
    return [step for step in steps if step.name in wanted]


def words_of(step: CommandStep) -> list[str]:
    """The words after ``python -m iaa_retrieval.``, the verb first."""
    return shlex.split(step.command.removeprefix(_PREFIX))


def runs_there(step: CommandStep) -> bool:
    """Whether the other machine runs such a step: training, encoding, dense search and re-ranking."""
    if not step.command.startswith(_PREFIX):
        return False
    return words_of(step)[:1] in (["train"], ["rerank"]) or words_of(step)[:2] in (
        ["encode", "input"],
        ["search", "faiss"],
    )


def _unit(
    plan: ConditionPlan,
    kind: str,
    chain: Iterable[CommandStep],
    last: Iterable[str],
    *,
    seed: int | None = None,
    rate: str | None = None,
    runs: Mapping[str, str] | None = None,
) -> Unit:
    """The steps of a chain that make ``last``, without those that others make; a run without training is another's.

    Raises:
        IaaRetrievalError: something other than a run has to be made here and brought along.
    """
    made_by = {step.name: step for step in chain}
    tuned: set[str] = set()
    for step in made_by.values():
        if step.trains or tuned & set(step.needs):
            tuned.add(step.name)
    steps: dict[str, CommandStep] = {}
    given: dict[str, None] = {}
    shared: dict[str, None] = {}
    ends = dict.fromkeys(last)

    def visit(name: str) -> None:
        step = made_by[name]
        if not runs_there(step):
            if name in tuned:
                raise IaaRetrievalError(f"{plan.label}: step {name} cannot be run on another machine: {step.command}")
            given[name] = None
        elif name not in tuned and name not in ends and words_of(step)[0] != "encode":
            shared[name] = None
        elif name not in steps:
            for needed in step.needs:
                visit(needed)
            steps[name] = step

    for name in ends:
        visit(name)
    ordered = tuple(step for step in made_by.values() if step.name in steps)
    return Unit(
        kind,
        plan.reproduction.name,
        plan.stage,
        plan.name,
        ordered,
        seed,
        rate,
        runs or {},
        tuple(given),
        tuple(shared),
    )
