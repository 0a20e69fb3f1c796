"""What the pages show, in either form: tables of rows of cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.reproduction.commands import commands_of, evaluation_commands
from iaa_retrieval.reproduction.conditions import (
    BEST_BASELINE,
    FULL,
    Condition,
    PaperColumn,
    Role,
    Score,
    Setting,
    StageTable,
)
from iaa_retrieval.reproduction.loading import load_reproduction
from iaa_retrieval.reproduction.plan import ConditionPlan, Reproduction
from iaa_retrieval.reproduction.results import Result, Results, read_results
from iaa_retrieval.reproduction.runner import Outcome, compare
from iaa_retrieval.reproduction.significance import Cell as CellKey
from iaa_retrieval.reproduction.significance import Mark, significance_marks
from iaa_retrieval.reproduction.tried_rates import TriedRates, read_tried_rates

SYMBOLS = {FULL: "*", BEST_BASELINE: "†"}
NOT_RUN = "not yet run"


@dataclass(frozen=True)
class Column:
    """A metric over a topic set; ``paper`` columns stand beside ours and are the paper's, on its backbone."""

    topics: str
    metric: str
    group: str
    paper: bool = False


@dataclass(frozen=True)
class Cell:
    """One score.

    Attributes:
        score: what is expected, None where there is nothing.
        symbols: significance marks, as in ``("*", "(†)")``.
        measured: what the kept re-run measured.
        tests: the comparisons behind computed marks.
        evaluation: the command lines that score the run on this metric alone; none for a paper column.
    """

    score: Score | None
    symbols: tuple[str, ...]
    measured: float | None
    outcome: Outcome | None
    tests: list[Mark]
    evaluation: list[str]

    @property
    def expected(self) -> str:
        """The expected score with as many decimals as its source prints."""
        if self.score is None:
            return ""
        return f"{self.score.value:.3f}" if self.score.provenance == "paper" else f"{self.score.value:.4f}"

    @property
    def tolerance(self) -> str:
        """How far a re-run may be off; empty for the paper's scores, which are not compared."""
        if self.score is None or self.score.provenance == "paper":
            return ""
        return f"± {self.score.tolerance:.4g}"


@dataclass(frozen=True)
class Block:
    """Commands to paste, and what they start from."""

    title: str
    commands: list[str]


@dataclass(frozen=True)
class Row:
    """One condition.

    Attributes:
        role: what it is in the comparison.
        source: where its scores come from.
        tried: the dev scores of the learning rates that it tried, where they are kept.
    """

    condition: Condition
    role: Role
    weights: int | None
    share: str
    source: str
    cells: list[Cell]
    blocks: list[Block]
    result: Result | None
    tried: TriedRates | None


@dataclass(frozen=True)
class Table:
    """One stage.

    Attributes:
        subject: what the reproduction is about, as prose calls it; empty where it is about nothing in particular.
    """

    table: StageTable
    subject: str
    columns: list[Column]
    rows: list[Row]
    settings: dict[str, Setting]


def tables_of(reproduction: Reproduction) -> list[Table]:
    """The tables of a collection, in the order of its YAML."""
    results = read_results(reproduction)
    marks = significance_marks(reproduction, results)
    tables = []
    for stage, table in reproduction.stages.items():
        plans = [plan for plan in reproduction.plans if plan.stage == stage]
        if plans:
            beside = _paper_table(reproduction, table.paper_column).conditions if table.paper_column else {}
            columns = _columns(reproduction, table)
            rows = [_row(plan, columns, results, marks, beside.get(plan.name)) for plan in plans]
            tables.append(Table(table, reproduction.roles.subject, columns, rows, table.settings))
    return tables


def tally(reproduction: Reproduction) -> dict[str, int]:
    """How many conditions have measured scores, the paper's, published ones, or none yet."""
    counts = {"measured": 0, "paper": 0, "published": 0, NOT_RUN: 0}
    for condition in reproduction.conditions:
        counts[_provenance(condition)] += 1
    return counts


def legend(table: Table) -> list[str]:
    """What the marks of a table mean, one sentence each."""
    cells = [cell for row in table.rows for cell in row.cells]
    symbols = {symbol.strip("()") for cell in cells for symbol in cell.symbols}
    lines = []
    other = f" other than {table.subject}" if table.subject else ""
    for kind, opponent in (
        (FULL, "full fine-tuning"),
        (BEST_BASELINE, f"the best parameter-efficient method{other} with the same budget"),
    ):
        if SYMBOLS[kind] in symbols:
            lines.append(f"{SYMBOLS[kind]} significantly better than {opponent}.")
        if f"{SYMBOLS[kind]}↓" in symbols:
            lines.append(f"{SYMBOLS[kind]}↓ significantly worse than {opponent}.")
    if any(cell.score and cell.score.better_than for cell in cells):
        lines.append("On the paper's scores the marks are the paper's: two-tailed t-test, p ≤ 0.05.")
    if any(mark.significant for cell in cells for mark in cell.tests):
        lines.append(_test_in_words(table))
    return lines


