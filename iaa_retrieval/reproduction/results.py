"""What re-runs measured, kept per query in ``reproductions/results/COLLECTION/STAGE/CONDITION.json``.

The YAML says what is expected; these files hold what came out, so that pages show both and significance tests can be
computed again from a fresh clone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.evaluation.metrics import mean
from iaa_retrieval.files import atomic_file, read_json
from iaa_retrieval.reproduction.plan import Reproduction

# Queries' values are kept to this many decimals, far below what a mean is printed with.
DECIMALS = 6
PerQuery = dict[str, dict[str, dict[str, float]]]  # topic set -> metric -> query id -> value


@dataclass(frozen=True)
class SeedResult:
    """What one seed gave.

    Attributes:
        seconds: how long training took; None where nothing was trained.
        history: the loss and dev scores per step, as training logged them; empty where nothing was trained.
    """

    per_query: PerQuery
    seconds: float | None
    history: list[dict[str, float]]


@dataclass(frozen=True)
class Result:
    """What a run of a condition measured, when and with what; only runs from nothing are kept in files."""

    date: str
    hardware: str
    versions: dict[str, str]
    from_checkpoint: bool
    seeds: dict[int, SeedResult]

    @property
    def first(self) -> SeedResult:
        """The first seed's, which curves show."""
        return next(iter(self.seeds.values()))

    def seed_means(self, topics: str, metric: str) -> dict[int, float] | None:
        """Seed -> mean over the queries; None where it was not measured."""
        if any(metric not in seed.per_query.get(topics, {}) for seed in self.seeds.values()):
            return None
        return {seed: mean(result.per_query[topics][metric]) for seed, result in self.seeds.items()}

    def mean(self, topics: str, metric: str) -> float | None:
        """Mean over queries and seeds; None where it was not measured."""
        means = self.seed_means(topics, metric)
        return sum(means.values()) / len(means) if means else None


def with_further_seeds(earlier: Result, later: Result) -> Result:
    """Both results' seeds, the earlier ones first, as measured on the later date.

    Raises:
        IaaRetrievalError: they were measured with other versions, so that seeds are not all that differs.
    """
    differing = sorted(
        name
        for name in earlier.versions.keys() | later.versions.keys()
        if earlier.versions.get(name) != later.versions.get(name)
    )
    if differing:
        name = differing[0]
        of_each = [f"{', '.join(map(str, each.seeds))} with {each.versions.get(name)}" for each in (earlier, later)]
        raise IaaRetrievalError(
            f"{name} differs between the seeds' measurements: {' and '.join(of_each)}; measure all of them with one"
        )
    machines = dict.fromkeys([*earlier.hardware.split("; "), *later.hardware.split("; ")])
    return replace(later, hardware="; ".join(machines), seeds={**earlier.seeds, **later.seeds})


Results = dict[tuple[str, str], Result]  # (stage, condition) -> result


def write_result(path: Path, result: Result) -> None:
    """Write a result with one line per metric, whole or not at all."""
    values = asdict(result)
    lines = [f" {json.dumps(key)}: {json.dumps(values[key])}" for key in values if key != "seeds"]
    seeds = ",\n".join(f"  {json.dumps(str(seed))}: {_seed_json(result.seeds[seed])}" for seed in result.seeds)
    lines.append(f' "seeds": {{\n{seeds}\n }}')
    with atomic_file(path) as stream:
        stream.write("{\n" + ",\n".join(lines) + "\n}\n")


def _seed_json(result: SeedResult) -> str:
    topic_sets = ",\n".join(
        f"    {json.dumps(topics)}: {{\n"
        + ",\n".join(f"     {json.dumps(metric)}: {_rounded(values)}" for metric, values in metrics.items())
        + "}"
        for topics, metrics in result.per_query.items()
    )
    history = ",\n".join(f"    {json.dumps(entry)}" for entry in result.history)
    return (
        f'{{\n   "seconds": {json.dumps(result.seconds)},\n   "per_query": {{\n{topic_sets}}},\n'
        f'   "history": [\n{history}]}}'
    )


def _rounded(values: dict[str, float]) -> str:
    return json.dumps({query_id: round(value, DECIMALS) for query_id, value in values.items()})


def read_result(path: Path) -> Result:
    """Read a result.

    Raises:
        IaaRetrievalError: the file is damaged.
    """
    values = read_json(path)
    try:
        seeds = {int(seed): SeedResult(**entry) for seed, entry in values.pop("seeds").items()}
        result = Result(seeds=seeds, **values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise IaaRetrievalError(f"{path} is no result of a reproduction: {error}; run the condition again") from error
    if not result.seeds:
        raise IaaRetrievalError(f"{path} holds no seed's result; run the condition again")
    return result


def read_results(reproduction: Reproduction) -> Results:
    """Every result that is kept for a collection's conditions."""
    files = {plan.key: plan.result_file for plan in reproduction.plans}
    return {key: read_result(path) for key, path in files.items() if path.is_file()}


def read_history(checkpoint: Path) -> list[dict[str, float]]:
    """The loss and dev scores per step that training left beside a checkpoint, without what else it logged."""
    entries: Sequence[dict[str, Any]] = read_json(checkpoint / "history.json")
    kept = []
    for entry in entries:
        scores = {key.removeprefix("eval_"): value for key, value in entry.items() if "@" in key or key == "loss"}
        if scores:
            kept.append({"step": entry["step"], **{key: round(value, 4) for key, value in scores.items()}})
    return kept
