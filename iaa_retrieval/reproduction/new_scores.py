"""Entering what was measured into ``reproductions/NAME.yaml``, as what is expected from then on.

That is a row's first measurement, or that of further seeds.
"""

from __future__ import annotations

import re

import yaml

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.files import atomic_file
from iaa_retrieval.reproduction.conditions import Condition, Role
from iaa_retrieval.reproduction.plan import ConditionPlan
from iaa_retrieval.reproduction.results import Result

# How far a re-run may be off, until somebody who has seen one says better: training from nothing on another CPU, and
# what trains nothing (Lucene and fp32 vectors give the same everywhere).
TRAINED_TOLERANCE, UNTRAINED_TOLERANCE = 0.01, 0.0001
_INDENT = "  "  # of a condition's keys below the dash that begins its entry


def enter_scores(plan: ConditionPlan, result: Result) -> None:
    """Add ``measured`` and ``scores`` to the condition's entry; the rest of the file, comments included, stays.

    Raises:
        IaaRetrievalError: the condition has scores already (what is expected is not changed by running it) or
            says without any with what it was measured, or its entry is not found.
    """
    condition = plan.condition
    if condition.scores:
        raise IaaRetrievalError(f"{condition.name} ({condition.stage}) has expected scores already")
    if condition.measured:
        raise IaaRetrievalError(
            f"{condition.name} ({condition.stage}) says already with what it was measured, without scores; remove that"
        )
    _add_to_entry(plan, _block(plan, result, _INDENT), without=())


def enter_seeds(plan: ConditionPlan, result: Result) -> None:
    """Put the scores of all seeds of ``result`` in place of the condition's seeds, ``measured`` and ``scores``.

    Raises:
        IaaRetrievalError: its entry is not found.
    """
    seeds = f"{_INDENT}seeds: [{', '.join(map(str, result.seeds))}]\n"
    _add_to_entry(plan, seeds + _block(plan, result, _INDENT), without=("seeds", "measured", "scores"))


def _add_to_entry(plan: ConditionPlan, lines: str, without: tuple[str, ...]) -> None:
    """Put ``lines`` at the end of a condition's entry, from which the keys ``without`` go with what is below them."""
    condition, reproduction = plan.condition, plan.reproduction
    path = reproduction.directory / f"{reproduction.name}.yaml"
    head, mark, rows = path.read_text(encoding="utf-8").partition("\nconditions:\n")
    next_key = re.search(r"^\w", rows, flags=re.MULTILINE)
    rows, tail = (rows[: next_key.start()], rows[next_key.start() :]) if next_key else (rows, "")
    indent = rows[: len(rows) - len(rows.lstrip(" "))]
    entries = re.split(rf"^(?={indent}- )", rows, flags=re.MULTILINE)
    for index, entry in enumerate(entries):
        if _is_of(entry, condition):
            kept = entry
            for key in without:
                kept = re.sub(rf"^{indent}  {key}:.*\n(?:{indent}   .*\n)*", "", kept, flags=re.MULTILINE)
            added = "".join(f"{indent}{line}\n" for line in lines.splitlines())
            entries[index] = kept.rstrip("\n") + "\n" + added
            with atomic_file(path) as stream:
                stream.write(head + mark + "".join(entries) + tail)
            return
    raise IaaRetrievalError(f"{path} has no entry of {condition.name} ({condition.stage}) that scores can be added to")


def _is_of(entry: str, condition: Condition) -> bool:
    values = yaml.safe_load(entry)
    return bool(values) and (values[0]["name"], values[0]["stage"]) == (condition.name, condition.stage)


def _block(plan: ConditionPlan, result: Result, indent: str) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    tolerance = UNTRAINED_TOLERANCE if plan.role is Role.UNTUNED else TRAINED_TOLERANCE
    lines = [
        f'measured: {{date: {result.date}, hardware: "{result.hardware}", versions: "{versions}"}}',
        "scores:",
    ]
    for topics, metrics in plan.columns.items():
        lines.append(f"  {topics}:")
        for metric in metrics:
            means = result.seed_means(topics, metric) or {}
            seeds = ", ".join(f"{seed}: {value:.4f}" for seed, value in means.items())
            several = f", seeds: {{{seeds}}}" if len(means) > 1 else ""
            lines.append(
                f"    {metric}: {{value: {result.mean(topics, metric):.4f}, tolerance: {tolerance:g}, "
                f"provenance: measured{several}}}"
            )
    return "".join(f"{indent}{line}\n" for line in lines)
