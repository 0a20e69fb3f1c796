"""Tuned decoders against the formulas of ``docs/methods.md``, written out by hand from the weights.

Four families that differ: Llama; Qwen3, which normalises queries and keys; Mistral, whose window is shorter than the
text; Gemma 3, which has a normalisation behind each sub-layer, scaled embeddings and windows in some of its layers.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import pytest
import torch
from by_hand import BOTTLENECKS, Branches, branch, gelu_tanh, linear, silu
from torch import Tensor
from tuning_models import Backbone, batch, close, load, randomise, tuned

HEADS, HEAD_SIZE = 4, 12
LLAMA = {
    **{"attention_output": "self_attn.o_proj", "ffn_output": "mlp.down_proj", "prefix": "self_attn.prefix_port"},
    **{"around_attention": "self_attn.aside_port", "around_ffn": "mlp.aside_port", "beside_ffn": "mlp.parallel_port"},
}
GEMMA = LLAMA | {
    "around_attention": "post_attention_layernorm.aside_port",
    "around_ffn": "post_feedforward_layernorm.aside_port",
}


def rms(module: Any, x: Tensor, epsilon: float, gemma: bool = False) -> Tensor:
    return x / torch.sqrt((x**2).mean(-1, keepdim=True) + epsilon) * (module.weight + gemma)


def rotate(x: Tensor, theta: float) -> Tensor:
    """Rotary positions of one head, (tokens, 12)."""
    angles = torch.arange(len(x))[:, None] * theta ** (-torch.arange(0, HEAD_SIZE, 2) / HEAD_SIZE)
    left, right = x[:, : HEAD_SIZE // 2], x[:, HEAD_SIZE // 2 :]
    return torch.cat([left * angles.cos() - right * angles.sin(), right * angles.cos() + left * angles.sin()], dim=-1)


def attend(layer: Any, config: Any, read: Tensor, port: Any, theta: float, window: int | None) -> Tensor:
    """Heads side by side, (tokens, 48); each key head serves ``4 / key heads`` of them."""
    attention, gemma = layer.self_attn, config.model_type == "gemma3_text"
    query, key, value = (linear(getattr(attention, f"{name}_proj"), read) for name in "qkv")
    heads = []
    for head in range(HEADS):
        of_query = slice(HEAD_SIZE * head, HEAD_SIZE * (head + 1))
        shared = head // (HEADS // config.num_key_value_heads)
        of_key = slice(HEAD_SIZE * shared, HEAD_SIZE * (shared + 1))
        q, k, v = query[:, of_query], key[:, of_key], value[:, of_key]
        if hasattr(attention, "q_norm"):
            q = rms(attention.q_norm, q, config.rms_norm_eps, gemma)
            k = rms(attention.k_norm, k, config.rms_norm_eps, gemma)
        q, k = rotate(q, theta), rotate(k, theta)
        if port is not None:
            k = torch.cat([port.iaa_key["default"][:, of_key], k])
            v = torch.cat([port.iaa_value["default"][:, of_key], v])
        length = len(k) - len(q)
        rows = []
        for token in range(len(q)):
            first = 0 if window is None else max(0, token - window + 1)
            seen = [*range(length), *range(length + first, length + token + 1)]
            weights = torch.exp(k[seen] @ q[token] / math.sqrt(HEAD_SIZE))
            rows.append(weights / weights.sum() @ v[seen])
        heads.append(torch.stack(rows))
    return torch.cat(heads, dim=-1)


def decoder_by_hand(bare: Any, model: Any, method: str, scaling: float) -> Tensor:
    """Last hidden states of the first text of the batch."""
    config = bare.config
    gemma = config.model_type == "gemma3_text"
    network = model.base_model.model
    parts = GEMMA if gemma else LLAMA

    def normalise(module: Any, x: Tensor) -> Tensor:
        return rms(module, x, config.rms_norm_eps, gemma)

    x = bare.embed_tokens.weight[batch()["input_ids"][0]] * (math.sqrt(32) if gemma else 1.0)
    embedded = x
    for number, (layer, with_ports) in enumerate(zip(bare.layers, network.layers, strict=True)):
        add = Branches(with_ports, parts, method, scaling)
        rope = config.rope_parameters[config.layer_types[number]] if gemma else config.rope_parameters
        sliding = config.model_type == "mistral" or (gemma and config.layer_types[number] == "sliding_attention")
        read = normalise(layer.input_layernorm, x)
        attended = attend(layer, config, read, add.prefix, rope["rope_theta"], 4 if sliding else None)
        h = linear(layer.self_attn.o_proj, attended)
        h = h + add.inside_attention(h)
        if gemma:
            h = normalise(layer.post_attention_layernorm, h)
        a = x + h + add.around_attention(read)
        read = normalise(layer.pre_feedforward_layernorm if gemma else layer.post_attention_layernorm, a)
        gate = (gelu_tanh if gemma else silu)(linear(layer.mlp.gate_proj, read))
        g = linear(layer.mlp.down_proj, gate * linear(layer.mlp.up_proj, read))
        g = g + add.inside_ffn(g) + add.beside_ffn(read)
        if gemma:
            g = normalise(layer.post_feedforward_layernorm, g)
        y = a + g + add.around_ffn(read)
        x = y + add.around_layer(x)
    if method == "iaa-m":
        x = x + branch(network.norm.aside_port, scaling)(embedded)
    return normalise(bare.norm, x)


@pytest.mark.parametrize("family", ["llama", "qwen3", "mistral", "gemma3_text"])
@pytest.mark.parametrize(("method", "scaling"), [*product(BOTTLENECKS, (1.0, 0.25)), ("prefix", 1.0)])
@torch.no_grad()
def test_a_decoder_is_the_formula(method: str, scaling: float, family: str, tiny_backbone: Backbone):
    bare, backbone = load(tiny_backbone(family)), load(tiny_backbone(family))
    for network in (bare, backbone):  # normalisations that are drawn as ones (or zeros) would hide a slip
        randomise(network, seed=5, deviation=0.1)
    model = tuned(backbone, method, **({"scaling": scaling} if scaling != 1.0 else {}))
    assert close(model(**batch()).last_hidden_state[0], decoder_by_hand(bare, model, method, scaling))
