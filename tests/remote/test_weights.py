"""A backbone's weights on their way to another machine are its own, rounded to fp16, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.files import files_below
from iaa_retrieval.remote.weights import halve, restore


def test_weights_come_back_rounded(tiny_backbone: Callable[..., Path], tmp_path: Path) -> None:
    source = tiny_backbone("bert")
    halve(source, tmp_path / "there")
    assert not (tmp_path / "there" / "model.safetensors").exists()
    restore(tmp_path / "there")
    before, after = load_file(source / "model.safetensors"), load_file(tmp_path / "there" / "model.safetensors")
    assert after.keys() == before.keys()
    for name, tensor in before.items():
        assert after[name].dtype == torch.float32
        assert torch.equal(after[name], tensor.half().float()), name
    files = [file.name for file in files_below(tmp_path / "there")]
    assert files == [file.name for file in files_below(source)]


def test_whole_numbers_stay_what_they_are(tmp_path: Path) -> None:
    weights = {"positions": torch.arange(70_000).reshape(1, -1), "matrix": torch.randn(3, 5), "one": torch.tensor(0.1)}
    (tmp_path / "source").mkdir()
    save_file(weights, tmp_path / "source" / "model.safetensors")
    halve(tmp_path / "source", tmp_path / "there")
    restore(tmp_path / "there")
    after = load_file(tmp_path / "there" / "model.safetensors")
    assert torch.equal(after["positions"], weights["positions"])
    assert after["one"].shape == () and abs(after["one"].item() - 0.1) < 2**-14


def test_what_cannot_be_halved(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    with pytest.raises(IaaRetrievalError, match=r"holds no model\.safetensors"):
        halve(tmp_path / "source", tmp_path / "there")
    save_file({"large": torch.tensor([1.0, 70_000.0])}, tmp_path / "source" / "model.safetensors")
    with pytest.raises(IaaRetrievalError, match="large has weights that fp16 cannot hold"):
        halve(tmp_path / "source", tmp_path / "elsewhere")
