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

# Every method on BERT; on a decoder, and where the aside of the stack has a layer for its end, those that differ there.
TRAINED = [("bert", method) for method in method_names()]
TRAINED += [("gemma3_text", method) for method in ("full", "mam", "lora", "iaa-s", "iaa-m")]
TRAINED += [("nomic_bert", "iaa-m")]


@pytest.fixture(scope="module")
def by_two(tiny_backbone: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What both processes ended with; they are started once for everything."""
    output = tmp_path_factory.mktemp("two")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = Path(__file__).with_name("distributed_steps.py")
    jobs = [
        ",".join([str(tiny_backbone(backbone)), *(method for other, method in TRAINED if other == backbone)])
        for backbone in dict(TRAINED)
    ]
    finished = subprocess.run(
        [*torchrun, str(script), str(output), *jobs],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(script.parent), *sys.path])},
    )
    assert finished.returncode == 0, finished.stderr
    return output


@pytest.mark.parametrize(("backbone", "method"), TRAINED)
def test_two_processes_reach_what_one_reaches(backbone: str, method: str, by_two: Path, tiny_backbone: Backbone):
    directory = tiny_backbone(backbone)
    first, second = (torch.load(by_two / f"{directory.name}-{method}-{rank}.pt") for rank in (0, 1))
    one = train(method, str(directory), slice(0, 4), distributed=False)
    assert first.keys() == second.keys() == one.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(close(first[name], one[name]) for name in first)
    # A process on its own half would end elsewhere.
    half = train(method, str(directory), slice(0, 2), distributed=False)
    assert not all(close(half[name], one[name]) for name in half)
