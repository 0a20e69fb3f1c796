"""How a network is set before it is trained: attention kernel, dropout, precision of its frozen weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def use_fast_attention(network: Any, device: str) -> None:
    """On a CPU, plain matrix products beat the fused attention kernel, whose backward pass is slow there.

    Must be called before a tuning method is applied: some methods remember the attention function.
    """
    if device == "cpu":
        network.set_attn_implementation("eager")


def store_frozen_weights_in_bf16(model: nn.Module) -> None:
    """Keep what is not trained in bf16, so that autocast need not convert it in every step.

    A module with a trained parameter of its own, such as a bias, keeps its others too: they must be of one dtype.
    """
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        if any(parameter.requires_grad for parameter in own):
            continue
        for parameter in own:
            if parameter.is_floating_point():
                parameter.data = parameter.data.to(torch.bfloat16)


def set_dropout(network: nn.Module, rate: float) -> None:
    """Set every dropout of a network; without any, a step is about a third faster on a CPU."""
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = rate
        for name in ("attention_dropout", "dropout"):  # a number that an attention hands to its kernel, as T5's does
            if isinstance(vars(module).get(name), float):
                setattr(module, name, rate)
