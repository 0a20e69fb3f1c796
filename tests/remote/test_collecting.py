"""An adapter that was trained on a rounded backbone is kept for the backbone as it is, and says so."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from checkpoints import TEXTS, trained

from iaa_retrieval.inference.loading import load_for_inference
from iaa_retrieval.inference.text_encoder import encode_passages
from iaa_retrieval.models.retriever_config import read_retriever_config
from iaa_retrieval.remote.collecting import restore_checkpoint
from iaa_retrieval.remote.execution import keep_adapter
from iaa_retrieval.reproduction.checkpoints import checkpoint_size, store_checkpoint

BACKBONE = "all-MiniLM-L6-v2"


def test_it_fits_the_backbone_as_it_is(
    tiny_backbone: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = trained("bi-encoder", "iaa-l", tiny_backbone("bert"))
    shutil.copytree(tiny_backbone("bert"), tmp_path / BACKBONE)  # stands for the model of that name
    monkeypatch.chdir(tmp_path)
    keep_adapter(before.path, tmp_path / "back")
    config = read_retriever_config(tmp_path / "back")
    assert config is not None
    replace(config, backbone="/there/backbone", backbone_fingerprint="0" * 64).save(tmp_path / "back")

    restored = restore_checkpoint(tmp_path / "back", BACKBONE, tmp_path / "restored")
    assert 0 < store_checkpoint(restored, tmp_path / "stored") == checkpoint_size(tmp_path / "stored")
    stored = read_retriever_config(tmp_path / "stored")
    assert stored is not None and stored.backbone == BACKBONE
    assert stored.backbone_fingerprint == config.backbone_fingerprint
    assert stored.training == {**config.training, "backbone_precision": "fp16"}
    encoder = load_for_inference(str(tmp_path / "stored"), kind="bi-encoder", precision="fp32", device="cpu")
    # The adapter's own weights are in fp16.
    np.testing.assert_allclose(encode_passages(encoder, TEXTS), encode_passages(before.model, TEXTS), atol=5e-3)
