"""What is loaded is what was trained: by our loaders, by PEFT and by transformers alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import TEXTS, trained
from safetensors.torch import load_file, save_file

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.inference.pair_scorer import score_pairs
from iaa_retrieval.inference.text_encoder import encode_passages
from iaa_retrieval.models.bi_encoder import load_bi_encoder
from iaa_retrieval.models.cross_encoder import load_cross_encoder
from iaa_retrieval.models.new_retriever import new_cross_encoder
from iaa_retrieval.models.retriever_config import read_retriever_config, require_same_encoder

Backbone = Callable[[str], Path]
METHODS = ("full", "bitfit", "prefix", "adapter", "mam", "lora", "iaa-s", "iaa-l", "iaa-m")
PAIRS = [("water in the world", text) for text in TEXTS] + [("", "hand")]


@pytest.mark.parametrize("method", METHODS)
def test_a_bi_encoder_comes_back_as_it_was_trained(method: str, tiny_backbone: Backbone):
    checkpoint = trained("bi-encoder", method, tiny_backbone("bert"))
    loaded = load_bi_encoder(str(checkpoint.path), precision="fp32", device="cpu")
    vectors = encode_passages(loaded, TEXTS)
    np.testing.assert_allclose(vectors, encode_passages(checkpoint.model, TEXTS), atol=1e-6)
    untuned = load_bi_encoder(str(tiny_backbone("bert")), pooling="mean", normalize=True, precision="fp32")
    assert np.abs(vectors - encode_passages(untuned, TEXTS)).max() > 1e-3  # training did change it
    assert loaded.config.method == method


@pytest.mark.parametrize("method", METHODS)
def test_a_cross_encoder_comes_back_as_it_was_trained(method: str, tiny_backbone: Backbone):
    checkpoint = trained("cross-encoder", method, tiny_backbone("bert"))
    loaded = load_cross_encoder(str(checkpoint.path), precision="fp32", device="cpu")
    scores = score_pairs(loaded, PAIRS)
    np.testing.assert_allclose(scores, score_pairs(checkpoint.model, PAIRS), atol=1e-5)
    assert len(set(scores.round(5))) > 1
    heads = {
        name: value
        for name, value in loaded.classifier.state_dict().items()
        if ("pooler" in name or "classifier" in name) and "original_module" not in name
    }
    trained_heads = checkpoint.model.classifier.state_dict()
    assert any("pooler" in name for name in heads) and any("classifier" in name for name in heads)
    assert all(torch.equal(value, trained_heads[name]) for name, value in heads.items())


@pytest.mark.parametrize("model_type", ("distilbert", "roberta", "modernbert"))
@pytest.mark.parametrize("kind", ("bi-encoder", "cross-encoder"))
def test_other_backbones_come_back_too(kind: str, model_type: str, tiny_backbone: Backbone):
    checkpoint = trained(kind, "iaa-l", tiny_backbone(model_type))
    if kind == "bi-encoder":
        ours: Any = encode_passages(load_bi_encoder(str(checkpoint.path), precision="fp32"), TEXTS)
        expected = encode_passages(checkpoint.model, TEXTS)
    else:
        ours = score_pairs(load_cross_encoder(str(checkpoint.path), precision="fp32"), PAIRS)
        expected = score_pairs(checkpoint.model, PAIRS)
    np.testing.assert_allclose(ours, expected, atol=1e-5)


PLAIN = """
import sys
import iaa_retrieval
import torch
from transformers import {auto}
directory, backbone, numbers = sys.argv[1:]
ids = torch.tensor([[int(number) for number in numbers.split(",")]])
straight = {auto}.from_pretrained(directory{labels})
from peft import PeftModel
wrapped = PeftModel.from_pretrained({auto}.from_pretrained(backbone{labels}), directory)
for model in (straight, wrapped):
    with torch.no_grad():
        output = model.eval()(input_ids=ids)[0]
    print("RESULT", *output.flatten().tolist())
