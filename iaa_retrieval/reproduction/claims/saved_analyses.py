"""Claims about what ``iaa_retrieval.analyze`` measured, where its data is kept.

``reproductions/analysis/COLLECTION/STAGE/`` is the ``--output`` of its instruments, run for the table's backbone,
collection and the budget with the most rows.
"""

from __future__ import annotations

import csv
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.reproduction.claims.cases import Case, one_per_table
from iaa_retrieval.reproduction.claims.judging import Claim, Judgement, Verdict
from iaa_retrieval.reproduction.conditions import Role

DIRECTIONS, DIRECTION_COLUMNS = "update-direction.csv", ("method", "step", "side", "layer", "update", "cosine")
SHARPNESS, SHARPNESS_COLUMNS = "loss-surface-sharpness.csv", ("method", "sharpness")
Rows = Sequence[Mapping[str, str]]


def more_direct_updates(subject: str, cases: Sequence[Case]) -> Claim:
    """Do the subject's steps move the hidden states closer to the ideal direction than those of other methods?"""
    return Claim(
        f"The steps of {subject} move the hidden states closer to the direction in which they should move than those "
        "of the other parameter-efficient methods.",
        "By the mean over the measured steps of the cosine between the change that a step of the optimiser makes to "
        "all hidden states and minus the gradient of the loss with respect to them: confirmed where every form of "
        f"{subject} is above every other method, contradicted where every one is below, otherwise not decided.",
        [
            _judged(case, DIRECTIONS, DIRECTION_COLUMNS, _cosines, "Mean cosine", larger_is_better=True)
            for case in one_per_table(cases)
        ],
    )


def flatter_minima(subject: str, cases: Sequence[Case]) -> Claim:
    """Does the subject end in flatter minima than the other methods?"""
    return Claim(
        f"{subject} ends in flatter minima than the other parameter-efficient methods.",
        "By the sharpness of the loss along filter-normalised random directions of the trained parameters: confirmed "
        f"where every form of {subject} is below every other method, contradicted where every one is above, otherwise "
        "not decided.",
        [
            _judged(case, SHARPNESS, SHARPNESS_COLUMNS, _sharpness, "Sharpness", larger_is_better=False)
            for case in one_per_table(cases)
        ],
    )


def _judged(
    case: Case,
    file: str,
    columns: Sequence[str],
    values_of: Callable[[Rows], dict[str, float]],
    quantity: str,
    *,
    larger_is_better: bool,
) -> Judgement:
    path = case.analyses / file
    if not path.is_file():
        return Judgement(case, Verdict.NOT_MEASURED, f"`analyze` has not been run ({file} is not kept).")
    values = values_of(_read(path, columns))
    roles = {method: case.reproduction.roles.of(method) for method in values}
    subject = [value for method, value in values.items() if roles[method] is Role.SUBJECT]
    others = [value for method, value in values.items() if roles[method] is Role.BASELINE]
    numbers = f"{quantity}: " + ", ".join(f"{method} {value:.4g}" for method, value in values.items())
    if not subject or not others:
        return Judgement(case, Verdict.NOT_MEASURED, f"{numbers}; not both sides are measured")
    above, below = min(subject) > max(others), max(subject) < min(others)
    confirmed, contradicted = (above, below) if larger_is_better else (below, above)
    verdict = Verdict.CONFIRMED if confirmed else Verdict.CONTRADICTED if contradicted else Verdict.NOT_DECIDED
    return Judgement(case, verdict, numbers)


def _cosines(rows: Rows) -> dict[str, float]:
    """Method -> mean over the steps, of the optimiser's steps over all layers and sides."""
    wanted = {"update": "optimiser", "side": "all", "layer": "all"}
    return _means([row for row in rows if all(row[key] == value for key, value in wanted.items())], "cosine")


def _sharpness(rows: Rows) -> dict[str, float]:
    return _means(rows, "sharpness")


def _means(rows: Rows, column: str) -> dict[str, float]:
    """Method -> mean of a column over its rows that have a value."""
    of_method: dict[str, list[float]] = {}
    for row in rows:
        if row[column]:
            of_method.setdefault(row["method"], []).append(float(row[column]))
    return {method: statistics.fmean(values) for method, values in of_method.items()}


def _read(path: Path, columns: Sequence[str]) -> Rows:
    with open(path, encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        missing = [column for column in columns if column not in (reader.fieldnames or ())]
        if missing:
            raise IaaRetrievalError(f"{path} has no column {missing[0]}; write it with iaa_retrieval.analyze again")
        return list(reader)
