"""Tuned backbones against the formulas of the papers, written out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from tuning_models import Backbone, batch, close, load, tuned

BOTTLENECKS = ("adapter", "iaa-s", "iaa-l", "iaa-m", "mam")

# The modules of one layer: projections and normalisations, then where the ports are.
PARTS = (
    *("query", "key", "value", "attention_output", "attention_norm", "ffn_input", "ffn_output", "ffn_norm"),
    *("around_attention", "around_ffn", "beside_ffn", "prefix"),
)
BERT = (
    *("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"),
    *("attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm"),
    *("attention.output.aside_port", "output.aside_port", "output.parallel_port", "attention.self.prefix_port"),
)
MPNET = (
    *("attention.attn.q", "attention.attn.k", "attention.attn.v", "attention.attn.o"),
    *("attention.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm"),
    *("attention.aside_port", "output.aside_port", "output.parallel_port", "attention.attn.prefix_port"),
)
DISTILBERT = (
    *("attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin"),
    *("sa_layer_norm", "ffn.lin1", "ffn.lin2", "output_layer_norm"),
    *("attention_aside_port", "ffn_aside_port", "ffn.parallel_port", "attention.prefix_port"),
)
POST_NORM = {"bert": ("encoder.layer", BERT), "mpnet": ("encoder.layer", MPNET)}
POST_NORM["distilbert"] = ("transformer.layer", DISTILBERT)


def linear(module: Any, x: Tensor) -> Tensor:
    y: Tensor = x @ module.weight.T
    return y if module.bias is None else y + module.bias


def norm(module: Any, x: Tensor) -> Tensor:
    if isinstance(module, nn.Identity):
        return x
    deviation = torch.sqrt(x.var(-1, unbiased=False, keepdim=True) + module.eps)
    y: Tensor = (x - x.mean(-1, keepdim=True)) / deviation * module.weight
    return y if module.bias is None else y + module.bias


def gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def attend(query: Tensor, key: Tensor, value: Tensor, port: Any, bias: Tensor | None) -> Tensor:
    """Four heads of eight over one text of shape (tokens, 32), without the output projection."""
    prefix = 0
    if port is not None:
        prefix = len(port.iaa_key["default"])
        key, value = torch.cat([port.iaa_key["default"], key]), torch.cat([port.iaa_value["default"], value])
    heads = []
    for head in range(4):
        part = slice(8 * head, 8 * head + 8)
        scores = query[:, part] @ key[:, part].T / math.sqrt(8)
        if bias is not None:  # none on the prefix
            scores[:, prefix:] += bias[head]
        weights = torch.exp(scores)
        heads.append(weights / weights.sum(-1, keepdim=True) @ value[:, part])
    return torch.cat(heads, dim=-1)


def branch(port: Any, scaling: float) -> Callable[[Tensor], Tensor]:
    """s (W_up relu(W_down x + b_down) + b_up)"""
    return lambda x: scaling * linear(port.iaa_up["default"], torch.relu(linear(port.iaa_down["default"], x)))


def no_branch(x: Tensor) -> Tensor:
    return torch.zeros_like(x)


class Branches:
    """What a method adds to one layer: functions that give zero where it adds nothing."""

    def __init__(self, layer: nn.Module, parts: dict[str, str], method: str, scaling: float) -> None:
        def at(name: str, *methods: str) -> Callable[[Tensor], Tensor]:
            return branch(layer.get_submodule(name), scaling) if method in methods else no_branch

        inside = ("adapter", "iaa-s", "iaa-l", "iaa-m")
        self.inside_attention = at(parts["attention_output"], *inside)
        self.inside_ffn = at(parts["ffn_output"], *inside)
        self.around_attention = at(parts["around_attention"], "iaa-s")
        self.around_ffn = at(parts["around_ffn"], "iaa-s")
        self.around_layer = at("aside_port", "iaa-l")
        self.beside_ffn = at(parts["beside_ffn"], "mam")
        self.prefix = layer.get_submodule(parts["prefix"]) if method in ("mam", "prefix") else None


def post_norm_by_hand(bare: Any, model: Any, backbone: str, method: str, scaling: float) -> Tensor:
    """Last hidden states of the first text of the batch."""
    stack, names = POST_NORM[backbone]
    parts = dict(zip(PARTS, names, strict=True))
    network = model.base_model.model
    x = bare.embeddings(batch()["input_ids"][:1])
    bias = bare.encoder.compute_position_bias(x)[0] if backbone == "mpnet" else None
    x = x[0]
    embedded = x
    for layer, with_ports in zip(bare.get_submodule(stack), network.get_submodule(stack), strict=True):
        module = {part: layer.get_submodule(name) for part, name in parts.items() if "port" not in name}
        add = Branches(with_ports, parts, method, scaling)
        query, key, value = (linear(module[part], x) for part in ("query", "key", "value"))
        h = linear(module["attention_output"], attend(query, key, value, add.prefix, bias))
        a = norm(module["attention_norm"], x + h + add.inside_attention(h)) + add.around_attention(x)
        h = linear(module["ffn_output"], gelu(linear(module["ffn_input"], a)))
        y = norm(module["ffn_norm"], a + h + add.inside_ffn(h) + add.beside_ffn(a)) + add.around_ffn(a)
        x = y + add.around_layer(x)
    if method == "iaa-m":
        x = x + branch(network.get_submodule(stack.split(".")[0]).aside_port, scaling)(embedded)
    return x


def rotate(x: Tensor, theta: float) -> Tensor:
    """Rotary positions of four heads of eight over (tokens, 32)."""
    angles = torch.arange(len(x))[:, None] * theta ** (-torch.arange(0, 8, 2) / 8)
    cos, sin = angles.cos(), angles.sin()
    heads = []
    for head in range(4):
        left, right = x[:, 8 * head : 8 * head + 4], x[:, 8 * head + 4 : 8 * head + 8]
        heads += [left * cos - right * sin, right * cos + left * sin]
    return torch.cat(heads, dim=-1)


def modernbert_by_hand(bare: Any, model: Any, method: str, scaling: float) -> Tensor:
    """A pre-norm layer: a sub-layer's aside reads what the sub-layer reads. Nine tokens fit in every window."""
    parts = {"attention_output": "attn.Wo", "ffn_output": "mlp.Wo", "prefix": "attn.prefix_port"}
    parts |= {"around_attention": "attn.aside_port", "around_ffn": "mlp.aside_port", "beside_ffn": "mlp.parallel_port"}
    network = model.base_model.model
    x = bare.embeddings(batch()["input_ids"][:1])[0]
    embedded = x
    for layer, with_ports in zip(bare.layers, network.layers, strict=True):
        add = Branches(with_ports, parts, method, scaling)
        theta = bare.config.rope_parameters[layer.attention_type]["rope_theta"]
        read = norm(layer.attn_norm, x)
        query, key, value = linear(layer.attn.Wqkv, read).chunk(3, dim=-1)
        h = linear(layer.attn.Wo, attend(rotate(query, theta), rotate(key, theta), value, add.prefix, None))
        a = x + h + add.inside_attention(h) + add.around_attention(read)
        read = norm(layer.mlp_norm, a)
        value, gate = linear(layer.mlp.Wi, read).chunk(2, dim=-1)
        h = linear(layer.mlp.Wo, gelu(value) * gate)
        y = a + h + add.inside_ffn(h) + add.around_ffn(read) + add.beside_ffn(read)
        x = y + add.around_layer(x)
    if method == "iaa-m":
        x = x + branch(network.final_norm.aside_port, scaling)(embedded)
    return norm(bare.final_norm, x)


@pytest.mark.parametrize("backbone", [*POST_NORM, "modernbert"])
@pytest.mark.parametrize(("method", "scaling"), [*product(BOTTLENECKS, (1.0, 0.25)), ("prefix", 1.0)])
@torch.no_grad()
def test_forward_is_the_formula(method: str, scaling: float, backbone: str, tiny_backbone: Backbone):
    bare = load(tiny_backbone(backbone))
    model = tuned(load(tiny_backbone(backbone)), method, **({"scaling": scaling} if scaling != 1.0 else {}))
    expected = (
        modernbert_by_hand(bare, model, method, scaling)
        if backbone == "modernbert"
        else post_norm_by_hand(bare, model, backbone, method, scaling)
    )
    assert close(model(**batch()).last_hidden_state[0], expected)


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
    assert branch(port, 1.0)(recorded[0]).abs().max() > 1e-3
