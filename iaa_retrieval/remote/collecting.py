"""``collect``: what came back from the other machine, into the results, rates and checkpoints of ``reproductions/``.

Everything that came back is kept in a store, so that rows whose seeds came at different times are put together and
nothing is run twice.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.files import read_json
from iaa_retrieval.jobs.reproduce import record_result
from iaa_retrieval.remote.new_rates import enter_rate
from iaa_retrieval.remote.packing import unpack
from iaa_retrieval.remote.places import CHECKPOINT, UNIT_RECORD
from iaa_retrieval.remote.units import ROW, TRIAL, Unit, dev_scores, rows_of, trials_of
from iaa_retrieval.reproduction.checkpoints import store_checkpoint
from iaa_retrieval.reproduction.loading import load_reproduction
from iaa_retrieval.reproduction.plan import ConditionPlan
from iaa_retrieval.reproduction.results import Result, SeedResult
from iaa_retrieval.reproduction.runner import Comparison, compare, environment_of
from iaa_retrieval.reproduction.stages import Environment
from iaa_retrieval.reproduction.tried_rates import tried_rates, write_tried_rates

LOG = logging.getLogger("iaa_retrieval")
Record = Mapping[str, Any]


@dataclass(frozen=True)
class CollectOptions:
    """What to take in.

    Attributes:
        source: the folder with what came back; None takes in again what is in the store.
        store: keeps all that ever came back.
        replace: also rows that have a result already.
    """

    source: Path | None
    store: Path
    replace: bool = False


def read_store(store: Path) -> dict[str, Record]:
    """Key -> record of every unit that came back."""
    return {file.parent.name: read_json(file) for file in sorted(store.glob(f"*/{UNIT_RECORD}"))}


def collect(options: CollectOptions) -> list[Comparison]:
    """Unpack what came back, then write every complete set of rates and every complete row.

    Returns:
        How the rows that were written compare with what was expected.

    Raises:
        IaaRetrievalError: damaged files, or results of a row that the YAML no longer describes.
    """
    if options.source is not None:
        keys = unpack(options.source, options.store)
        LOG.info("%d units came back", len(keys))
    records = read_store(options.store)
    if not records:
        raise IaaRetrievalError(f"{options.store} holds nothing that came back")
    comparisons: list[Comparison] = []
    for name in dict.fromkeys(record["reproduction"] for record in records.values()):
        own = [record for record in records.values() if record["reproduction"] == name]
        for plan in load_reproduction(name).plans:
            _take_rates(plan, own)
        for plan in load_reproduction(name).plans:  # with the rates that were entered
            comparisons += _take_row(plan, own, options)
    return comparisons


def _take_rates(plan: ConditionPlan, records: Iterable[Record]) -> None:
    """Keep what a condition tried when all of it came back, and enter the best rate into the YAML of a new row."""
    units = trials_of(plan)
    found = [_record_of(unit, records, TRIAL) for unit in units]
    there = [record for record in found if record is not None]
    if not units or len(there) < len(units):
        if there:
            LOG.info("%s: %d of %d learning rates came back", plan.label, len(there), len(units))
        return
    search = plan.table.rate_search
    assert search is not None, "without a search there are no trials"
    made_in = environment_of([Environment(**record["environment"]) for record in there])
    scores = dev_scores((unit, record["dev_score"]) for unit, record in zip(units, there, strict=True))
    tried = tried_rates(search.metric, made_in.date, made_in.hardware, scores)
    write_tried_rates(plan, tried)
    LOG.info("wrote %s", plan.rates_file)
    if tried.best is None:
        LOG.warning("%s: training diverged at every rate", plan.label)
        return
    if tried.best == plan.settings["lr"].value:
        return
    if plan.condition.scores:
        LOG.warning(
            "%s: the best rate is %s, and its scores are of %s; remove them, and put it into the YAML",
            plan.label,
            tried.best,
            plan.settings["lr"].value,
        )
    else:
        enter_rate(plan, tried.best)
        LOG.info("%s: entered the rate %s into the YAML", plan.label, tried.best)


def _take_row(plan: ConditionPlan, records: Iterable[Record], options: CollectOptions) -> list[Comparison]:
    units = rows_of(plan)
    found = [_record_of(unit, records, ROW) for unit in units]
    there = [record for record in found if record is not None]
    if not there:
        return []
    if len(there) < len(units):
        LOG.info("%s: %d of %d seeds came back", plan.label, len(there), len(units))
        return []
    if plan.result_file.is_file() and not options.replace:
        LOG.info("%s: has a result already; --replace writes this one", plan.label)
        return []
    _warn_of_other_code(plan, there)
    result = _result_of(there)
    record_result(plan, result)
    checkpoint = options.store / str(there[0]["key"]) / CHECKPOINT
    if checkpoint.is_dir():
        restored = restore_checkpoint(checkpoint, plan.reproduction.backbone.name, options.store / ".restored")
        size = store_checkpoint(restored, plan.checkpoint)
        LOG.info("wrote %s (%s bytes)", plan.checkpoint, f"{size:,}")
    return compare(plan, result)


def _record_of(unit: Unit, records: Iterable[Record], kind: str) -> Record | None:
    """What came back of a unit as the YAML describes it now; the last, where it came more than once."""
    matching = [
        record
        for record in records
        if record["kind"] == kind and record["commands"] == unit.commands and record["condition"] == unit.condition
    ]
    return max(matching, key=lambda record: str(record["environment"]["date"]), default=None)


def _result_of(records: list[Record]) -> Result:
    environment = environment_of([Environment(**record["environment"]) for record in records])
    seeds = {
        int(record["seed"]): SeedResult(record["per_query"], record["seconds"], record["history"]) for record in records
    }
    return Result(*environment, False, seeds)


def _warn_of_other_code(plan: ConditionPlan, records: list[Record]) -> None:
    if len({record["code"] for record in records}) > 1:
        LOG.warning("%s: its seeds were trained by different states of the code", plan.label)


def restore_checkpoint(came_back: Path, backbone: str, target: Path) -> Path:
    """An adapter as if it had been trained here: on the backbone itself, whose weights were rounded there.

    Its scores on the backbone as it is are what ``reproduce --from-checkpoint`` checks.

    Args:
        backbone: the name by which everybody has it.
        target: a folder to make, or to make anew.
    """
    import shutil

    from transformers import AutoModel

    from iaa_retrieval.models.backbone import backbone_name, fingerprint_weights, load_network
    from iaa_retrieval.models.retriever_config import read_retriever_config

    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(came_back, target)
    config = read_retriever_config(came_back)
    if config is None:
        raise IaaRetrievalError(f"{came_back} holds no retriever.json; bring it back again")
    fingerprint = fingerprint_weights(load_network(AutoModel, backbone))
    training = {**config.training, "backbone_precision": "fp16"}
    replace(config, backbone=backbone_name(backbone), backbone_fingerprint=fingerprint, training=training).save(target)
    return target