def _test_in_words(table: Table) -> str:
    """How marks were computed, and whether the seeds' chance is in it."""
    several = any(row.result and len(row.result.seeds) > 1 for row in table.rows)
    paired = "two-tailed paired t-test over the queries"
    how = (
        f"two-tailed t-test over queries and seeds together, both random; where both rows have one seed, {paired}"
        if several
        else paired
    )
    return (
        f"On measured scores they are computed from the kept results: {how}, p ≤ 0.05; in brackets where Holm's "
        "correction for the number of comparisons takes the significance away. "
        + ("Between two rows of one seed" if several else "Every row has one seed:")
        + " what another seed would have changed is not in the test."
    )


def _columns(reproduction: Reproduction, table: StageTable) -> list[Column]:
    columns = []
    for topics, metrics in table.columns.items():
        group = reproduction.topic_sets[topics].display_name
        if table.paper_column:
            group += f", {reproduction.backbone.display_name}"
        columns += [Column(topics, metric, group) for metric in metrics]
    if table.paper_column:
        paper = _paper_table(reproduction, table.paper_column)
        group = f"the paper's, {paper.backbone}"
        columns += [Column(table.paper_column.topics, metric, group, paper=True) for metric in paper.metrics]
    return columns


class _PaperTable(NamedTuple):
    backbone: str
    metrics: tuple[str, ...]
    conditions: dict[str, Condition]


def _paper_table(reproduction: Reproduction, column: PaperColumn) -> _PaperTable:
    """What another collection's YAML says of the column.

    Raises:
        IaaRetrievalError: it has no such collection, stage or topic set.
    """
    paper = load_reproduction(column.collection, reproduction.directory)
    metrics = paper.stages[column.stage].columns.get(column.topics, ()) if column.stage in paper.stages else ()
    if not metrics:
        raise IaaRetrievalError(
            f"{reproduction.name}.yaml: paper_column: {paper.name} has no {column.stage} of topic set {column.topics}"
        )
    conditions = {plan.name: plan.condition for plan in paper.plans if plan.stage == column.stage}
    return _PaperTable(paper.backbone.display_name, metrics, conditions)


def _row(
    plan: ConditionPlan,
    columns: list[Column],
    results: Results,
    marks: dict[CellKey, list[Mark]],
    beside: Condition | None,
) -> Row:
    reproduction, condition = plan.reproduction, plan.condition
    result = results.get(plan.key)
    outcomes = {(c.topics, c.metric): c.outcome for c in compare(plan, result)} if result else {}
    cells = []
    for column in columns:
        if column.paper:
            score = beside.score(column.topics, column.metric) if beside else None
            score = score if score and score.provenance == "paper" else None
            cells.append(Cell(score, _paper_symbols(score), None, None, [], []))
            continue
        score = condition.score(column.topics, column.metric)
        tests = marks.get((*plan.key, column.topics, column.metric), [])
        run = reproduction.printed_directory / plan.run_name(column.topics)
        cells.append(
            Cell(
                score=score,
                symbols=_paper_symbols(score) + tuple(map(_symbol, filter(lambda mark: mark.significant, tests))),
                measured=result.mean(column.topics, column.metric) if result else None,
                outcome=outcomes.get((column.topics, column.metric)),
                tests=tests,
                evaluation=evaluation_commands(reproduction.topic_sets[column.topics], run, [column.metric]),
            )
        )
    weights = plan.trained_weights
    share = f"{weights / reproduction.backbone.parameters:.2%}" if weights else ""
    return Row(
        condition=condition,
        role=plan.role,
        weights=weights,
        share=share,
        source=_source(condition),
        cells=cells,
        blocks=_blocks(plan),
        result=result,
        tried=read_tried_rates(plan),
    )


def _paper_symbols(score: Score | None) -> tuple[str, ...]:
    return tuple(SYMBOLS[kind] for kind in score.better_than) if score else ()


def _symbol(mark: Mark) -> str:
    symbol = SYMBOLS[mark.against] + ("" if mark.better else "↓")
    return symbol if mark.survives else f"({symbol})"


def _provenance(condition: Condition) -> str:
    return next((s.provenance for scores in condition.scores.values() for s in scores.values()), NOT_RUN)


def _source(condition: Condition) -> str:
    provenance = _provenance(condition)
    if provenance == "measured":
        return f"measured {condition.measured.get('date', '')}".strip()
    return {"paper": "the paper's", "published": "published by Pyserini"}.get(provenance, provenance)


def _blocks(plan: ConditionPlan) -> list[Block]:
    directory = plan.reproduction.printed_directory
    first = commands_of(plan, directory)
    blocks = [Block("From nothing", first)]
    if plan.trains and plan.checkpoint.is_dir():
        commands = commands_of(plan, directory, from_checkpoint=True)
        blocks.insert(0, Block("From the committed checkpoint", commands))
    for seed in plan.condition.seeds[1:]:
        commands = commands_of(plan, directory, seed=seed)
        blocks.append(Block(f"Seed {seed} as well", [command for command in commands if command not in first]))
    return blocks
