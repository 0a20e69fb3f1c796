"""Tuned BERT against the formulas of the papers, written out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import BertModel
from tuning_models import Backbone, batch, close, load, tuned


def linear(module: Any, x: Tensor) -> Tensor:
    return x @ module.weight.T + module.bias


def norm(module: Any, x: Tensor) -> Tensor:
    deviation = torch.sqrt(x.var(-1, unbiased=False, keepdim=True) + module.eps)
    return (x - x.mean(-1, keepdim=True)) / deviation * module.weight + module.bias


def gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def attention(layer: Any, x: Tensor, prefix: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Four heads of eight over one text of shape (tokens, 32), without the output projection."""
    attend = layer.attention.self
    query, key, value = (linear(projection, x) for projection in (attend.query, attend.key, attend.value))
    if prefix is not None:
        key, value = torch.cat([prefix[0], key]), torch.cat([prefix[1], value])
    heads = []
    for head in range(4):
        part = slice(8 * head, 8 * head + 8)
        weights = torch.exp(query[:, part] @ key[:, part].T / math.sqrt(8))
        heads.append(weights / weights.sum(-1, keepdim=True) @ value[:, part])
    return torch.cat(heads, dim=-1)


def bottleneck(port: Any, x: Tensor) -> Tensor:
    return linear(port.iaa_up["default"], torch.relu(linear(port.iaa_down["default"], x)))


def no_branch(x: Tensor) -> Tensor:
    return torch.zeros_like(x)


def by_hand(bare: BertModel, model: Any, method: str, scaling: float) -> Tensor:
    """Last hidden states of the first text of the batch."""
    encoder = model.base_model.model.encoder

    def branch(port: Any) -> Any:
        return lambda x: scaling * bottleneck(port, x)

    x = bare.embeddings(batch()["input_ids"][:1])[0]
    embedded = x
    for layer, with_ports in zip(bare.encoder.layer, encoder.layer, strict=True):
        inside_attention = inside_ffn = around_attention = around_ffn = around_layer = beside_ffn = no_branch
        prefix = None
        if method in ("adapter", "iaa-s", "iaa-l", "iaa-m"):
            inside_attention = branch(with_ports.attention.output.dense)
            inside_ffn = branch(with_ports.output.dense)
        if method == "iaa-s":
            around_attention = branch(with_ports.attention.output.aside_port)
            around_ffn = branch(with_ports.output.aside_port)
        if method == "iaa-l":
            around_layer = branch(with_ports.aside_port)
        if method == "mam":
            beside_ffn = branch(with_ports.output.parallel_port)
        if method in ("mam", "prefix"):
            port = with_ports.attention.self.prefix_port
            prefix = (port.iaa_key["default"], port.iaa_value["default"])
        h = linear(layer.attention.output.dense, attention(layer, x, prefix))
        a = norm(layer.attention.output.LayerNorm, x + h + inside_attention(h)) + around_attention(x)
        h = linear(layer.output.dense, gelu(linear(layer.intermediate.dense, a)))
        y = norm(layer.output.LayerNorm, a + h + inside_ffn(h) + beside_ffn(a)) + around_ffn(a)
        x = y + around_layer(x)
    return x + branch(encoder.aside_port)(embedded) if method == "iaa-m" else x


@pytest.mark.parametrize("scaling", [1.0, 0.25])
@pytest.mark.parametrize("method", ["adapter", "iaa-s", "iaa-l", "iaa-m", "mam", "prefix"])
@torch.no_grad()
def test_forward_is_the_formula(method: str, scaling: float, tiny_backbone: Backbone):
    bare = load(tiny_backbone("bert"))
    model = tuned(load(tiny_backbone("bert")), method, scaling=scaling)
    assert close(model(**batch()).last_hidden_state[0], by_hand(bare, model, method, scaling))


@torch.no_grad()
def test_lora_is_twice_the_product_at_every_rank(tiny_backbone: Backbone):
    model = tuned(load(tiny_backbone("bert")), "lora")
    query = model.base_model.model.encoder.layer[0].attention.self.query
    x = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    update = 2 * x @ query.lora_A["default"].weight.T @ query.lora_B["default"].weight.T
    assert close(query(x), linear(query.base_layer, x) + update)


@torch.no_grad()
def test_bitfit_adds_to_the_bias(tiny_backbone: Backbone):
    model = tuned(load(tiny_backbone("bert")), "bitfit")
    query = model.base_model.model.encoder.layer[0].attention.self.query
    x = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    assert close(query(x), linear(query.base_layer, x) + query.bitfit_delta["default"])


@torch.no_grad()
@pytest.mark.parametrize("backbone", ["bert", "modernbert"])
def test_layer_asides_are_in_the_recorded_hidden_states(backbone: str, tiny_backbone: Backbone):
    bare = load(tiny_backbone(backbone))
    bare(**batch(), output_hidden_states=True)  # transformers puts its recording hooks in here, before ours
    model = tuned(bare, "iaa-l")
    encoder = model.base_model.model
    layers = encoder.encoder.layer if backbone == "bert" else encoder.layers
    seen: list[Tensor] = []
    layers[1].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    recorded = model(**batch(), output_hidden_states=True).hidden_states
    assert torch.equal(recorded[1], seen[0])
    port = layers[0].aside_port
    assert bottleneck(port, recorded[0]).abs().max() > 1e-3