"""


@pytest.mark.parametrize("kind", ("bi-encoder", "cross-encoder"))
def test_stock_libraries_load_a_checkpoint_in_a_fresh_process(kind: str, tiny_backbone: Backbone):
    checkpoint = trained(kind, "iaa-l", tiny_backbone("bert"))
    tokens = [2, 5, 9, 30, 31, 3]
    bi_encoder = kind == "bi-encoder"
    network = checkpoint.model.encoder if bi_encoder else checkpoint.model.classifier
    with torch.no_grad():
        expected = network(input_ids=torch.tensor([tokens]))[0].flatten().numpy()
    auto, labels = ("AutoModel", "") if bi_encoder else ("AutoModelForSequenceClassification", ", num_labels=1")
    script = [sys.executable, "-c", PLAIN.format(auto=auto, labels=labels)]
    arguments = [str(checkpoint.path), str(tiny_backbone("bert")), ",".join(map(str, tokens))]
    done = subprocess.run([*script, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    outputs = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("RESULT")]
    assert len(outputs) == 2
    for output in outputs:
        np.testing.assert_allclose(np.array(output, dtype=np.float32), expected, atol=1e-5)


# What does not fit together is refused.


@pytest.fixture
def copies(tiny_backbone: Backbone, tmp_path: Path) -> Callable[[str, str], Path]:
    def copy(kind: str, method: str = "iaa-l") -> Path:
        return Path(shutil.copytree(trained(kind, method, tiny_backbone("bert")).path, tmp_path / f"{kind}-{method}"))

    return copy


LOADERS = {"bi-encoder": load_bi_encoder, "cross-encoder": load_cross_encoder}
OTHER = {"bi-encoder": "cross-encoder", "cross-encoder": "bi-encoder"}


def refusal(kind: str, path: Path) -> str:
    with pytest.raises(IaaRetrievalError) as error:
        LOADERS[kind](str(path))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("kind", LOADERS)
def test_a_checkpoint_of_the_other_kind_is_refused(kind: str, copies: Callable[..., Path]):
    path = copies(OTHER[kind])
    assert refusal(kind, path) == f"{path} is a {OTHER[kind]}; a {kind} is needed here"


def test_a_plain_directory_is_no_cross_encoder(tiny_backbone: Backbone):
    assert "has no retriever.json" in refusal("cross-encoder", tiny_backbone("bert"))


@pytest.mark.parametrize("kind", LOADERS)
@pytest.mark.parametrize("method", ("iaa-l", "full"))
def test_changed_weights_are_refused(kind: str, method: str, copies: Callable[..., Path]):
    path = copies(kind, method)
    file = path / ("model.safetensors" if method == "full" else "adapter_model.safetensors")
    weights = load_file(file)
    name = next(iter(weights))
    weights[name].view(-1)[0] += 1e-3
    save_file(weights, file, metadata={"format": "pt"})
    assert f"{path}: its weights are not those that retriever.json describes" in refusal(kind, path)


@pytest.mark.parametrize("kind", LOADERS)
def test_damaged_and_missing_weights_are_refused(kind: str, copies: Callable[..., Path]):
    path = copies(kind)
    file = path / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    assert f"{path}: its weights" in refusal(kind, path)
    file.unlink()
    assert "is not a complete checkpoint" in refusal(kind, path)


@pytest.mark.parametrize("kind", LOADERS)
def test_a_changed_tokenizer_is_refused(kind: str, copies: Callable[..., Path]):
    path = copies(kind)
    tokenizer = json.loads((path / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["water"], vocabulary["land"] = vocabulary["land"], vocabulary["water"]
    (path / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert f"{path}: its tokenizer is not the one it was trained with" in refusal(kind, path)


@pytest.mark.parametrize("kind", LOADERS)
def test_a_backbone_with_other_weights_is_refused_and_both_sides_named(
    kind: str, copies: Callable[..., Path], tiny_backbone: Backbone, tmp_path: Path
):
    path, moved = copies(kind), tmp_path / "moved"
    shutil.copytree(tiny_backbone("bert"), moved)
    config = read_retriever_config(path)
    assert config is not None
    replace(config, backbone=str(moved)).save(path)
    LOADERS[kind](str(path))  # the same weights at another place are fine
    weights = load_file(moved / "model.safetensors")
    weights["encoder.layer.0.output.dense.bias"] += 0.1
    save_file(weights, moved / "model.safetensors", metadata={"format": "pt"})
    message = refusal(kind, path)
    found = load_bi_encoder(str(moved)).config.backbone_fingerprint
    for part in (path, moved, config.backbone_fingerprint[:12], found[:12]):
        assert str(part) in message


def test_settings_that_contradict_a_checkpoint_are_a_usage_error(copies: Callable[..., Path]):
    path = str(copies("bi-encoder"))
    contradictions: list[dict[str, Any]] = [
        {"pooling": "cls"},
        {"normalize": False},
        {"query_prefix": "find"},
        {"document_prefix": "read"},
    ]
    for contradiction in contradictions:
        with pytest.raises(UsageError, match=f"contradicts checkpoint {path}"):
            load_bi_encoder(path, **contradiction)
    same = load_bi_encoder(path, pooling="mean", normalize=True, query_prefix="", document_prefix="")
    assert same.config.pooling == "mean"


def test_a_changed_retriever_json_is_refused(copies: Callable[..., Path]):
    path = copies("bi-encoder")
    values = json.loads((path / "retriever.json").read_text())
    (path / "retriever.json").write_text(json.dumps({**values, "pooling": "cls"}))
    assert str(path) in refusal("bi-encoder", path)
    (path / "retriever.json").write_text(json.dumps({**values, "colour": "red"}))
    assert "(unknown: colour)" in refusal("bi-encoder", path)
    (path / "retriever.json").write_text("{")
    assert "retriever.json is not valid JSON" in refusal("bi-encoder", path)


@pytest.mark.parametrize("length", (2, 15, 131, 5000))
def test_a_pair_length_that_cannot_be_is_a_usage_error(length: int, tiny_backbone: Backbone):
    path = trained("cross-encoder", "iaa-l", tiny_backbone("bert")).path
    with pytest.raises(UsageError, match=f"pair length {length} is outside what .* takes: 16 to 130 tokens"):
        load_cross_encoder(str(path), max_length=length)


@pytest.mark.parametrize("model_type", ("bert", "roberta", "distilbert"))
def test_the_shortest_and_longest_pair_can_be_scored(model_type: str, tiny_backbone: Backbone):
    path = trained("cross-encoder", "iaa-l", tiny_backbone(model_type)).path
    for length in (16, 128):
        model = load_cross_encoder(str(path), max_length=length, precision="fp32")
        assert np.isfinite(score_pairs(model, [("water " * 100, "land " * 200), ("a", "b")])).all()


def test_a_new_cross_encoder_has_one_output(tiny_backbone: Backbone):
    model = new_cross_encoder(str(tiny_backbone("bert")))
    assert model.classifier.config.num_labels == 1
    assert model.config.document_max_length == 130


def test_the_same_encoder_is_needed_on_both_sides():
    require_same_encoder("index", "a" * 64, "queries", "a" * 64)
    require_same_encoder("index", "", "queries", "a" * 64)
    with pytest.raises(IaaRetrievalError) as error:
        require_same_encoder("runs/index", "a" * 64, "runs/queries", "b" * 64)
    for part in ("runs/index (encoder aaaaaaaaaaaa)", "runs/queries (encoder bbbbbbbbbbbb)"):
        assert part in str(error.value)
