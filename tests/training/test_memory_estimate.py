"""The estimate of a training run's memory: against counts by hand, whole batches, and a process that was measured."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import write_collection
from torch import nn

from iaa_retrieval.training import memory_report
from iaa_retrieval.training.kinds import TRAINING_KINDS
from iaa_retrieval.training.live_memory import LiveBytes, bytes_of_pass
from iaa_retrieval.training.memory_estimate import Chunk, Growth, MemoryEstimator, _pass
from iaa_retrieval.training.options import TrainOptions
from iaa_retrieval.training.run import train_retriever
from iaa_retrieval.training.tuned_model import new_tuned_model

GIB = 2**30


def test_live_bytes_are_those_of_tensors_that_are_held() -> None:
    given = torch.ones(1000)
    with LiveBytes([given]) as live:
        held = given * 2
        view = held[:10]
        assert live.now == 4000
        del held  # the view holds its memory
        assert live.now == 4000
        more = view + 1
        del view
        assert (live.now, live.peak) == (40, 4040)
        del more
    assert live.now == 0


def test_what_a_pass_keeps_by_hand() -> None:
    """W2 relu(W1 x): relu keeps its result, which is W2's input; with W1 frozen x is not kept. fp32."""
    module = nn.Sequential(nn.Linear(8, 100, bias=False), nn.ReLU(), nn.Linear(100, 4, bias=False))
    module[0].requires_grad_(False)
    x = torch.randn(50, 8)
    state = torch.get_rng_state()
    kept, peak = bytes_of_pass(module, lambda: module(x))
    hidden, result = 50 * 100 * 4, 50 * 4 * 4
    assert kept == hidden + result
    assert 2 * hidden <= peak <= 3 * hidden + 2 * result  # with its gradient, and that of the sum before relu
    assert all(parameter.grad is None for parameter in module.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_growth_goes_through_what_was_measured() -> None:
    def bytes_of(texts: int, tokens: int) -> float:
        return 700 + 5 * tokens + texts * (30 * tokens + 2 * tokens**2)

    found = Growth.through(64, bytes_of(1, 64), bytes_of(2, 64), bytes_of(1, 32), bytes_of(2, 32))
    assert (found.fixed, found.shared, found.linear, found.square) == pytest.approx((700, 5, 30, 2))


@pytest.mark.parametrize(
    ("kind", "backbone", "method"),
    (
        ("bi-encoder", "bert", "iaa-l"),
        ("bi-encoder", "bert", "full"),
        ("cross-encoder", "modernbert", "lora"),
    ),
)
@pytest.mark.parametrize("checkpointing", (False, True))
def test_two_texts_say_what_many_need(
    kind: str, backbone: str, method: str, checkpointing: bool, tiny_backbone: Callable[[str], Path]
) -> None:
    """A pass over 40 texts of 48 tokens, extended from texts of 96 and 48, against the pass itself."""
    options = TrainOptions.of(
        kind=kind,
        collection="c",
        output="o",
        backbone=str(tiny_backbone(backbone)),
        method=method,
        gradient_checkpointing=checkpointing,
        **({} if method == "full" else {"budget": "20%"}),
    )
    training = TRAINING_KINDS[kind]
    model = new_tuned_model(training, options.tuning, options.text, "cpu", "fp32", options.memory).model
    masks = [torch.ones((1, 96), dtype=torch.long)]
    estimator = MemoryEstimator(model, masks, "fp32")
    long = estimator._kept.at, estimator._beside.at
    model.train()
    kept, peak = bytes_of_pass(model, _pass(model, 40, 48, "fp32"))
    chunk = Chunk(40, 48)
    assert long[0](chunk) == pytest.approx(kept, rel=0.1)
    assert long[0](chunk) + long[1](chunk) == pytest.approx(peak, rel=0.15)
    # Chunks of one text each, one at a time, need less than all at once, and the parts add up.
    texts = [torch.ones((40, 48), dtype=torch.long)]
    at_once, cached = (MemoryEstimator(model, texts, "fp32").estimate(size) for size in (None, 1))
    assert cached.activations < at_once.activations
    assert at_once.weights == sum(p.nbytes for p in model.parameters()) + sum(b.nbytes for b in model.buffers())
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert (at_once.gradients, at_once.state) == (4 * trained, 8 * trained)


def run(folder: Path, backbone: Path, **values: Any) -> None:
    train_retriever(
        TrainOptions.of(
            kind="bi-encoder",
            collection=str(folder / "collection"),
            output=str(folder / "checkpoint"),
            backbone=str(backbone),
            r=2,
            ar=2,
            max_steps=1,
            batch_size=3,
            precision="fp32",
            device="cpu",
            overwrite=True,
            **values,
        )
    )


def test_a_run_says_what_it_needs_and_what_to_do(
    tiny_backbone: Callable[[str], Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_collection(tmp_path / "collection")
    monkeypatch.setattr(memory_report, "free_bytes", lambda devices: 20 * GIB)
    with caplog.at_level(logging.INFO, "iaa_retrieval"):
        run(tmp_path, tiny_backbone("bert"))
        assert re.search(r"training needs about [56]\d MiB of memory, of 20\.0 GiB free", caplog.text)
        caplog.clear()
        monkeypatch.setattr(memory_report, "free_bytes", lambda devices: 0)
        run(tmp_path, tiny_backbone("bert"))
    (line,) = [record for record in caplog.records if "training needs" in record.message]
    assert line.levelname == "WARNING"
    assert "and 0 MiB are free; use --grad-cache 1 or --gradient-checkpointing" in line.message
    given_back: list[bool] = []
    monkeypatch.setattr(memory_report, "give_back_freed_memory", lambda: given_back.append(True))
    monkeypatch.setattr(
        memory_report, "held_too", lambda wanted: GIB
    )  # enough for what is needed, not for what is kept
    monkeypatch.setattr(memory_report, "free_bytes", lambda devices: GIB // 2)
    with caplog.at_level(logging.INFO, "iaa_retrieval"):
        run(tmp_path, tiny_backbone("bert"))
    assert given_back and re.search(r"about 5\d MiB of memory, of 5\d\d MiB free; what a step frees", caplog.text)
    monkeypatch.setattr(memory_report, "MemoryEstimator", lambda *_: (_ for _ in ()).throw(RuntimeError("out of\nit")))
    run(tmp_path, tiny_backbone("bert"))
    assert "how much memory training needs cannot be found out: out of it" in caplog.text


MEASURE = """
import json, sys
from iaa_retrieval.analysis.training_cost import measure_training
from iaa_retrieval.training.memory_estimate import MemoryEstimator
from iaa_retrieval.training.options import TrainOptions
import torch
options = TrainOptions.of(kind="bi-encoder", collection="c", output="o", method="iaa-l", batch_size=16,
    negatives_per_query=0, train_max_length=64, precision="fp32", device="cpu")
cost, tuned = measure_training(options, ["water"], ["the water of the land " * 40], 0, 1)
masks = [torch.ones((16, length), dtype=torch.long) for length in (16, 64)]
wanted = MemoryEstimator(tuned.model, masks, "fp32").estimate(None)
print(json.dumps([cost.peak_bytes - cost.loaded_bytes, wanted.total - wanted.weights - wanted.other]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="no /proc to measure resident memory by")
def test_the_estimate_is_what_a_process_takes() -> None:
    """MiniLM, IAA-L, 16 passages of 64 tokens; an allocator that keeps nothing, so that what is taken is needed."""
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "1048576", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", MEASURE], env=environment, capture_output=True, text=True, check=True)
    measured, estimated = json.loads(done.stdout.splitlines()[-1])
    assert estimated == pytest.approx(measured, rel=0.25)
    assert measured > 100 * 2**20
