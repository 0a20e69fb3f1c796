"""Two processes train every method to the weights that one process reaches on the joint batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from distributed_steps import train
from tuning_models import Backbone, close

from iaa_retrieval.tuning.methods import method_names


@pytest.fixture(scope="module")
def by_two(tiny_backbone: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What both processes ended with; they are started once for all methods."""
    output = tmp_path_factory.mktemp("two")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = Path(__file__).with_name("distributed_steps.py")
    finished = subprocess.run(
        [*torchrun, str(script), str(tiny_backbone("bert")), str(output)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(script.parent), *sys.path])},
    )
    assert finished.returncode == 0, finished.stderr
    return output


@pytest.mark.parametrize("method", method_names())
def test_two_processes_reach_what_one_reaches(method: str, by_two: Path, tiny_backbone: Backbone):
    first, second = (torch.load(by_two / f"{method}-{rank}.pt") for rank in (0, 1))
    one = train(method, str(tiny_backbone("bert")), slice(0, 4), distributed=False)
    assert first.keys() == second.keys() == one.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(close(first[name], one[name]) for name in first)
    # A process on its own half would end elsewhere.
    half = train(method, str(tiny_backbone("bert")), slice(0, 2), distributed=False)
    assert not all(close(half[name], one[name]) for name in half)
