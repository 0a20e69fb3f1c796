"""Units end at the deadline, none begins that could not end before it, and a failure is said with its reason."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from iaa_retrieval.files import write_json
from iaa_retrieval.remote import scheduling
from iaa_retrieval.remote.matrix import Outcome
from iaa_retrieval.remote.places import Places
from iaa_retrieval.remote.scheduling import Scheduler
from iaa_retrieval.remote.units import Unit


class Units:
    """As many units as there are names, all ready at once; a stand-in for a matrix."""

    def __init__(self, *names: str) -> None:
        self.all = [Unit("trial", "toy", "retrieval", name, (), seed=1) for name in names]
        self.begun: set[str] = set()
        self.outcomes: dict[str, Outcome] = {}

    def key_of(self, unit: Unit) -> str:
        return unit.condition

    def ready(self) -> list[Unit]:
        return [unit for unit in self.all if unit.condition not in self.begun]


def work(given: Any) -> None:
    """What a unit's name says: it takes long, it fails, or it is done."""
    name = given.unit.condition
    if name.startswith("long"):
        time.sleep(60)
    if name.startswith("bad"):
        given.places.log(given.unit.name).parent.mkdir(exist_ok=True)
        given.places.log(given.unit.name).write_text("a line\nError: no such thing\n\n")
        sys.exit(1)
    time.sleep(0.2)
    write_json(given.places.finished / name / "unit.json", {"name": name, "dev_score": 1})


@pytest.fixture
def schedule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Units]:
    monkeypatch.setattr(scheduling, "_context", lambda device, deadline: multiprocessing.get_context("fork"))
    monkeypatch.setattr(scheduling, "run_unit", work)

    def run(units: Units, seconds: float, **longest: float) -> Units:
        deadline = time.time() + seconds
        Scheduler(units, Places(tmp_path), "cpu", "fp32", 2, deadline, longest).run()  # type: ignore[arg-type]
        assert time.time() < deadline + 10
        return units

    return run


def test_all_that_there_is_to_do(schedule: Callable[..., Units]) -> None:
    units = schedule(Units("a", "b", "bad", "c"), 30)
    assert {name: outcome.record for name, outcome in units.outcomes.items() if outcome.record} == {
        name: {"name": name, "dev_score": 1} for name in "abc"
    }
    assert units.outcomes["bad"].problem == "Error: no such thing"
    assert 0.2 <= units.outcomes["a"].seconds < 10


def test_what_still_runs_at_the_deadline_is_ended_and_is_not_done(schedule: Callable[..., Units]) -> None:
    units = schedule(Units("long", "a"), 2.5)
    assert set(units.outcomes) == {"a"} and units.begun == {"a"}


def test_nothing_begins_that_would_not_end_in_time(schedule: Callable[..., Units]) -> None:
    units = schedule(Units("a", "b"), 20, trial=30)
    assert not units.begun
