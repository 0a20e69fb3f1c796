"""Two processes with in-batch negatives across both take the step that one takes on the joint batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from test_chunks import loss_and_gradients, objective

STEPS = Path(__file__).with_name("across_processes_steps.py")


@pytest.mark.parametrize("cached", ["cached", "whole"])
def test_gradients_of_two_processes_are_those_of_one(
    cached: str, tiny_backbone: Callable[[str], Path], tmp_path: Path
) -> None:
    backbone = str(tiny_backbone("bert"))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    finished = subprocess.run(
        [*torchrun, STEPS, backbone, tmp_path, cached],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert finished.returncode == 0, finished.stderr
    made, batch = objective("bi-encoder", backbone, None)
    made.distillation = None
    loss, expected = loss_and_gradients(made.eval(), batch)
    for rank in (0, 1):
        assert json.loads((tmp_path / f"loss-{rank}.json").read_text()) == pytest.approx(loss, rel=1e-5)
        gradients = torch.load(tmp_path / f"gradients-{rank}.pt")
        assert gradients.keys() == {f"module.{name}" for name in expected}
        for name, gradient in expected.items():
            torch.testing.assert_close(gradients[f"module.{name}"], gradient, rtol=1e-3, atol=1e-5)
