"""The page of a collection as one HTML file without any outside resource."""

from __future__ import annotations

import html
from importlib.resources import files
from string import Template

from iaa_retrieval.reproduction.pages.content import NOT_RUN, Cell, Column, Row, Table, legend, tables_of
from iaa_retrieval.reproduction.pages.figures import figures_of, group_of
from iaa_retrieval.reproduction.pages.prose import (
    how_to_run,
    measured_with,
    own_settings,
    provenance_notice,
    rate_search_text,
    rates_tried,
)
from iaa_retrieval.reproduction.plan import Reproduction

e = html.escape


def html_page(reproduction: Reproduction) -> str:
    """The whole page."""
    tables = tables_of(reproduction)
    how = "".join(f"<p>{_code_words(text)}</p>{_pre(commands)}" for text, commands in how_to_run(reproduction))
    return Template(_asset("page.html")).substitute(
        title=e(reproduction.title),
        description=e(reproduction.description),
        notice=e(provenance_notice(reproduction)),
        how=how,
        filters=_filters(tables),
        sections="\n".join(map(_section, tables)),
        style=_asset("page.css"),
        script=_asset("page.js"),
    )


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _filters(tables: list[Table]) -> str:
    rows = [row for table in tables for row in table.rows]
    stages = {table.table.stage: table.table.title for table in tables}
    methods = {_method(row): row.condition.display_name for row in rows}
    budgets = {row.condition.budget: row.condition.budget or "nothing trained" for row in rows}
    return (
        _select("stage", "Stage", stages)
        + _select("method", "Method", methods)
        + _select("budget", "Budget", budgets)
        + '<output id="shown" aria-live="polite"></output>'
    )


def _select(name: str, label: str, options: dict[str, str]) -> str:
    # A value of its own for "all", as the budget of what trains nothing is empty.
    choices = "".join(f'<option value="{e(value)}">{e(text)}</option>' for value, text in options.items())
    return (
        f'<label>{label} <select id="filter-{name}" data-filter="{name}"><option value="*">all</option>'
        f"{choices}</select></label>"
    )


def _method(row: Row) -> str:
    """What the method filter selects by: rows without a method by their own name."""
    return row.condition.name if row.condition.method == "none" else row.condition.method


def _section(table: Table) -> str:
    figures = "".join(
        f"<figure>{svg}<figcaption>{e(caption)}</figcaption></figure>" for caption, svg in figures_of(table)
    )
    marks = legend(table)
    return (
        f'<section class="stage" data-stage="{table.table.stage}">\n<h2>{e(table.table.title)}</h2>\n'
        f"<p>{e(table.table.note)}</p>\n"
        + (f'<div class="figures">{figures}</div>\n{_chart_key(table)}\n' if figures else "")
        + f'<div class="scroll"><table>{_head(table.columns)}\n{_bodies(table)}</table></div>\n'
        + ('<p class="legend">' + "<br>".join(map(e, marks)) + "</p>\n" if marks else "")
        + _settings(table)
        + _rates(table)
        + "</section>"
    )


def _chart_key(table: Table) -> str:
    subject = f'<span class="iaa">●</span> {e(table.subject)} ' if table.subject else ""
    other = "other parameter-efficient methods" if table.subject else "parameter-efficient methods"
    return (
        f'<p class="key">{subject}<span class="baseline">●</span> {other} '
        '<span class="full">●</span> full fine-tuning <span class="level">┄</span> nothing trained</p>'
    )


def _head(columns: list[Column]) -> str:
    groups: list[list[str]] = []
    for column in columns:
        if groups and groups[-1][0] == column.group:
            groups[-1].append(column.metric)
        else:
            groups.append([column.group, column.metric])
    spans = "".join(f'<th colspan="{len(group) - 1}" class="group">{e(group[0])}</th>' for group in groups)
    heads = [("method", "text"), ("budget", "number"), ("trained weights", "number")]
    heads += [(column.metric, "number") for column in columns] + [("source", "text")]
    cells = "".join(
        f'<th scope="col" class="{kind}"><button type="button" class="sort" data-kind="{kind}">{e(label)}</button></th>'
        for label, kind in heads
    )
    return f'<thead><tr><td colspan="3"></td>{spans}<td></td></tr><tr>{cells}</tr></thead>'


def _bodies(table: Table) -> str:
    return "\n".join(_body(table, number, row) for number, row in enumerate(table.rows))


def _body(table: Table, number: int, row: Row) -> str:
    condition = row.condition
    identity = f"{condition.stage}-{condition.name}"
    cells = "".join(_cell(identity, index, cell, row) for index, cell in enumerate(row.cells))
    weights = f"{row.weights:,} <small>{row.share}</small>" if row.weights else ""
    source = "none" if row.source == NOT_RUN else row.source.split()[0]
    return (
        f'<tbody id="{e(identity)}" data-order="{number}" data-stage="{condition.stage}" '
        f'data-method="{e(_method(row))}" data-budget="{e(condition.budget)}">\n'
        f'<tr class="condition {group_of(row)}">'
        f'<th scope="row" data-sort="{e(condition.display_name)}"><button type="button" class="expand" '
        f'aria-expanded="false">{e(condition.display_name)}</button> <code>{e(condition.name)}</code></th>'
        f'<td class="number" data-sort="{e(condition.budget.rstrip("%"))}">{e(condition.budget)}</td>'
        f'<td class="number" data-sort="{row.weights or ""}">{weights}</td>{cells}'
        f'<td data-sort="{e(row.source)}"><span class="source {e(source)}">{e(row.source)}</span></td></tr>\n'
        f'<tr class="details" hidden><td colspan="{len(row.cells) + 4}">{_details(table, row)}</td></tr></tbody>'
    )


