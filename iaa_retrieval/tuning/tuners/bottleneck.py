"""The bottleneck ``s * W_up f(W_down x)``: after a projection (inside), or beside a module (a port)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from torch import Tensor, nn
from transformers.activations import ACT2FN

from iaa_retrieval.tuning.architectures import Tap
from iaa_retrieval.tuning.tuners.config import INITIAL_STD, IAAConfig
from iaa_retrieval.tuning.tuners.tuner_layer import Port, TunerLayer, refuse_merge


class Bottleneck(TunerLayer):
    """Down- and up-projections by adapter name; a mix-in for the two modules below."""

    adapter_layer_names = ("iaa_down", "iaa_up")
    other_param_names = ("scalings", "activations", "dropouts")

    def _start(self, adapter_name: str) -> None:
        super()._start(adapter_name)
        self.iaa_down = nn.ModuleDict()
        self.iaa_up = nn.ModuleDict()
        self.scalings: dict[str, float] = {}
        self.activations: dict[str, nn.Module] = {}
        self.dropouts: dict[str, float] = {}

    def add_adapter(self, name: str, config: IAAConfig, hidden_size: int, r: int, like: Tensor) -> None:
        """Add one adapter's projections, W_down ~ N(0, 0.02), the rest zero, so that it gives exactly zero.

        They take the device and dtype of ``like``, a parameter of the backbone nearby.
        """
        down = nn.Linear(hidden_size, r, device=like.device, dtype=like.dtype)
        up = nn.Linear(r, hidden_size, device=like.device, dtype=like.dtype)
        nn.init.normal_(down.weight, std=INITIAL_STD)
        for parameter in (down.bias, up.weight, up.bias):
            nn.init.zeros_(parameter)
        self.iaa_down[name], self.iaa_up[name] = down, up
        self.scalings[name] = config.scaling
        self.activations[name] = ACT2FN[config.activation]
        self.dropouts[name] = config.dropout

    def delta(self, x: Tensor) -> Tensor | None:
        """What the active adapters add, of the shape of ``x``; None where none is active."""
        total = None
        for name in self.active_in(self.iaa_down):
            down, up = self.iaa_down[name], self.iaa_up[name]
            hidden = self.activations[name](down(self._cast_input_dtype(x, down.weight.dtype)))
            hidden = nn.functional.dropout(hidden, self.dropouts[name], self.training)
            part = self.scalings[name] * up(hidden)
            total = part if total is None else total + part
        return total

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> NoReturn:
        """Refuse: a bottleneck is not linear in its input."""
        refuse_merge()


class InsideBottleneck(nn.Module, Bottleneck):
    """Sequential: wraps the projection that ends a sub-layer, with output h, and gives ``h + B(h)``."""

    def __init__(self, base_layer: nn.Module, adapter_name: str) -> None:
        super().__init__()
        self.base_layer = base_layer
        self._start(adapter_name)

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.base_layer(x)
        delta = self.delta(h)
        return h if delta is None else h + delta.to(h.dtype)


class BottleneckPort(Port, Bottleneck):
    """Parallel: a branch ``B(x)`` beside its host, where x is the host's argument that ``tap`` names."""

    def __init__(self, tap: Tap, adapter_name: str) -> None:
        super().__init__()
        self.tap = tap
        self._start(adapter_name)

    def read(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
        """The branch's input among the arguments of the host's forward."""
        x: Tensor = kwargs[self.tap.keyword] if self.tap.keyword in kwargs else args[self.tap.position]
        return x

    def forward(self, x: Tensor) -> Tensor | None:
        return self.delta(x)
