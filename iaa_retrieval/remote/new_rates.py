"""Entering the learning rate that was found best into ``reproductions/NAME.yaml``, for a row without scores."""

from __future__ import annotations

import re

import yaml

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.files import atomic_file
from iaa_retrieval.reproduction.plan import ConditionPlan

_RATE = re.compile(r"^( +)lr: \{value: [^,}]+", flags=re.MULTILINE)
_SETTINGS = re.compile(r"^( +)settings:[ ]*\n", flags=re.MULTILINE)


def enter_rate(plan: ConditionPlan, rate: str) -> None:
    """Set the condition's own ``lr``; the rest of the file, comments included, stays.

    Raises:
        IaaRetrievalError: the condition's entry is not found, or has settings in another form.
    """
    reproduction = plan.reproduction
    path = reproduction.directory / f"{reproduction.name}.yaml"
    text = path.read_text(encoding="utf-8")
    head, mark, rows = text.partition("\nconditions:\n")
    indent = rows[: len(rows) - len(rows.lstrip(" "))]
    entries = re.split(rf"^(?={indent}- )", rows, flags=re.MULTILINE)
    for index, entry in enumerate(entries):
        values = yaml.safe_load(entry) if entry.lstrip().startswith("- ") else None
        if values and (values[0]["name"], values[0]["stage"]) == (plan.name, plan.stage):
            entries[index] = _with_rate(entry, rate, indent + "  ")
            changed = yaml.safe_load(entries[index])[0]
            if changed.get("settings", {}).get("lr", {}).get("value") not in (rate, _as_number(rate)):
                break
            with atomic_file(path) as stream:
                stream.write(head + mark + "".join(entries))
            return
    raise IaaRetrievalError(f"{path}: put the rate {rate} into the entry of {plan.name} ({plan.stage}) by hand")


def _with_rate(entry: str, rate: str, indent: str) -> str:
    if _RATE.search(entry):
        return _RATE.sub(rf"\g<1>lr: {{value: {rate}", entry, count=1)
    line = f"{indent}  lr: {{value: {rate}, provenance: ours}}\n"
    found = _SETTINGS.search(entry)
    if found:
        return entry[: found.end()] + line + entry[found.end() :]
    return f"{entry.rstrip()}\n{indent}settings:\n{line}"


def _as_number(rate: str) -> float:
    return float(rate)