def _cell(identity: str, index: int, cell: Cell, row: Row) -> str:
    value = cell.score.value if cell.score else cell.measured
    if value is None:
        text = NOT_RUN if row.source == NOT_RUN and cell.evaluation else "—"
        content = f'<span class="absent">{text}</span>'
    else:
        content = f'<span class="expected">{cell.expected or "—"}</span>'
        content += "".join(f"<sup>{e(symbol)}</sup>" for symbol in cell.symbols)
        if cell.score and cell.score.deviation is not None:
            content += f"<small>sd {cell.score.deviation:.4f}, {len(cell.score.seeds)} seeds</small>"
        if cell.measured is not None:
            verdict = cell.outcome.name.lower() if cell.outcome else "new"
            content += f'<small class="rerun {verdict}">re-run {cell.measured:.4f}</small>'
    sort = "" if value is None else f"{value:.6f}"
    if not cell.evaluation:
        return f'<td class="number" data-sort="{sort}">{content}</td>'
    return (
        f'<td class="number" data-sort="{sort}"><button type="button" class="cell" data-cell="{e(identity)}-{index}">'
        f"{content}</button></td>"
    )


def _details(table: Table, row: Row) -> str:
    condition = row.condition
    texts = "".join(f"<p>{e(text)}</p>" for text in (condition.note, own_settings(row), measured_with(row)) if text)
    blocks = "".join(f"<h3>{e(block.title)}</h3>{_pre(block.commands)}" for block in row.blocks)
    cells = "".join(
        _cell_details(f"{condition.stage}-{condition.name}-{index}", column, cell, row)
        for index, (column, cell) in enumerate(zip(table.columns, row.cells, strict=True))
        if cell.evaluation
    )
    return f'{texts}<h3>Cell by cell</h3><div class="cells">{cells}</div>{blocks}'


def _cell_details(identity: str, column: Column, cell: Cell, row: Row) -> str:
    expected = f"{cell.expected} {cell.tolerance}".strip() if cell.score else _absent(row)
    provenance = f" ({cell.score.provenance})" if cell.score else ""
    measured = "no re-run is kept" if cell.measured is None else f"re-run {cell.measured:.4f}"
    outcome = f": {cell.outcome.value}" if cell.outcome else ""
    tests = "".join(
        f"<li>{'better' if mark.better else 'worse' if mark.test.mean_difference else 'equal'} than {e(mark.opponent)} "
        f"by {abs(mark.test.mean_difference):.4f}: p = {mark.test.p_value:.4f}, Holm {mark.adjusted_p:.4f}</li>"
        for mark in cell.tests
    )
    return (
        f'<div class="one" id="{e(identity)}"><p><b>{e(column.group)}, {e(column.metric)}</b> — '
        f"expected {e(expected)}{e(provenance)}, {e(measured)}{e(outcome)}</p>"
        + (f"<ul>{tests}</ul>" if tests else "")
        + f"{_pre(cell.evaluation)}</div>"
    )


def _absent(row: Row) -> str:
    return NOT_RUN if row.source == NOT_RUN else "no figure in this source"


def _settings(table: Table) -> str:
    if not table.settings:
        return ""
    rows = "".join(
        f"<tr><th>{e(name.replace('_', ' '))}</th><td>{e(setting.value)}</td><td>{e(setting.provenance)}</td>"
        f"<td>{e(setting.note)}</td></tr>"
        for name, setting in table.settings.items()
    )
    head = "<tr><th>setting</th><th>value</th><th>whose</th><th></th></tr>"
    summary = "<summary>Settings, and whose they are</summary>"
    return f'<details class="settings">{summary}<table>{head}{rows}</table></details>\n'


def _rates(table: Table) -> str:
    if not rate_search_text(table):
        return ""
    rows = ""
    for row in table.rows:
        tried = [
            f"<b>{e(rate)}: {score}</b>" if best else f"{e(rate)}: {score}" for rate, score, best in rates_tried(row)
        ]
        if tried:
            rows += f"<tr><th>{e(row.condition.display_name)}</th><td>{', '.join(tried)}</td></tr>"
    head = "<tr><th>method</th><th>learning rate: dev score</th></tr>"
    return (
        '<details class="settings"><summary>Learning rates tried on the dev queries</summary>'
        f"<p>{e(rate_search_text(table))}</p><table>{head}{rows}</table></details>\n"
    )


def _pre(commands: list[str]) -> str:
    # A span per command, so that the style sheet can indent what does not fit into its line; the text has line ends.
    lines = "".join(f"<span>{e(command)}\n</span>" for command in commands)
    return f'<div class="block"><button type="button" class="copy">copy</button><pre><code>{lines}</code></pre></div>'


def _code_words(text: str) -> str:
    """Escape, with `words` in backquotes as code."""
    parts = e(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
