"""Committed checkpoints still give their scores, from the raw collection on; minutes each: ``make regression``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from iaa_retrieval.reproduction.conditions import Condition
from iaa_retrieval.reproduction.loading import load_reproduction

pytestmark = pytest.mark.regression

COLLECTION = "beir-scifact"
METHODS = ("iaa-l-0.5", "adapter-0.5", "lora-0.5")


def committed() -> list[Condition]:
    """The conditions of ``METHODS`` with a checkpoint, at either stage."""
    reproduction = load_reproduction(COLLECTION)
    chosen = [condition for name in METHODS for condition in reproduction.select(name)]
    return [condition for condition in chosen if reproduction.checkpoint(condition).is_dir()]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One directory for all, so that they share what comes before the checkpoint."""
    return tmp_path_factory.mktemp("runs")


def test_first_stage_checkpoints_are_committed() -> None:
    assert {c.name for c in committed() if c.stage == "retrieval"} == set(METHODS)


@pytest.mark.parametrize("condition", committed(), ids=lambda condition: f"{condition.stage}-{condition.name}")
def test_scores(condition: Condition, runs: Path, irds_home: Path) -> None:
    words = [
        "--collection", COLLECTION, "--condition", condition.name, "--stage", condition.stage, "--from-checkpoint",
        "--directory", str(runs),
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "iaa_retrieval.reproduce", *words],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(os.cpu_count())},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert done.stdout.count("  OK") == sum(map(len, condition.scores.values())) > 0
