"""The sizes of a backbone on which it depends how many weights a method trains. Light: no torch, no transformers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Sizes:
    """Sizes of a backbone.

    Attributes:
        hidden_size: d, the width of a token's state.
        num_layers: layers with weights of their own. ALBERT uses the same few many times.
        query_width: heads times head size, what the query projection gives; None is the hidden size.
        key_value_width: the same of keys and of values, which grouped-query attention has fewer heads of.
        biases: numbers in all biases of linear projections and layer normalisations; None where it is not known.
    """

    hidden_size: int
    num_layers: int
    query_width: int | None = None
    key_value_width: int | None = None
    biases: int | None = None

    @property
    def queries(self) -> int:
        """The width of queries."""
        return self.hidden_size if self.query_width is None else self.query_width

    @property
    def keys(self) -> int:
        """The width of keys, and of values."""
        return self.hidden_size if self.key_value_width is None else self.key_value_width


def sizes_of(config: Any, biases: int | None = None) -> Sizes:
    """The sizes of a backbone, by its transformers configuration.

    Args:
        config: of an encoder or decoder of text.
        biases: see ``Sizes``; ``tuners.bitfit.count_biases`` counts them in a network.
    """
    hidden = int(getattr(config, "hidden_size", None) or config.dim)
    heads = int(config.num_attention_heads)
    head_size = int(
        getattr(config, "head_dim", None) or getattr(config, "attention_head_size", None) or hidden // heads
    )
    layers = int(getattr(config, "num_hidden_layers", None) or config.n_layers)
    if config.model_type == "albert":
        layers = int(config.num_hidden_groups) * int(config.inner_group_num)
    return Sizes(hidden, layers, heads * head_size, key_value_heads(config) * head_size, biases)


def key_value_heads(config: Any) -> int:
    """The number of heads of keys and values."""
    return int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)
