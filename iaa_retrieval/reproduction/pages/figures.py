"""The charts of a table: what its scores and its kept training histories allow."""

from __future__ import annotations

from iaa_retrieval.reproduction.conditions import Role
from iaa_retrieval.reproduction.pages.charts import Curve, Level, Point, curve_chart, parameter_chart, split_levels
from iaa_retrieval.reproduction.pages.content import Row, Table

MINIMUM = 3  # methods, below which a chart says nothing that the table does not


def figures_of(table: Table) -> list[tuple[str, str]]:
    """Caption and SVG of every chart."""
    return [*_parameter_figures(table), *_curve_figures(table)]


def group_of(row: Row) -> str:
    """How a method is drawn: a class of the page's style sheet."""
    return {Role.SUBJECT: "subject", Role.FULL: "full"}.get(row.role, "baseline")


def _parameter_figures(table: Table) -> list[tuple[str, str]]:
    """One chart for the first metric of every topic set."""
    figures = []
    shown: set[str] = set()
    for index, column in enumerate(table.columns):
        if column.paper or column.topics in shown:
            continue
        shown.add(column.topics)
        points, levels = [], []
        provenances = set()
        for row in table.rows:
            score = row.cells[index].score
            if score is not None and row.weights:
                points.append(Point(row.condition.method, group_of(row), row.weights, score.value))
                provenances.add(score.provenance)
            elif score is not None:
                levels.append(Level(row.condition.display_name, score.value))
        if len(points) >= MINIMUM:
            source = "the paper's scores" if provenances == {"paper"} else "measured"
            near, far = split_levels(points, levels)
            caption = f"{column.group}: {column.metric} against trained weights ({source})."
            if far:
                caption += " Too far off to be drawn: " + ", ".join(f"{lv.label} {lv.y:.4g}" for lv in far) + "."
            figures.append((caption, parameter_chart(points, near, column.metric)))
    return figures


def _curve_figures(table: Table) -> list[tuple[str, str]]:
    """Training loss and dev scores by step, where histories are kept."""
    histories = [(row, row.result.first.history) for row in table.rows if row.result and row.result.first.history]
    keys = dict.fromkeys(key for _, history in histories for entry in history for key in entry if key != "step")
    figures = []
    for key in keys:
        curves = []
        for row, history in histories:
            points = [(entry["step"], entry[key]) for entry in history if key in entry]
            if len(points) > 1:
                budget = "" if row.condition.budget in ("", "100%", "0.5%") else f" {row.condition.budget}"
                curves.append(Curve(row.condition.method + budget, group_of(row), points))
        if curves:
            name = "training loss" if key == "loss" else f"dev {key}"
            figures.append((f"{name} by training step (first seed).", curve_chart(curves, name)))
    return figures
