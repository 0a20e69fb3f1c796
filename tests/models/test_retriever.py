"""What both kinds of retriever have in common, through the same assertions."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import TEXTS, Trained, trained
from peft import PeftModel
from torch import nn
from transformers import AutoModel, AutoModelForSequenceClassification, BertModel

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.inference.cpu_kernels import packing_pays
from iaa_retrieval.inference.loading import load_for_inference
from iaa_retrieval.inference.pair_scorer import score_pairs
from iaa_retrieval.inference.text_encoder import encode_passages
from iaa_retrieval.models.bi_encoder import BiEncoder, load_bi_encoder
from iaa_retrieval.models.cross_encoder import CrossEncoder, load_cross_encoder
from iaa_retrieval.models.kinds import RETRIEVERS, fingerprint_of, load_retriever, retriever_class
from iaa_retrieval.models.new_retriever import new_bi_encoder, new_cross_encoder
from iaa_retrieval.models.retriever import Retriever

Backbone = Callable[[str], Path]
KINDS = ("bi-encoder", "cross-encoder")
PAIRS = [("water in the world", text) for text in TEXTS]


@pytest.fixture(params=KINDS)
def checkpoint(request: pytest.FixtureRequest, tiny_backbone: Backbone) -> Iterator[Trained]:
    yield trained(request.param, "iaa-l", tiny_backbone("bert"))


def results(model: Retriever) -> np.ndarray:
    return score_pairs(model, PAIRS) if isinstance(model, CrossEncoder) else encode_passages(model, TEXTS)  # type: ignore[arg-type]


def recorded(checkpoint: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((checkpoint / "retriever.json").read_text())
    return values


def new_retriever(kind: str, backbone: Path) -> Retriever:
    if kind == "cross-encoder":
        return new_cross_encoder(str(backbone)).eval()
    return new_bi_encoder(str(backbone), precision="fp32", device="cpu")


def test_a_checkpoint_is_loaded_by_its_kind(checkpoint: Trained):
    loaded = load_retriever(str(checkpoint.path), precision="fp32", device="cpu")
    kind = recorded(checkpoint.path)["kind"]
    assert type(loaded) is {"bi-encoder": BiEncoder, "cross-encoder": CrossEncoder}[kind]
    assert loaded.kind == loaded.config.kind == kind
    assert loaded.source == str(checkpoint.path)
    assert not loaded.training
    np.testing.assert_allclose(results(loaded), results(checkpoint.model), atol=1e-5)
    same = load_retriever(str(checkpoint.path), kind=kind, precision="fp32", device="cpu", query_max_length=9)
    assert same.config.query_max_length == 9


def test_what_a_loaded_retriever_says_of_itself(checkpoint: Trained):
    loaded = load_retriever(str(checkpoint.path), precision="bf16", device="cpu")
    assert loaded.device == torch.device("cpu")
    assert loaded.dtype == torch.bfloat16
    assert loaded.width == 32
    assert loaded.position_limit == 130
    assert loaded.fingerprint == recorded(checkpoint.path)["fingerprint"]
    assert len(loaded.networks) == 1
    assert loaded.network is loaded.networks[0]
    assert isinstance(loaded.network, PeftModel)
    assert isinstance(loaded.backbone, BertModel)
    assert any(module is loaded.backbone for module in loaded.network.modules())
    assert loaded.max_length == 64
    assert loaded.query_limit == 32


def test_a_network_is_fed_what_it_says(tiny_backbone: Backbone):
    texts = ("input_ids", "attention_mask")
    segments = (*texts, "token_type_ids")
    expected = {
        ("bi-encoder", "bert"): texts,
        ("bi-encoder", "distilbert"): texts,
        ("cross-encoder", "bert"): segments,
        ("cross-encoder", "distilbert"): texts,
    }
    found = {key: new_retriever(key[0], tiny_backbone(key[1])).input_names for key in expected}
    assert found == expected


def test_outputs_are_those_of_a_call(checkpoint: Trained):
    loaded = load_retriever(str(checkpoint.path), precision="fp32", device="cpu")
    ids = torch.arange(5, 17).reshape(2, 6)
    values = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    inputs = {name: values[name] for name in loaded.input_names}
    with torch.inference_mode():
        outputs = loaded.outputs(inputs)
        assert [output.tolist() for output in outputs] == [loaded(**inputs).tolist()]
    assert outputs[0].dtype == torch.float32
    assert outputs[0].shape == ((2,) if loaded.reads_pairs else (2, 32))


def test_other_settings_on_the_same_networks(checkpoint: Trained):
    loaded = load_retriever(str(checkpoint.path), precision="fp32", device="cpu")
    changed = loaded.with_config(query_max_length=5, document_max_length=40)
    assert type(changed) is type(loaded)
    assert changed.networks == loaded.networks
    assert changed.tokenizer is loaded.tokenizer
    assert (changed.query_limit, changed.max_length) == (5, 40)
    assert (loaded.query_limit, loaded.max_length) == (32, 64)


def test_other_lengths_are_what_loading_with_them_gives(checkpoint: Trained):
    path = str(checkpoint.path)
    loaded = load_retriever(path, precision="fp32", device="cpu")
    name = "max_length" if loaded.reads_pairs else "document_max_length"
    asked = load_retriever(path, precision="fp32", device="cpu", query_max_length=5, **{name: 20})
    changed = loaded.with_lengths(query=5, document=20)
    assert changed.config == asked.config and changed.networks == loaded.networks
    assert changed.with_lengths(document=40).config.query_max_length == 5
    assert loaded.with_lengths() is loaded
    for too_much in ({"query": 131}, {"document": 131}, {"query": 0}, {"document": 2}):
        with pytest.raises(UsageError, match=rf"length {next(iter(too_much.values()))} is outside what"):
            loaded.with_lengths(**too_much)


def test_half_of_a_pair_is_the_most_of_a_query(tiny_backbone: Backbone):
    for kind, limit, longest in (("bi-encoder", 50, 50), ("cross-encoder", 20, 40)):
        model = new_retriever(kind, tiny_backbone("bert")).with_config(query_max_length=50, document_max_length=40)
        assert (model.query_limit, model.max_length) == (limit, longest)


@pytest.mark.parametrize("kind", KINDS)
def test_networks_are_replaced_in_their_places(kind: str, tiny_backbone: Backbone):
    model = new_retriever(kind, tiny_backbone("bert"))
    other = new_retriever(kind, tiny_backbone("bert")).network
    with torch.no_grad():
        next(other.parameters()).mul_(0.5)
    before = results(model)
    names = [name for name, _ in model.named_parameters()]
    model.set_networks(other)
    assert model.network is other
    assert [name for name, _ in model.named_parameters()] == names  # nothing is left of the former network
    assert np.abs(results(model) - before).max() > 1e-4
    with pytest.raises(ValueError, match=rf"a {kind} has "):
        model.set_networks(other, other, other)


def test_only_a_bi_encoder_has_a_second_network(tiny_backbone: Backbone):
    model = new_retriever("bi-encoder", tiny_backbone("bert"))
    queries, passages = nn.Linear(1, 1), nn.Linear(1, 1)
    model.set_networks(queries, passages)
    assert isinstance(model, BiEncoder)
    assert model.networks == (queries, passages) == (model.encoder, model.passage_encoder)
    assert model.with_config(pooling="cls").networks == (queries, passages)
    model.set_networks(queries)
    assert model.networks == (queries,)
    with pytest.raises(ValueError, match="a cross-encoder has one network, not 2"):
        new_retriever("cross-encoder", tiny_backbone("bert")).set_networks(queries, passages)


@pytest.mark.parametrize("kind", KINDS)
def test_the_backbone_of_a_bare_network_is_its_encoder(kind: str, tiny_backbone: Backbone):
    model = new_retriever(kind, tiny_backbone("bert"))
    assert isinstance(model.backbone, BertModel)
    assert (model.backbone is model.network) == (not model.has_task_head)


def test_the_classes_that_load_each_kind():
    assert list(RETRIEVERS) == list(KINDS)
    assert retriever_class("bi-encoder") is BiEncoder
    assert retriever_class("cross-encoder") is CrossEncoder
    assert BiEncoder.auto_class() is AutoModel
    assert CrossEncoder.auto_class() is AutoModelForSequenceClassification
    with pytest.raises(
        IaaRetrievalError, match="unknown kind of retriever 'late-interaction'; one of bi-encoder, cross-encoder"
    ):
        retriever_class("late-interaction")


def sha256(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def test_fingerprints_are_hashes_of_the_documented_parts(checkpoint: Trained):
    values = recorded(checkpoint.path)
    weights = hashlib.sha256((checkpoint.path / "adapter_model.safetensors").read_bytes()).hexdigest()
    settings = {"bi-encoder": ["mean", "True"], "cross-encoder": []}[values["kind"]]
    expected = sha256(values["backbone_fingerprint"], weights, *settings, values["tokenizer_fingerprint"])
    assert values["fingerprint"] == expected
    config = checkpoint.model.config
    assert fingerprint_of(config, weights) == type(checkpoint.model).fingerprint_of(config, weights) == expected


def test_the_fingerprint_of_a_plain_encoder_has_its_weights_twice(tiny_backbone: Backbone):
    config = load_retriever(str(tiny_backbone("bert")), normalize=True, precision="fp32", device="cpu").config
    weights = config.backbone_fingerprint
    assert config.fingerprint == sha256(weights, weights, "cls", "True", config.tokenizer_fingerprint)


def test_another_kind_is_refused_by_both_loaders(tiny_backbone: Backbone):
    paths = {kind: str(trained(kind, "iaa-l", tiny_backbone("bert")).path) for kind in KINDS}
    loaders: dict[str, Any] = {
        "bi-encoder": load_bi_encoder,
        "cross-encoder": load_cross_encoder,
    }
    for kind, other in (KINDS, KINDS[::-1]):
        for load in (loaders[kind], lambda path, kind=kind: load_retriever(path, kind=kind)):
            with pytest.raises(IaaRetrievalError) as error:
                load(paths[other])
            assert str(error.value) == f"{paths[other]} is a {other}; a {kind} is needed here"


def test_a_plain_encoder_is_a_bi_encoder(tiny_backbone: Backbone):
    plain = str(tiny_backbone("bert"))
    model = load_retriever(plain, pooling="mean", precision="fp32", device="cpu")
    assert isinstance(model, BiEncoder)
    assert (model.config.method, model.config.pooling) == ("none", "mean")
    with pytest.raises(IaaRetrievalError) as error:
        load_retriever(plain, kind="cross-encoder")
    assert str(error.value) == (
        f"{plain} is no checkpoint of this project (it has no retriever.json); a cross-encoder is needed here"
    )


def test_a_checkpoint_of_an_unknown_kind_is_refused(tiny_backbone: Backbone, tmp_path: Path):
    path = Path(shutil.copytree(trained("bi-encoder", "iaa-l", tiny_backbone("bert")).path, tmp_path / "copy"))
    (path / "retriever.json").write_text(json.dumps({**recorded(path), "kind": "sparse"}))
    with pytest.raises(IaaRetrievalError, match="unknown kind of retriever 'sparse'"):
        load_retriever(str(path))


def test_for_inference_the_weights_may_be_laid_out_anew(checkpoint: Trained):
    plain, fast = (
        load(str(checkpoint.path), precision="fp32", device="cpu") for load in (load_retriever, load_for_inference)
    )
    assert type(fast) is type(plain)
    np.testing.assert_allclose(results(fast), results(plain), atol=1e-5)
    packed = [module for module in fast.modules() if type(module).__name__ == "PackedLinear"]
    assert bool(packed) == packing_pays(torch.float32)
    assert not any(type(module).__name__ == "PackedLinear" for module in plain.modules())
