"""The pages of a reproduction, generated from its YAML: Markdown and one self-contained HTML file."""

from __future__ import annotations

import html
from pathlib import Path

from iaa_retrieval.reproduction.conditions import STAGES, Condition, Reproduction
from iaa_retrieval.reproduction.runner import evaluation_command

HEADINGS = {"retrieval": "First-stage retrieval", "reranking": "Re-ranking"}


def runs_directory(reproduction: Reproduction) -> Path:
    """Where the printed commands put their outputs."""
    return Path("runs") / reproduction.name


def markdown_page(reproduction: Reproduction) -> str:
    """The page in Markdown: a table per stage, then the exact commands of every row."""
    parts = [f"# {reproduction.title}", reproduction.description, _how_to_run(reproduction)]
    for stage in STAGES:
        conditions = [condition for condition in reproduction.conditions if condition.stage == stage]
        if conditions:
            parts.append(f"## {HEADINGS[stage]}")
            parts.append(_markdown_table(conditions))
            parts += [_markdown_commands(reproduction, condition) for condition in conditions]
    return "\n\n".join(parts) + "\n"


def html_page(reproduction: Reproduction) -> str:
    """The page as one HTML file without any outside resource."""
    body = [f"<h1>{html.escape(reproduction.title)}</h1>", f"<p>{html.escape(reproduction.description)}</p>"]
    for stage in STAGES:
        conditions = [condition for condition in reproduction.conditions if condition.stage == stage]
        if conditions:
            body.append(f"<h2>{HEADINGS[stage]}</h2>")
            body.append(_html_table(reproduction, conditions))
    return _HTML.format(title=html.escape(reproduction.title), body="\n".join(body))


def commands_of(reproduction: Reproduction, condition: Condition, directory: Path) -> list[str]:
    """Every command from raw collection to score, as a user pastes them."""
    chain = [step.command_in(directory) for step in reproduction.chain(condition)]
    return [*chain, evaluation_command(reproduction, condition, directory)]


def page_files(reproduction: Reproduction, directory: Path) -> dict[Path, str]:
    """Path -> content of every generated page."""
    return {
        directory / f"{reproduction.name}.md": markdown_page(reproduction),
        directory / f"{reproduction.name}.html": html_page(reproduction),
    }


def _how_to_run(reproduction: Reproduction) -> str:
    return (
        "Run and check all of it (what is valid below `runs/` is used again):\n\n"
        f"```bash\npython -m iaa_retrieval.reproduce --collection {reproduction.name} --all\n```"
    )


def _metrics(conditions: list[Condition]) -> list[str]:
    return list(dict.fromkeys(metric for condition in conditions for metric in condition.scores))


def _cells(condition: Condition, metrics: list[str]) -> list[str]:
    cells = []
    for metric in metrics:
        score = condition.scores.get(metric)
        mark = " (paper)" if score and score.provenance == "paper" else ""
        cells.append(f"{score.value:.4f} ± {score.tolerance:.4g}{mark}" if score else "")
    return cells


def _markdown_table(conditions: list[Condition]) -> str:
    metrics = _metrics(conditions)
    lines = [
        "| condition | " + " | ".join(metrics) + " | measured |",
        "|---|" + "---:|" * len(metrics) + "---|",
    ]
    for condition in conditions:
        cells = " | ".join(_cells(condition, metrics))
        lines.append(f"| {condition.display_name} (`{condition.name}`) | {cells} | {_when(condition)} |")
    return "\n".join(lines)


def _when(condition: Condition) -> str:
    return ", ".join(f"{key} {value}" for key, value in condition.measured.items())


def _markdown_commands(reproduction: Reproduction, condition: Condition) -> str:
    commands = "\n".join(commands_of(reproduction, condition, runs_directory(reproduction)))
    note = f"{condition.note}\n\n" if condition.note else ""
    return (
        f"<details>\n<summary>{condition.display_name}: commands</summary>\n\n{note}```bash\n{commands}\n```\n\n"
        "</details>"
    )


def _html_table(reproduction: Reproduction, conditions: list[Condition]) -> str:
    metrics = _metrics(conditions)
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ("condition", *metrics, "measured"))
    rows = []
    for condition in conditions:
        commands = "\n".join(commands_of(reproduction, condition, runs_directory(reproduction)))
        cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in _cells(condition, metrics))
        rows.append(
            f"<tr><td><details><summary>{html.escape(condition.display_name)}</summary>"
            f"<p>{html.escape(condition.note)}</p><pre>{html.escape(commands)}</pre></details></td>"
            f"{cells}<td>{html.escape(_when(condition))}</td></tr>"
        )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


_HTML = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ border-bottom: 1px solid #8886; padding: .4rem .6rem; text-align: left; vertical-align: top; }}
pre {{ overflow-x: auto; background: #8882; padding: .6rem; white-space: pre-wrap; }}
summary {{ cursor: pointer; }}
</style>
{body}
</html>
"""
