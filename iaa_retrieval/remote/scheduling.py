"""Working through the matrix: as many units at once as are asked for, and none begun that could not end in time."""

from __future__ import annotations

import logging
import multiprocessing
import time
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.files import read_json
from iaa_retrieval.remote.execution import Work, run_unit
from iaa_retrieval.remote.matrix import Matrix, Outcome
from iaa_retrieval.remote.places import UNIT_RECORD, Places
from iaa_retrieval.remote.units import Unit

LOG = logging.getLogger("iaa_retrieval")
# Imported once, before units branch off; none of them touches the GPU, which a process that branches off could not use.
PRELOADED = (
    *("torch", "transformers.trainer", "transformers.models.bert.modeling_bert", "peft", "accelerate", "pytrec_eval"),
    *("iaa_retrieval.remote.execution", "iaa_retrieval.remote.exact_search", "iaa_retrieval.training.run"),
    *("iaa_retrieval.inference.reranking", "iaa_retrieval.inference.corpus_encoder", "iaa_retrieval.train"),
    *("iaa_retrieval.rerank", "iaa_retrieval.jobs.train", "iaa_retrieval.inference.loading"),
)


@dataclass
class Scheduler:
    """Processes that work on a matrix until it is done or the time is over.

    Attributes:
        training_precision: see ``Work``.
        deadline: when what still runs is ended, by ``time.time()``.
        longest: kind of unit -> seconds that the longest took.
    """

    matrix: Matrix
    places: Places
    device: str
    training_precision: str
    at_once: int
    deadline: float
    longest: dict[str, float] = field(default_factory=dict)

    def run(self) -> None:
        """Run units; at the deadline those that are not finished are ended, and count as not begun.

        Raises:
            IaaRetrievalError: nothing can be computed on the device.
        """
        context = _context(self.device, self.deadline)
        running: dict[Any, tuple[Unit, str, float]] = {}
        while time.time() < self.deadline:
            for unit in self.matrix.ready():
                if len(running) < self.at_once and self._fits(unit):
                    process, key = self._begin(context, unit)
                    running[process] = unit, key, time.time()
            if not running:
                return
            wait([process.sentinel for process in running], timeout=max(0.0, self.deadline - time.time()))
            for process in [process for process in running if not process.is_alive()]:
                self._finish(process, *running.pop(process))
        for process, (unit, key, _) in running.items():
            process.kill()
            process.join()
            self.matrix.begun.discard(key)
            LOG.warning("ended at the deadline: %s", unit.name)

    def _fits(self, unit: Unit) -> bool:
        """Whether the longest of its kind so far would end in time."""
        return time.time() + self.longest.get(unit.kind, 0.0) < self.deadline

    def _begin(self, context: Any, unit: Unit) -> tuple[Any, str]:
        key = self.matrix.key_of(unit)
        self.matrix.begun.add(key)
        work = Work(unit, key, self.places.bundle, self.device, self.training_precision)
        process = context.Process(target=run_unit, args=(work,), daemon=True)
        process.start()
        return process, key

    def _finish(self, process: Any, unit: Unit, key: str, started: float) -> None:
        process.join()
        outcome = Outcome(unit, seconds=round(time.time() - started, 1))
        self.longest[unit.kind] = max(outcome.seconds, self.longest.get(unit.kind, 0.0))
        record = self.places.finished / key / UNIT_RECORD
        if process.exitcode == 0 and record.is_file():
            outcome.record = read_json(record)
            LOG.info("%s: %.0f s", unit.name, outcome.seconds)
        else:
            outcome.problem = _last_line(self.places.log(unit.name), process.exitcode)
            LOG.warning("%s failed: %s", unit.name, outcome.problem)
        self.matrix.outcomes[key] = outcome


def _context(device: str, deadline: float) -> Any:
    """How processes begin: branching off from one that has imported everything, or anew where the GPU forbids that."""
    branching = multiprocessing.get_context("forkserver")
    branching.set_forkserver_preload(list(PRELOADED))
    if _works(branching, device, deadline):
        return branching
    LOG.warning("a process that branches off cannot use the device; each unit imports everything anew")
    anew = multiprocessing.get_context("spawn")
    if not _works(anew, device, deadline):
        raise IaaRetrievalError(f"nothing can be computed on device {device} here")
    return anew


def _works(context: Any, device: str, deadline: float) -> bool:
    process = context.Process(target=_compute_something, args=(device,), daemon=True)
    process.start()
    process.join(timeout=max(0.0, deadline - time.time()))
    if process.is_alive():
        process.kill()
    return bool(process.exitcode == 0)


def _compute_something(device: str) -> None:
    import torch

    from iaa_retrieval.models.precision import choose_device

    torch.ones(2, device=choose_device(device)).sum().item()


def _last_line(log: Path, exit_code: int | None) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.is_file() else []
    return next((line for line in reversed(lines) if line.strip()), f"exit code {exit_code}")
