"""Sizes of a network, whatever its configuration calls them."""

from __future__ import annotations

from typing import Any


def encoder_width(network: Any) -> int:
    """Hidden size of an encoder or classifier."""
    return int(getattr(network.config, "hidden_size", None) or network.config.dim)


def position_limit(network: Any) -> int:
    """The longest input in tokens that the position embeddings allow (RoBERTa-style ones reserve two)."""
    positions = int(getattr(network.config, "max_position_embeddings", 512))
    if positions < 1:  # how XLNet says that there is no limit
        positions = 512
    reserved = 2 if network.config.model_type in ("roberta", "xlm-roberta", "camembert", "mpnet") else 0
    return positions - reserved


def parameter_count(network: Any) -> int:
    """Numbers in a network's parameters, as they are in floating point: 4-bit weights lie packed, several in a byte."""
    return sum(
        parameter.numel() * (2 * parameter.element_size() if type(parameter).__name__ == "Params4bit" else 1)
        for parameter in network.parameters()
    )
