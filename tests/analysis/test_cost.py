"""Costs of training: what can be counted is checked against formulas, and a method runs in a process of its own."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from iaa_retrieval.analysis import cost_worker
from iaa_retrieval.analysis.cost import MethodCost, cost_table, cost_text, draw_cost, measure_methods
from iaa_retrieval.analysis.training_cost import TrainingCost, measure_training, peak_bytes
from iaa_retrieval.analyze import main
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.training.options import TrainOptions

LAYERS, WIDTH = 3, 32  # of the tiny backbones


def measured(kind: str, backbone: Path, **options: Any) -> TrainingCost:
    given = {"batch_size": 2, "precision": "fp32", "device": "cpu", "document_max_length": 16, "query_max_length": 8}
    asked = TrainOptions.of(kind=kind, collection="", output="", backbone=str(backbone), **given, **options)
    words = " ".join(["word"] * 16)
    return measure_training(asked, [words], [words], warm_up=1, steps=2)[0]


@pytest.mark.parametrize("kind", ("bi-encoder", "cross-encoder"))
def test_parameters_and_optimiser_state_are_those_of_the_formulas(
    kind: str, tiny_backbone: Callable[..., Path]
) -> None:
    cost = measured(kind, tiny_backbone(), method="lora", r=4)
    # LoRA: two matrices at the query and the value projection of every layer.
    matrices = LAYERS * 2 * 2
    assert cost.trainable_parameters["weights"] == matrices * WIDTH * 4
    # A head: the pooler (here trained whole) and the classifier, each with a bias.
    head = (WIDTH * WIDTH + WIDTH) + (WIDTH + 1) if kind == "cross-encoder" else 0
    assert cost.trainable_parameters["heads"] == head
    tensors = matrices + (4 if head else 0)
    # AdamW keeps two fp32 numbers for each parameter, and one for each tensor.
    trained = sum(cost.trainable_parameters.values())
    assert cost.optimizer_bytes == 2 * 4 * trained + 4 * tensors
    assert 4 * trained < cost.checkpoint_bytes < 4 * trained + 8000
    assert len(cost.step_seconds) == 2 and min(cost.step_seconds) > 0
    assert 0 < cost.loaded_bytes <= cost.peak_bytes
    assert (cost.batch_size, cost.precision, cost.dimensions) == (2, "fp32", {"r": 4})


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="no /proc: the peak of a child is its parent's")
def test_the_peak_is_that_of_the_process_and_not_of_its_parent() -> None:
    code = "from iaa_retrieval.analysis.training_cost import peak_bytes; before = peak_bytes('cpu')\n"
    code += "held = bytearray(b'x' * (64 << 20)); print(before, peak_bytes('cpu'))"
    held = bytearray(b"x" * (256 << 20))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert 64 << 20 <= after - before < 192 << 20
    assert before < 128 << 20 < peak_bytes("cpu")
    del held


def cost(method: str, seconds: list[float], peak: int) -> TrainingCost:
    counts = {"weights": 100, "biases": 10, "heads": 0}
    return TrainingCost({"r": 4}, counts, 880, 1 << 20, peak, seconds, 500, 2, "fp32", "cpu")


def test_rounds_are_summed_up_by_their_medians() -> None:
    lora = MethodCost("lora", (cost("lora", [1.0, 9.0], 2 << 20), cost("lora", [2.0], 6 << 20)))
    full = MethodCost("full", (cost("full", [4.0], 8 << 20), cost("full", [5.0, 6.0], 8 << 20)))
    table = cost_table([lora, full])
    row = dict(zip(table.header, table.rows[0], strict=True))
    assert (row["parameters"], row["dimensions"]) == (110, "r=4")
    assert (row["step_seconds"], row["step_seconds_lowest"], row["step_seconds_highest"]) == (2.0, 1.0, 9.0)
    assert (row["peak_bytes"], row["loaded_bytes"], row["steps"]) == (4 << 20, 1 << 20, 3)
    text = cost_text([lora, full], "Measured here.")
    assert "2.000" in text and "1.000-9.000" in text and "Measured here." in text and "(3)" in text
    assert draw_cost([lora, full]) == draw_cost([lora, full])


def test_a_method_is_measured_in_a_process_of_its_own(tiny_backbone: Callable[..., Path], tmp_path: Path) -> None:
    words = ["cost", "--method", "lora", "--backbone", tiny_backbone(), "--batch-size", 2, "--steps", 1]
    words += ["--warm-up", 0, "--tokens", 16, "--query-tokens", 8, "--device", "cpu", "--precision", "fp32"]
    done = CliRunner().invoke(main, [*map(str, words), "--output", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    with open(tmp_path / "out" / "cost.csv", newline="", encoding="utf-8") as stream:
        (row,) = csv.DictReader(stream)
    assert row["method"] == "lora"
    assert int(row["peak_bytes"]) >= int(row["loaded_bytes"]) > 0
    assert (tmp_path / "out" / "cost.txt").read_text() == done.stdout
    assert "a bi-encoder on bert, fp32, batches of 2 queries, texts of 8 (queries) and 16 tokens." in done.stdout

    budget = CliRunner().invoke(main, [*map(str, words), "--budget", "half", "--output", str(tmp_path / "wrong")])
    assert budget.exit_code == 2 and "budget 'half' is not a share" in budget.stderr
    assert not (tmp_path / "wrong").exists()


def test_what_training_refuses_is_said_with_the_method(
    tiny_backbone: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_here(command: list[str], **settings: Any) -> subprocess.CompletedProcess[str]:
        """The worker in this process, where everything is imported already."""
        monkeypatch.setattr(sys, "argv", command[2:])
        with pytest.raises(SystemExit) as end:
            cost_worker.main()
        printed = capsys.readouterr()
        return subprocess.CompletedProcess(command, int(str(end.value.code)), printed.out, printed.err)

    monkeypatch.setattr(subprocess, "run", run_here)
    train = {"kind": "bi-encoder", "method": "lora", "backbone": str(tiny_backbone()), "document_max_length": 4000}
    with pytest.raises(UsageError, match=r"^method lora: --document-max-length 4000 is outside what"):
        measure_methods({"lora": train}, 0, 1, 1, 8)

    killed = subprocess.CompletedProcess([], -9, "", "some words of a library")
    monkeypatch.setattr(subprocess, "run", lambda *words, **settings: killed)
    with pytest.raises(IaaRetrievalError, match=r"^method lora: its process ended with -9$"):
        measure_methods({"lora": train}, 0, 1, 1, 8)
