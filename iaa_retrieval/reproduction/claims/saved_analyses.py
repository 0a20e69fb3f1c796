"""Claims about what ``iaa_retrieval.analyze`` measured, where its data is kept.

``reproductions/analysis/COLLECTION/STAGE/`` is the ``--output`` of its instruments, run for the table's backbone,
collection and the budget with the most rows.
"""

from __future__ import annotations

import csv
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.files import read_json
from iaa_retrieval.reproduction.claims.cases import Case, one_per_table
from iaa_retrieval.reproduction.claims.judging import Claim, Judgement, Verdict
from iaa_retrieval.reproduction.conditions import Role

DIRECTIONS = "update-direction.csv"
SURFACES = "loss-surface.json"
# The rows of the directions that count: the change that a step of the optimiser makes to all hidden states.
_COUNTED = {"update": "optimiser", "side": "all", "layer": "all"}


def more_direct_updates(subject: str, cases: Sequence[Case]) -> Claim:
    """Do the subject's steps move the hidden states closer to the ideal direction than those of other methods?"""
    return Claim(
        f"The steps of {subject} move the hidden states closer to the direction in which they should move than those "
        "of the other parameter-efficient methods.",
        "By the mean over the measured steps of the cosine between the change that a step of the optimiser makes to "
        "all hidden states and minus the gradient of the loss with respect to them: confirmed where every form of "
        f"{subject} is above every other method, contradicted where every one is below, otherwise not decided.",
        [_judged(case, DIRECTIONS, _cosines, "Mean cosine", larger_is_better=True) for case in one_per_table(cases)],
    )


def flatter_minima(subject: str, cases: Sequence[Case]) -> Claim:
    """Does the subject end in flatter minima than the other methods?"""
    return Claim(
        f"{subject} ends in flatter minima than the other parameter-efficient methods.",
        "By the mean rise of the loss along filter-normalised random directions of the trained parameters: confirmed "
        f"where every form of {subject} is below every other method, contradicted where every one is above, otherwise "
        "not decided.",
        [_judged(case, SURFACES, _rises, "Rise of the loss", larger_is_better=False) for case in one_per_table(cases)],
    )


def _judged(
    case: Case, file: str, values_of: Callable[[Path], dict[str, float]], quantity: str, *, larger_is_better: bool
) -> Judgement:
    path = case.analyses / file
    if not path.is_file():
        return Judgement(case, Verdict.NOT_MEASURED, f"`analyze` has not been run ({file} is not kept).")
    try:
        values = values_of(path)
    except (KeyError, TypeError, ValueError) as error:
        raise IaaRetrievalError(f"{path} is damaged: {error}; write it with iaa_retrieval.analyze again") from error
    roles = {method: case.reproduction.roles.of(method) for method in values}
    subject = [value for method, value in values.items() if roles[method] is Role.SUBJECT]
    others = [value for method, value in values.items() if roles[method] is Role.BASELINE]
    numbers = f"{quantity}: " + ", ".join(f"{method} {value:.4g}" for method, value in values.items())
    if not subject or not others:
        return Judgement(case, Verdict.NOT_MEASURED, f"{numbers}; not both sides are measured.")
    above, below = min(subject) > max(others), max(subject) < min(others)
    confirmed, contradicted = (above, below) if larger_is_better else (below, above)
    verdict = Verdict.CONFIRMED if confirmed else Verdict.CONTRADICTED if contradicted else Verdict.NOT_DECIDED
    return Judgement(case, verdict, numbers)


def _cosines(path: Path) -> dict[str, float]:
    """Method -> mean over the measured steps; one at which nothing moved has none."""
    with open(path, encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if all(row[key] == value for key, value in _COUNTED.items())]
    return _means((row["method"], float(row["cosine"])) for row in rows if row["cosine"])


def _rises(path: Path) -> dict[str, float]:
    """Method -> mean over its checkpoints."""
    return _means((surface["method"], float(surface["rise"])) for surface in read_json(path)["surfaces"])


def _means(values: Iterable[tuple[str, float]]) -> dict[str, float]:
    of_method: dict[str, list[float]] = {}
    for method, value in values:
        of_method.setdefault(method, []).append(value)
    return {method: statistics.fmean(found) for method, found in of_method.items()}
