"""A self-contained directory is moved away from everything it was made of, and still is the trained model."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import TEXTS, trained
from exports import changed_copy, resaved, separate_checkpoint, train
from safetensors.torch import load_file, save_file

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.inference.pair_scorer import score_pairs
from iaa_retrieval.inference.text_encoder import encode_passages, encode_queries
from iaa_retrieval.jobs.export import ExportOptions, export
from iaa_retrieval.models.bi_encoder import load_bi_encoder
from iaa_retrieval.models.cross_encoder import load_cross_encoder

Backbone = Callable[[str], Path]
METHODS = ("full", "bitfit", "prefix", "lora", "iaa-s", "iaa-l")
PAIRS = [("water in the world", text) for text in TEXTS]
TOKENS = [2, 5, 9, 30, 31, 3]
LOADERS: dict[str, Callable[..., Any]] = {"bi-encoder": load_bi_encoder, "cross-encoder": load_cross_encoder}


def alone(kind: str, method: str, backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Any]:
    """Export with a backbone of its own, then delete backbone and checkpoint, and move the export and ourselves."""
    done = trained(kind, method, backbone)
    own = shutil.copytree(backbone, tmp_path / "own-backbone")
    checkpoint = changed_copy(done.path, tmp_path / "checkpoint", backbone=str(own))
    export(ExportOptions(str(checkpoint), "self-contained", str(tmp_path / "exported")))
    shutil.rmtree(own)
    shutil.rmtree(checkpoint)
    elsewhere = tmp_path / "another" / "place"
    elsewhere.parent.mkdir()
    os.rename(tmp_path / "exported", elsewhere)
    monkeypatch.chdir(tmp_path)
    return elsewhere, done.model


def network_of(model: Any) -> Any:
    return model.encoder if model.config.kind == "bi-encoder" else model.classifier


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", LOADERS)
def test_a_moved_export_is_the_trained_model(
    kind: str, method: str, tiny_backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path, model = alone(kind, method, tiny_backbone("bert"), tmp_path, monkeypatch)
    loaded = LOADERS[kind](str(path), precision="fp32", device="cpu")
    run, inputs = (encode_passages, TEXTS) if kind == "bi-encoder" else (score_pairs, PAIRS)
    np.testing.assert_allclose(run(loaded, inputs), run(model, inputs), atol=1e-6)  # type: ignore[operator]
    written = json.loads((path / "retriever.json").read_text())
    assert loaded.config.fingerprint == written["fingerprint"]
    assert (written["backbone"] == "./backbone") == (method != "full")
    for file in ("adapter_config.json", "config.json", "README.md", "model.safetensors.index.json"):
        assert method == "full" or str(tmp_path) not in (path / file).read_text()


def test_its_fingerprint_is_that_of_the_checkpoint(exported: Callable[..., Any], tiny_backbone: Backbone):
    checkpoint = trained("bi-encoder", "iaa-l", tiny_backbone("bert"))
    path, _, _ = exported("self-contained", "bi-encoder", "iaa-l")
    # So an index that the checkpoint made can be searched with the export.
    assert load_bi_encoder(str(path)).fingerprint == load_bi_encoder(str(checkpoint.path)).fingerprint


@pytest.mark.parametrize("model_type", ("distilbert", "roberta", "modernbert", "mpnet"))
@pytest.mark.parametrize("kind", LOADERS)
def test_peft_and_transformers_load_it(
    kind: str, model_type: str, tiny_backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from peft import PeftModel
    from transformers import AutoModel, AutoModelForSequenceClassification

    path, model = alone(kind, "iaa-l", tiny_backbone(model_type), tmp_path, monkeypatch)
    auto = AutoModel if kind == "bi-encoder" else AutoModelForSequenceClassification
    labels = {} if kind == "bi-encoder" else {"num_labels": 1}
    wrapped = PeftModel.from_pretrained(auto.from_pretrained(path / "backbone", **labels), path)
    straight = auto.from_pretrained(path)
    ids = torch.tensor([TOKENS])
    with torch.no_grad():
        expected = network_of(model)(input_ids=ids)[0]
        for network in (wrapped, straight):
            torch.testing.assert_close(network.eval()(input_ids=ids)[0], expected, atol=1e-5, rtol=0)


def test_a_changed_backbone_inside_is_refused(exported: Callable[..., Any]):
    path, _, _ = exported("self-contained", "bi-encoder", "iaa-l")
    file = path / "backbone" / "model.safetensors"
    weights = load_file(file)
    weights["encoder.layer.0.output.dense.bias"] += 0.1
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(IaaRetrievalError, match=f"{path}/backbone here has weights"):
        load_bi_encoder(str(path))


def test_an_export_can_be_exported(exported: Callable[..., Any], tmp_path: Path):
    path, model, _ = exported("self-contained", "bi-encoder", "mam")
    again = tmp_path / "again"
    export(ExportOptions(str(path), "self-contained", str(again)))
    shutil.rmtree(path)
    found = encode_passages(load_bi_encoder(str(again), precision="fp32"), TEXTS)
    np.testing.assert_allclose(found, encode_passages(model, TEXTS), atol=1e-6)


def test_separate_encoders_travel_with_one_backbone(
    tiny_backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    checkpoint, queries, passages = separate_checkpoint(tiny_backbone("bert"), tmp_path / "checkpoint")
    own = shutil.copytree(tiny_backbone("bert"), tmp_path / "own-backbone")
    resaved(checkpoint, backbone=str(own))
    export(ExportOptions(str(checkpoint), "self-contained", str(tmp_path / "exported")))
    shutil.rmtree(own)
    shutil.rmtree(checkpoint)
    path = Path(shutil.move(tmp_path / "exported", tmp_path / "moved"))
    monkeypatch.chdir(tmp_path)
    loaded = load_bi_encoder(str(path), precision="fp32", device="cpu")
    np.testing.assert_allclose(encode_queries(loaded, TEXTS), encode_queries(queries, TEXTS), atol=1e-6)
    np.testing.assert_allclose(encode_passages(loaded, TEXTS), encode_passages(passages, TEXTS), atol=1e-6)


def test_what_transformers_would_load_wrong_has_no_way_in_for_it(tiny_backbone: Backbone, tmp_path: Path):
    """AutoModel leaves DoRA's magnitudes at their start without a word, so it must not find a whole model."""
    checkpoint, output = tmp_path / "checkpoint", tmp_path / "out"
    train(checkpoint, str(tiny_backbone("bert")), peft_config={"peft_type": "LORA", "use_dora": True, "r": 4})
    export(ExportOptions(str(checkpoint), "self-contained", str(output)))
    assert not (output / "config.json").exists() and not (output / "model.safetensors.index.json").exists()
    assert "adapter included" not in (output / "README.md").read_text()
    found, right = (load_bi_encoder(str(path), precision="fp32", device="cpu") for path in (output, checkpoint))
    np.testing.assert_allclose(encode_passages(found, TEXTS), encode_passages(right, TEXTS), atol=1e-6)


def test_an_untuned_encoder_is_self_contained_already(tiny_backbone: Backbone, tmp_path: Path):
    with pytest.raises(UsageError, match="self-contained already"):
        export(ExportOptions(str(tiny_backbone("bert")), "self-contained", str(tmp_path / "out")))
