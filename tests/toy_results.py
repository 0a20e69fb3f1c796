"""A reproduction with a row for every role, and results for it that are made up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reproduction_files import condition, toy_values, write_reproduction

from iaa_retrieval.reproduction.claims.cases import Case, cases_of
from iaa_retrieval.reproduction.loading import load_reproduction
from iaa_retrieval.reproduction.plan import Reproduction
from iaa_retrieval.reproduction.results import Result, SeedResult, write_result

ROWS: dict[str, tuple[str, str, dict[str, int]]] = {
    "bm25": ("none", "", {}),
    "full": ("full", "100%", {}),
    "adapter-0.5": ("adapter", "0.5%", {"r": 2}),
    "lora-0.5": ("lora", "0.5%", {"r": 2}),
    "iaa-l-0.5": ("iaa-l", "0.5%", {"r": 2, "ar": 2}),
    "iaa-s-0.5": ("iaa-s", "0.5%", {"r": 2, "ar": 2}),
}
SPREAD = [0.01, -0.02, 0.03, 0.0, -0.01, 0.02]  # of the queries


def toy_with_rows(directory: Path, rows: dict[str, tuple[str, str, dict[str, int]]] = ROWS) -> Reproduction:
    conditions = [
        condition(name, "first.trec") | {"method": method, "budget": budget, "dimensions": dimensions}
        for name, (method, budget, dimensions) in rows.items()
    ]
    write_reproduction(directory, {**toy_values(directory), "conditions": conditions})
    return load_reproduction("toy", directory)


def keep(
    toy: Reproduction,
    name: str,
    level: float,
    shape: float = 1.0,
    *,
    losses: Sequence[Sequence[float]] = (),
    further_seeds: tuple[float, ...] = (),
) -> list[float]:
    """A result whose queries' values lie around ``level`` (and further seeds' around other levels).

    Args:
        shape: times ``SPREAD``, how the values lie around the level.
        losses: of each seed, by tens of steps.

    Returns:
        The first seed's values.
    """
    seeds = {}
    for number, around in enumerate((level, *further_seeds)):
        values = {f"q{query}": around + shape * value for query, value in enumerate(SPREAD)}
        logged: Sequence[float] = losses[number] if losses else ()
        history: list[dict[str, Any]] = [
            {"step": 10 * index, "loss": loss} for index, loss in enumerate(logged, start=1)
        ]
        seeds[42 + number] = SeedResult({"test": {"nDCG@10": values}}, None, history)
    (plan,) = toy.select(name, "retrieval")
    write_result(plan.result_file, Result("d", "h", {}, False, seeds))
    return list(seeds[42].per_query["test"]["nDCG@10"].values())


def only_case(toy: Reproduction) -> Case:
    (case,) = cases_of([toy])
    return case
