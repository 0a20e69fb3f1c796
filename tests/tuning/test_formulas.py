"""Tuned backbones against the formulas of the papers, written out by hand."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import pytest
import torch
from by_hand import BOTTLENECKS, Branches, branch, gelu, gelu_tanh, linear, norm, silu
from torch import Tensor
from tuning_models import Backbone, batch, close, load, tuned

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
ALBERT = (
    *("attention.query", "attention.key", "attention.value", "attention.dense"),
    *("attention.LayerNorm", "ffn", "ffn_output", "full_layer_layer_norm", "attention.aside_port"),
    *("full_layer_layer_norm.aside_port", "full_layer_layer_norm.parallel_port", "attention.prefix_port"),
)
DEBERTA = tuple(
    f"attention.self.{name.removeprefix('attention.self.')}_proj" if name in BERT[:3] else name for name in BERT
)
NOMIC = (
    *("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"),
    *("post_attention_layernorm", "mlp.up_proj", "mlp.down_proj", "post_mlp_layernorm"),
    *("post_attention_layernorm.aside_port", "post_mlp_layernorm.aside_port", "mlp.parallel_port"),
    "self_attn.prefix_port",
)
POST_NORM |= {"albert": ("", ALBERT), "deberta-v2": ("encoder.layer", DEBERTA), "nomic_bert": ("layers", NOMIC)}


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


def layers_of(network: Any, stack: str) -> list[Any]:
    """The layers in the order of their use: tiny ALBERT has two, each of which is used twice."""
    if stack:
        return list(network.get_submodule(stack))
    first, second = (group.albert_layers[0] for group in network.encoder.albert_layer_groups)
    return [first, first, second, second]


def feed_forward(layer: Any, backbone: str, project: Any, a: Tensor) -> Tensor:
    if backbone == "nomic_bert":
        return silu(linear(layer.mlp.gate_proj, a)) * linear(project, a)
    return (gelu_tanh if backbone == "albert" else gelu)(linear(project, a))


def disentangled(bare: Any, layer: Any, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    """DeBERTa's query, scaled for three kinds of scores where one would be, and the scores of relative positions."""
    attention = layer.attention.self
    by_head = [x.view(len(x), 4, 8).transpose(0, 1) for x in (query, key)]
    bias = attention.disentangled_attention_bias(*by_head, None, bare.encoder.get_rel_embedding(), 3)
    return query / math.sqrt(3), bias


def post_norm_by_hand(bare: Any, model: Any, backbone: str, method: str, scaling: float) -> Tensor:
    """Last hidden states of the first text of the batch."""
    stack, names = POST_NORM[backbone]
    parts = dict(zip(PARTS, names, strict=True))
    network = model.base_model.model
    x = bare.embeddings(batch()["input_ids"][:1])
    bias = bare.encoder.compute_position_bias(x)[0] if backbone == "mpnet" else None
    x = x[0]
    if backbone == "albert":
        x = linear(bare.encoder.embedding_hidden_mapping_in, x)
    embedded = x
    for layer, with_ports in zip(layers_of(bare, stack), layers_of(network, stack), strict=True):
        module = {part: layer.get_submodule(name) for part, name in parts.items() if "port" not in name}
        add = Branches(with_ports, parts, method, scaling)
        query, key, value = (linear(module[part], x) for part in ("query", "key", "value"))
        if backbone == "deberta-v2":
            query, bias = disentangled(bare, layer, query, key)
        if backbone == "nomic_bert":
            query, key = (rotate(states, bare.config.rope_parameters["rope_theta"]) for states in (query, key))
        h = linear(module["attention_output"], attend(query, key, value, add.prefix, bias))
        a = norm(module["attention_norm"], x + h + add.inside_attention(h)) + add.around_attention(x)
        h = linear(module["ffn_output"], feed_forward(layer, backbone, module["ffn_input"], a))
        y = norm(module["ffn_norm"], a + h + add.inside_ffn(h) + add.beside_ffn(a)) + add.around_ffn(a)
        x = y + add.around_layer(x)
    if method == "iaa-m":
        ends = {"albert": "encoder.stack_aside_port", "nomic_bert": "layers.2.stack_aside_port"}
        port = network.get_submodule(ends.get(backbone, f"{stack.split('.')[0]}.aside_port"))
        x = x + branch(port, scaling)(embedded)
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
