"""What a tuned layer is made of, written out by hand: shared by the tests of formulas."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

BOTTLENECKS = ("adapter", "iaa-s", "iaa-l", "iaa-m", "mam")


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


def gelu_tanh(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


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
