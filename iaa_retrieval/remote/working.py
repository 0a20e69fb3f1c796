"""``run``: the program of an unpacked bundle, from its manifest to the files that come back."""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from iaa_retrieval.files import atomic_file, read_json
from iaa_retrieval.process import prepare_process
from iaa_retrieval.remote.collections import use_bundled_collections
from iaa_retrieval.remote.matrix import Matrix
from iaa_retrieval.remote.packing import Packed, pack
from iaa_retrieval.remote.places import SUMMARY, Places
from iaa_retrieval.remote.scheduling import Scheduler
from iaa_retrieval.remote.selection import Selection
from iaa_retrieval.remote.units import ROW, SHARED, Digests
from iaa_retrieval.remote.weights import restore

LOG = logging.getLogger("iaa_retrieval")
# Packing at the end takes seconds; the rest is for a slow disk.
SECONDS_TO_PACK = 25.0


@dataclass(frozen=True)
class RunOptions:
    """How to work through a bundle.

    Attributes:
        work: the folder that it was unpacked to.
        started: when that began, by ``time.time()``; ``minutes`` count from there.
        at_once: units at a time.
    """

    work: Path
    manifest: Path
    output: Path
    started: float
    minutes: float
    at_once: int
    device: str


def run_bundle(options: RunOptions) -> bool:
    """Run what is to be done, as far as the time goes, and pack what is finished; whether no unit failed."""
    prepare_process()
    places = Places(options.work)
    for weights in sorted(places.backbones.rglob("weights.json")):
        restore(weights.parent)
    use_bundled_collections(places.collections)
    manifest = read_json(options.manifest)
    selection = Selection(**{**manifest["selection"], "names": tuple(manifest["selection"]["names"])})
    digests = Digests(**manifest["digests"])
    matrix = Matrix(selection, selection.reproductions(places.reproductions), digests, manifest["earlier"])
    deadline = options.started + 60 * options.minutes - SECONDS_TO_PACK
    scheduler = Scheduler(matrix, places, options.device, digests.training_precision, options.at_once, deadline)
    options.output.mkdir(parents=True, exist_ok=True)
    try:
        scheduler.run()
    finally:  # whatever happened, what is finished comes back
        finished = [
            (outcome.unit.name, places.finished / key, _is_of_first_seed(matrix, key))
            for key, outcome in matrix.outcomes.items()
            if outcome.record is not None and outcome.unit.kind != SHARED
        ]
        packed = pack(finished, options.output)
        text = summary(matrix, packed, time.time() - options.started)
        with atomic_file(options.output / SUMMARY) as stream:
            stream.write(text)
    print(text, flush=True)
    shutil.rmtree(places.outputs(""), ignore_errors=True)
    return all(outcome.record is not None for outcome in matrix.outcomes.values())


def _is_of_first_seed(matrix: Matrix, key: str) -> bool:
    unit = matrix.outcomes[key].unit
    plan = next(
        plan
        for plan in matrix.plans
        if (plan.reproduction.name, plan.stage, plan.name) == (unit.reproduction, unit.stage, unit.condition)
    )
    return unit.kind == ROW and unit.seed == plan.condition.seeds[0]


def summary(matrix: Matrix, packed: Packed, seconds: float) -> str:
    """What was done, unit by unit, with the seconds that each took, and what is left."""
    outcomes = list(matrix.outcomes.values())
    done = [outcome for outcome in outcomes if outcome.record is not None]
    failed = [outcome for outcome in outcomes if outcome.record is None]
    lines = [
        f"{len(done)} units done in {seconds:.0f} s, {len(failed)} failed, {matrix.unfinished()} left to do "
        "(rows whose learning rates are not all tried yet are not counted)"
    ]
    lines += [f"  {outcome.seconds:7.1f} s  {outcome.unit.name}" for outcome in done]
    lines += [f"failed: {outcome.unit.name}: {outcome.problem}" for outcome in failed]
    lines += [f"left out, no room: {name}" for name in packed.left_out]
    lines += [f"{part.name}: {part.stat().st_size:,} bytes" for part in packed.parts]
    return "\n".join(lines) + "\n"
