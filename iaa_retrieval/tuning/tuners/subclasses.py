"""Static subclasses for the backbones that have no module boundary where a branch must go in.

An instance's class is swapped in place: parameters, hooks and names stay, and pickle finds the class by name.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.deberta_v2.modeling_deberta_v2 import DisentangledSelfAttention, scaled_size_sqrt
from transformers.models.distilbert.modeling_distilbert import TransformerBlock
from transformers.models.mpnet.modeling_mpnet import MPNetSelfAttention

from iaa_retrieval.tuning.architectures import Tap
from iaa_retrieval.tuning.tuners.bottleneck import BottleneckPort
from iaa_retrieval.tuning.tuners.hooks import add_to_output
from iaa_retrieval.tuning.tuners.prefix import PREFIX


class AsideTransformerBlock(TransformerBlock):  # type: ignore[misc]
    """DistilBERT's layer with an aside around either sub-layer."""

    def forward(self, hidden_states: Tensor, attention_mask: Tensor | None = None, **kwargs: Any) -> Tensor:
        x = hidden_states
        a = self.sa_layer_norm(self.attention(x, attention_mask=attention_mask, **kwargs)[0] + x)
        a = add_to_output(a, self.attention_aside_port(x))
        y = self.output_layer_norm(self.ffn(a) + a)
        return add_to_output(y, self.ffn_aside_port(a))  # type: ignore[no-any-return]


class PrefixMPNetSelfAttention(MPNetSelfAttention):  # type: ignore[misc]
    """MPNet's self-attention with a prefix; prefix vectors get no relative-position bias."""

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        position_bias: Tensor | None = None,
        output_attentions: bool = False,
        **kwargs: Any,
    ) -> tuple[Tensor, ...]:
        # ``view``, for ``unflatten`` would fix the batch size in a traced graph (ONNX).
        by_head = (*hidden_states.shape[:-1], self.num_attention_heads, self.attention_head_size)
        query, key, value = (
            projection(hidden_states).view(by_head).transpose(1, 2) for projection in (self.q, self.k, self.v)
        )
        tokens = key.shape[2]
        key, value = getattr(self, PREFIX).extend(key, value)
        scores = query @ key.transpose(-1, -2) / math.sqrt(self.attention_head_size)
        for bias in (position_bias, attention_mask):
            if bias is not None:
                scores = scores + nn.functional.pad(bias, (key.shape[2] - tokens, 0))
        probabilities = self.dropout(scores.softmax(dim=-1))
        output = self.o((probabilities @ value).transpose(1, 2).flatten(2))
        return (output, probabilities) if output_attentions else (output,)


class PrefixDisentangledSelfAttention(DisentangledSelfAttention):  # type: ignore[misc]
    """DeBERTa's self-attention with a prefix, which it attends to by content alone: prefix vectors have no position."""

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor,
        output_attentions: bool = False,
        query_states: Tensor | None = None,
        relative_pos: Tensor | None = None,
        rel_embeddings: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        port = getattr(self, PREFIX)
        if not port.length:
            return super().forward(  # type: ignore[no-any-return]
                hidden_states, attention_mask, output_attentions, query_states, relative_pos, rel_embeddings
            )
        asking = hidden_states if query_states is None else query_states
        heads = self.num_attention_heads
        query = self.transpose_for_scores(self.query_proj(asking), heads)  # (batch times heads, tokens, head size)
        key = self.transpose_for_scores(self.key_proj(hidden_states), heads)
        value = self.transpose_for_scores(self.value_proj(hidden_states), heads)
        kinds = 1 + sum(kind in self.pos_att_type for kind in ("c2p", "p2c"))
        bias = None
        if self.relative_attention:
            rel_embeddings = self.pos_dropout(rel_embeddings)
            bias = self.disentangled_attention_bias(query, key, relative_pos, rel_embeddings, kinds)
        by_head = (-1, heads, *key.shape[1:])
        extended, values = port.extend(key.view(by_head), value.view(by_head))
        scale = scaled_size_sqrt(query, kinds).to(query.dtype)
        scores = query.view(by_head) @ (extended.transpose(-1, -2) / scale)
        if bias is not None:
            scores = scores + nn.functional.pad(bias.view(-1, heads, *bias.shape[1:]), (port.length, 0))
        visible = port.extend_mask(attention_mask.bool())
        scores = scores.masked_fill(~visible, torch.finfo(query.dtype).min)
        probabilities = self.dropout(scores.softmax(dim=-1))
        context = (probabilities @ values).transpose(1, 2).flatten(2)
        return context, probabilities if output_attentions else None


_WITH_PREFIX: dict[type[Any], type[Any]] = {
    MPNetSelfAttention: PrefixMPNetSelfAttention,
    DisentangledSelfAttention: PrefixDisentangledSelfAttention,
}


def swap_for_asides(block: Any, adapter_name: str) -> tuple[BottleneckPort, BottleneckPort]:
    """Make a DistilBERT layer call an aside around its attention and one around its feed-forward block."""
    if type(block) is TransformerBlock:
        block.__class__ = AsideTransformerBlock
        block.attention_aside_port = BottleneckPort(Tap("", 0, ""), adapter_name)
        block.ffn_aside_port = BottleneckPort(Tap("", 0, ""), adapter_name)
    return block.attention_aside_port, block.ffn_aside_port


def swap_for_prefix(attention: Any) -> None:
    """Make a self-attention of MPNet or DeBERTa call its prefix port."""
    if type(attention) in _WITH_PREFIX:
        attention.__class__ = _WITH_PREFIX[type(attention)]


def swap_back(module: Any) -> None:
    """Give ``module`` its own class back."""
    if type(module) is AsideTransformerBlock:
        del module.attention_aside_port, module.ffn_aside_port
        module.__class__ = TransformerBlock
    for bare, prefixed in _WITH_PREFIX.items():
        if type(module) is prefixed:
            module.__class__ = bare
