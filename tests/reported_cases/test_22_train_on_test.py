"""Case 22: a folder that has judgments for testing only is not trained on unless that is what was asked for."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from iaa_retrieval.files import read_json
from iaa_retrieval.train import main


@pytest.fixture
def folder(reported_cases: Path, tmp_path: Path) -> Path:
    common = reported_cases / "common" / "beir"
    directory = tmp_path / "d"
    (directory / "qrels").mkdir(parents=True)
    for path in (*common.glob("*.jsonl"), common / "qrels" / "test.tsv"):
        shutil.copyfile(path, directory / path.relative_to(common))
    return directory


def train(kind: str, folder: Path, output: Path, backbone: Path, *others: str) -> Result:
    words = ("--collection", folder, "--max-steps", 2, "--batch-size", 4, "--train-max-length", 16)
    settings = ("--backbone", backbone, "--precision", "fp32", "--device", "cpu", "--output", output)
    return CliRunner().invoke(main, [kind, *map(str, (*words, *settings)), *others])


@pytest.mark.parametrize("kind", ["bi-encoder", "cross-encoder"])
def test_judgments_for_testing_are_not_trained_on_by_themselves(
    kind: str, folder: Path, tmp_path: Path, tiny_backbone: Callable[[str], Path]
) -> None:
    result = train(kind, folder, tmp_path / "ckpt", tiny_backbone("bert"))
    assert result.exit_code == 2
    (line,) = [line for line in result.output.splitlines() if line.startswith("Error:")]
    assert line == f"Error: {folder} has no split called train; it has test, and --split test trains on that one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d"]


def test_they_are_when_they_are_named_and_that_is_said_and_recorded(
    folder: Path, tmp_path: Path, tiny_backbone: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    result = train("bi-encoder", folder, tmp_path / "ckpt", tiny_backbone("bert"), "--split", "test")
    assert result.exit_code == 0, result.output
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len([message for message in warnings if "for testing" in message]) == 1
    assert read_json(tmp_path / "ckpt" / "retriever.json")["training"]["split"] == "test"
