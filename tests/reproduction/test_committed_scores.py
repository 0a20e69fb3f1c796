"""Rows still give their scores, from the raw collection on: those without training, and committed checkpoints.

Minutes each, so they run by themselves: ``make regression``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from iaa_retrieval.reproduction.conditions import Condition
from iaa_retrieval.reproduction.loading import load_reproduction

pytestmark = pytest.mark.regression

# The bm25 of beir-scifact is in tests/test_reference_scores.py. Its dense-untuned re-ranking and the dense-untuned
# retrieval of msmarco-mini are left out: they take ten minutes each.
UNTRAINED = [
    ("beir-scifact", "retrieval", "dense-untuned"),
    ("beir-nfcorpus", "retrieval", "bm25"),
    ("beir-nfcorpus", "retrieval", "dense-untuned"),
    ("msmarco-mini", "retrieval", "bm25"),
    ("msmarco-mini", "reranking", "bm25"),
    ("msmarco-mini", "reranking", "dense-untuned"),
]
TUNED_ON = "beir-scifact"
METHODS = ("iaa-l-0.5", "adapter-0.5", "lora-0.5")


def committed() -> list[Condition]:
    """The conditions of ``METHODS`` with a checkpoint, at either stage."""
    reproduction = load_reproduction(TUNED_ON)
    chosen = [condition for name in METHODS for condition in reproduction.select(name)]
    return [condition for condition in chosen if reproduction.checkpoint(condition).is_dir()]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One directory for all, so that the rows of a collection share what they have in common."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def environment(data_dir: Path, irds_home: Path) -> dict[str, str]:
    """Where the data sets are, and all cores."""
    return {**os.environ, "IAA_RETRIEVAL_DATA": str(data_dir), "OMP_NUM_THREADS": str(os.cpu_count())}


def rerun(collection: str, condition: Condition, runs: Path, environment: dict[str, str], *flags: str) -> None:
    """Every score of a row comes out again within its tolerance."""
    words = [
        "--collection", collection, "--condition", condition.name, "--stage", condition.stage,
        "--directory", str(runs / collection), *flags,
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "iaa_retrieval.reproduce", *words],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert done.stdout.count("  OK") == sum(map(len, condition.scores.values())) > 0


@pytest.mark.parametrize(("collection", "stage", "name"), UNTRAINED)
def test_rows_without_training(collection: str, stage: str, name: str, runs: Path, environment: dict[str, str]) -> None:
    [condition] = load_reproduction(collection).select(name, stage)
    assert {score.tolerance for scores in condition.scores.values() for score in scores.values()} == {0.0001}
    rerun(collection, condition, runs, environment)


def test_first_stage_checkpoints_are_committed() -> None:
    assert {c.name for c in committed() if c.stage == "retrieval"} == set(METHODS)


@pytest.mark.parametrize("condition", committed(), ids=lambda condition: f"{condition.stage}-{condition.name}")
def test_committed_checkpoints(condition: Condition, runs: Path, environment: dict[str, str]) -> None:
    rerun(TUNED_ON, condition, runs, environment, "--from-checkpoint")
