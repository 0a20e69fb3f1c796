"""Static subclasses for the two backbones that have no module boundary where a branch must go in.

An instance's class is swapped in place: parameters, hooks and names stay, and pickle finds the class by name.
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn
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


def swap_for_asides(block: Any, adapter_name: str) -> tuple[BottleneckPort, BottleneckPort]:
    """Make a DistilBERT layer call an aside around its attention and one around its feed-forward block."""
    if type(block) is TransformerBlock:
        block.__class__ = AsideTransformerBlock
        block.attention_aside_port = BottleneckPort(Tap("", 0, ""), adapter_name)
        block.ffn_aside_port = BottleneckPort(Tap("", 0, ""), adapter_name)
    return block.attention_aside_port, block.ffn_aside_port


def swap_for_prefix(attention: Any) -> None:
    """Make an MPNet self-attention call its prefix port."""
    if type(attention) is MPNetSelfAttention:
        attention.__class__ = PrefixMPNetSelfAttention


def swap_back(module: Any) -> None:
    """Give ``module`` its own class back."""
    if type(module) is AsideTransformerBlock:
        del module.attention_aside_port, module.ffn_aside_port
        module.__class__ = TransformerBlock
    elif type(module) is PrefixMPNetSelfAttention:
        module.__class__ = MPNetSelfAttention
