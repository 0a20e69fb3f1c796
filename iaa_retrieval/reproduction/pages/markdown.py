"""The page of a collection in Markdown: a table per stage, then the exact commands of every row."""

from __future__ import annotations

from iaa_retrieval.reproduction.pages.content import NOT_RUN, Cell, Row, Table, legend, tables_of
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


def markdown_page(reproduction: Reproduction) -> str:
    """The whole page."""
    parts = [f"# {reproduction.title}", reproduction.description, f"**{provenance_notice(reproduction)}**"]
    for text, commands in how_to_run(reproduction):
        parts += [text, _code(commands)]
    for table in tables_of(reproduction):
        parts += _section(table)
    return "\n\n".join(parts) + "\n"


def _section(table: Table) -> list[str]:
    parts = [f"## {table.table.title}", table.table.note, _table(table)]
    marks = legend(table)
    if marks:
        parts.append("  \n".join(_escape(line) for line in marks))
    if table.settings:
        parts += ["Settings, and whose they are:", _settings(table)]
    if rate_search_text(table):
        parts += [rate_search_text(table), _rates(table)]
    parts += [_details(number, row) for number, row in enumerate(table.rows, start=1)]
    return [part for part in parts if part]


def _table(table: Table) -> str:
    heads = [f"{column.group}: {column.metric}" for column in table.columns]
    lines = [
        "| # | method | budget | trained weights | " + " | ".join(heads) + " | source |",
        "|---:|---|---:|---:|" + "---:|" * len(heads) + "---|",
    ]
    for number, row in enumerate(table.rows, start=1):
        weights = f"{row.weights:,} ({row.share})" if row.weights else ""
        cells = " | ".join(_cell(cell, row) for cell in row.cells)
        name = f"{row.condition.display_name} (`{row.condition.name}`)"
        lines.append(f"| {number} | {name} | {row.condition.budget} | {weights} | {cells} | {row.source} |")
    return "\n".join(lines)


def _cell(cell: Cell, row: Row) -> str:
    if cell.score is None and cell.measured is None:
        return NOT_RUN if row.source == NOT_RUN and cell.evaluation else "—"
    symbols = _escape("".join(f" {symbol}" if symbol.startswith("(") else symbol for symbol in cell.symbols))
    expected = cell.expected + symbols
    if cell.score and cell.score.deviation is not None:
        expected += f" (sd {cell.score.deviation:.4f}, {len(cell.score.seeds)} seeds)"
    elif cell.tolerance:
        expected += f" {cell.tolerance}"
    if cell.measured is None:
        return expected
    return f"{expected or 'no expected score'}<br>re-run {cell.measured:.4f}"


def _settings(table: Table) -> str:
    lines = ["| setting | value | whose | |", "|---|---:|---|---|"]
    for name, setting in table.settings.items():
        lines.append(f"| {name.replace('_', ' ')} | {setting.value} | {setting.provenance} | {setting.note} |")
    return "\n".join(lines)


def _rates(table: Table) -> str:
    lines = ["| method | learning rate: dev score | |", "|---|---|---|"]
    for row in table.rows:
        tried = [f"**{rate}: {score}**" if best else f"{rate}: {score}" for rate, score, best in rates_tried(row)]
        if tried:
            name = f"{row.condition.display_name} (`{row.condition.name}`)"
            lines.append(f"| {name} | {', '.join(tried)} | {rate_remarks(row)} |")
    return "\n".join(lines)


def _details(number: int, row: Row) -> str:
    condition = row.condition
    budget = f", {condition.budget}" if condition.budget else ""
    parts = [f"<details>\n<summary>{number}. {condition.display_name}{budget}: commands</summary>"]
    parts += [text for text in (condition.note, own_settings(row), measured_with(row)) if text]
    for block in row.blocks:
        parts += [f"{block.title}:", _code(block.commands)]
    return "\n\n".join([*parts, "</details>"])


def _code(commands: list[str]) -> str:
    return "```bash\n" + "\n".join(commands) + "\n```"


def _escape(text: str) -> str:
    return text.replace("*", "\\*")
