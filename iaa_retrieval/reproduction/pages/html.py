"""The page of a collection as one HTML file without any outside resource.

What it shows is worked out here, and laid out in ``templates/``.
"""

from __future__ import annotations

from typing import Any

from iaa_retrieval.reproduction.conditions import Role, Score
from iaa_retrieval.reproduction.pages.content import NOT_RUN, Cell, Column, Row, Table, legend, tables_of
from iaa_retrieval.reproduction.pages.figures import figures_of, group_of
from iaa_retrieval.reproduction.pages.markup import asset, render
from iaa_retrieval.reproduction.pages.prose import (
    how_to_run,
    measured_with,
    own_settings,
    provenance_notice,
    rate_remarks,
    rate_search_text,
    rates_tried,
)
from iaa_retrieval.reproduction.plan import Reproduction
from iaa_retrieval.reproduction.significance import Mark

View = dict[str, Any]
"""What a template shows of one thing, by the names that it uses."""


def html_page(reproduction: Reproduction) -> str:
    """The whole page."""
    tables = tables_of(reproduction)
    page = render(
        "page.html.jinja",
        title=reproduction.title,
        description=reproduction.description,
        notice=provenance_notice(reproduction),
        how=how_to_run(reproduction),
        filters=_filters(tables),
        sections=[_section(table) for table in tables],
        style=asset("page.css"),
        script=asset("page.js"),
    )
    return f"{page}\n"


def _filters(tables: list[Table]) -> list[View]:
    rows = [row for table in tables for row in table.rows]
    stages = {table.table.stage: table.table.title for table in tables}
    methods = {_method(row): row.condition.display_name for row in rows}
    budgets = {row.condition.budget: row.condition.budget or "nothing trained" for row in rows}
    return [
        {"name": "stage", "label": "Stage", "options": stages},
        {"name": "method", "label": "Method", "options": methods},
        {"name": "budget", "label": "Budget", "options": budgets},
    ]


def _method(row: Row) -> str:
    """What the method filter selects by: rows without a method by their own name."""
    return row.condition.name if row.role is Role.UNTUNED else row.condition.method


def _section(table: Table) -> View:
    heads = [("method", "text"), ("budget", "number"), ("trained weights", "number")]
    heads += [(column.metric, "number") for column in table.columns] + [("source", "text")]
    tried = [(row.condition.display_name, rates_tried(row), rate_remarks(row)) for row in table.rows]
    return {
        "stage": table.table.stage,
        "title": table.table.title,
        "note": table.table.note,
        "figures": figures_of(table),
        "subject": table.subject,
        "groups": _groups(table.columns),
        "heads": heads,
        "rows": [_row(table, number, row) for number, row in enumerate(table.rows)],
        "marks": legend(table),
        "settings": table.settings,
        "rate_search": rate_search_text(table),
        "rates": [(method, rates, remarks) for method, rates, remarks in tried if rates],
    }


def _groups(columns: list[Column]) -> list[tuple[str, int]]:
    """The heads above the heads, and how many columns each is wide."""
    groups: list[tuple[str, int]] = []
    for column in columns:
        if groups and groups[-1][0] == column.group:
            groups[-1] = (column.group, groups[-1][1] + 1)
        else:
            groups.append((column.group, 1))
    return groups


def _row(table: Table, number: int, row: Row) -> View:
    condition = row.condition
    identity = f"{condition.stage}-{condition.name}"
    return {
        "identity": identity,
        "number": number,
        "stage": condition.stage,
        "method": _method(row),
        "budget": condition.budget,
        "group": group_of(row),
        "name": condition.name,
        "display_name": condition.display_name,
        "weights": row.weights,
        "share": row.share,
        "source": row.source,
        "source_class": "none" if row.source == NOT_RUN else row.source.split()[0],
        "cells": [
            _cell(f"{identity}-{index}", column, cell, row)
            for index, (column, cell) in enumerate(zip(table.columns, row.cells, strict=True))
        ],
        "texts": [text for text in (condition.note, own_settings(row), measured_with(row)) if text],
        "blocks": row.blocks,
    }


def _cell(identity: str, column: Column, cell: Cell, row: Row) -> View:
    """A cell of the table, and what is said about it where the row is unfolded."""
    score, measured = cell.score, cell.measured
    value = score.value if score else measured
    absent = NOT_RUN if row.source == NOT_RUN and cell.evaluation else "—"
    return {
        "identity": identity,
        "sort": "" if value is None else f"{value:.6f}",
        "absent": absent if value is None else "",
        "expected": cell.expected or "—",
        "symbols": cell.symbols,
        "deviation": _deviation(score),
        "rerun": "" if measured is None else f"re-run {measured:.4f}",
        "verdict": cell.outcome.name.lower() if cell.outcome else "new",
        "commands": cell.evaluation,
        "title": f"{column.group}, {column.metric}",
        "outcome": _outcome(cell, row),
        "tests": [_test(mark) for mark in cell.tests],
    }


def _deviation(score: Score | None) -> str:
    if score is None or score.deviation is None:
        return ""
    return f"sd {score.deviation:.4f}, {len(score.seeds)} seeds"


def _outcome(cell: Cell, row: Row) -> str:
    absent = NOT_RUN if row.source == NOT_RUN else "no figure in this source"
    expected = f"{cell.expected} {cell.tolerance}".strip() if cell.score else absent
    provenance = f" ({cell.score.provenance})" if cell.score else ""
    measured = "no re-run is kept" if cell.measured is None else f"re-run {cell.measured:.4f}"
    outcome = f": {cell.outcome.value}" if cell.outcome else ""
    return f"expected {expected}{provenance}, {measured}{outcome}"


def _test(mark: Mark) -> str:
    relation = "better" if mark.better else "worse" if mark.test.mean_difference else "equal"
    return (
        f"{relation} than {mark.opponent} by {abs(mark.test.mean_difference):.4f}: "
        f"p = {mark.test.p_value:.4f}, Holm {mark.adjusted_p:.4f}"
    )
