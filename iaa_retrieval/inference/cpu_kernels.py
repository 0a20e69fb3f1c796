"""A frozen encoder made faster on a CPU: weights laid out for oneDNN beforehand, attention in cached pieces.

oneDNN's own layout saves a copy of the weights in every product, and with AVX-512 its fp32 products beat the usual
library's on AMD's CPUs; with AVX2 they are a fifth slower, and the weights stay as they are. Attention in pieces that
stay in the cache is for bf16 only: it rounds scores to bf16, as eager attention does, where the fused kernel keeps fp32
and is slower. Measured in docs/performance.md.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.activations import GELUActivation
from transformers.masking_utils import AttentionMaskInterface

from iaa_retrieval.models.retriever import Retriever
from iaa_retrieval.tuning.methods import find_method

ATTENTION = "iaa_cached_pieces"
# Models whose attention goes through transformers' interface and sees all tokens: no windows, no position bias.
MODEL_TYPES = ("bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert")
# Attention scores computed at a time: in bf16, and twice (before and after softmax), they stay in the cache.
PIECE = 1_600_000
# Where a feed-forward block keeps its first projection and the activation after it.
ACTIVATIONS = (("dense", "intermediate_act_fn"), ("lin1", "activation"))


def use_cpu_kernels(model: Retriever, *, keep_attention: bool = False) -> None:
    """Prepare a model for fast inference, where that is possible; else leave it alone.

    Only for a model whose weights are not trained, saved, merged, shared or moved any more.

    Args:
        keep_attention: leave the attention kernel as it is, because somebody chose it.
    """
    if model.device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    network: Any
    for network in model.networks:
        if not keep_attention and model.dtype == torch.bfloat16 and network.config.model_type in MODEL_TYPES:
            network.set_attn_implementation(ATTENTION)
        if packing_pays(model.dtype) and find_method(model.config.method).packable:
            _pack(network)


def packing_pays(dtype: torch.dtype) -> bool:
    """Whether this CPU has oneDNN's products of ``dtype``, and they are the faster ones."""
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return torch.backends.cpu.get_cpu_capability() == "AVX512"


def _pack(network: nn.Module) -> None:
    for module in list(network.modules()):
        for projection, activation in ACTIVATIONS:
            _pack_with_gelu(module, projection, activation)
        for name, child in list(module.named_children()):
            if _can_be_packed(child):
                setattr(module, name, PackedLinear(child))  # type: ignore[arg-type]


class PackedLinear(nn.Module):
    """A linear projection whose weight has oneDNN's own layout, with its activation in the same kernel."""

    def __init__(self, linear: nn.Linear, *, gelu: bool = False) -> None:
        super().__init__()
        # Tuners ask a projection for the dtype of its weight, and BitFit's for its bias.
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
        self.bias = linear.bias
        self.activation = ("gelu", "none") if gelu else ("none", "")

    def forward(self, x: Tensor) -> Tensor:
        name, algorithm = self.activation
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, name, [], algorithm)
        return y


def _can_be_packed(module: Any) -> bool:
    """Whether a module is just a projection; hooks and children are a tuner's."""
    return (
        type(module) is nn.Linear
        and module.weight.dtype in (torch.float32, torch.bfloat16)
        and not module._forward_hooks
        and not module._forward_pre_hooks
        and not module._modules
    )


def _pack_with_gelu(module: nn.Module, projection: str, activation: str) -> None:
    linear, function = getattr(module, projection, None), getattr(module, activation, None)
    exact = isinstance(function, GELUActivation) or (isinstance(function, nn.GELU) and function.approximate == "none")
    if exact and _can_be_packed(linear):
        setattr(module, projection, PackedLinear(linear, gelu=True))  # type: ignore[arg-type]
        setattr(module, activation, nn.Identity())


def _additive_mask(*, attention_mask: Tensor | None = None, dtype: torch.dtype = torch.float32, **_: Any) -> Any:
    """[batch, 1, 1, tokens], zero or the lowest number; None when there is no padding."""
    if attention_mask is None or bool(attention_mask.all()):
        return None
    mask = torch.zeros(attention_mask.shape, dtype=dtype)
    return mask.masked_fill_(attention_mask == 0, torch.finfo(dtype).min)[:, None, None, :]


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Softmax attention of a few texts at a time, in buffers that are used again.

    Args:
        query: [batch, heads, tokens, d]; key and value have as many tokens or more (a prefix).
        attention_mask: from ``_additive_mask``.

    Returns:
        [batch, tokens, heads, d], and no attention weights.
    """
    batch, heads, tokens, size = query.shape
    keys = key.shape[2]
    scale = size**-0.5 if scaling is None else scaling
    rows = min(batch, max(1, PIECE // (heads * tokens * keys)))
    scores_buffer = query.new_empty(rows * heads, tokens, keys)
    weights_buffer = torch.empty_like(scores_buffer)
    attended_buffer = query.new_empty(rows * heads, tokens, size)
    padded = [False] * batch if attention_mask is None else (attention_mask != 0).flatten(1).any(dim=1).tolist()
    result = query.new_empty(batch, tokens, heads, size)
    for start in range(0, batch, rows):
        stop = min(start + rows, batch)
        here = slice(start, stop)
        count = (stop - start) * heads
        scores, weights, attended = scores_buffer[:count], weights_buffer[:count], attended_buffer[:count]
        scaled = (query[here] * scale).reshape(count, tokens, size)
        torch.bmm(scaled, key[here].reshape(count, keys, size).transpose(1, 2), out=scores)
        if attention_mask is not None and any(padded[here]):
            scores.view(-1, heads, tokens, keys).add_(attention_mask[here])
        torch.softmax(scores, dim=-1, out=weights)
        torch.bmm(weights, value[here].reshape(count, keys, size), out=attended)
        result[here] = attended.view(-1, heads, tokens, size).transpose(1, 2)
    return result, None


AttentionInterface.register(ATTENTION, _attend)
AttentionMaskInterface.register(ATTENTION, _additive_mask)
