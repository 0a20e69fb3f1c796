"""What all our layers share: PEFT's state of a layer, and which adapters are active in it."""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn


class TunerLayer(BaseTunerLayer):  # type: ignore[misc]
    """A mix-in for modules that hold parameters by adapter name, in the containers of ``adapter_layer_names``.

    Only those containers may carry the tuner's prefix (``iaa_``, ``bitfit_``) in their name: transformers'
    ``load_adapter`` takes the first part of a name with the prefix for the container, and leaves what is deeper
    random.
    """

    def _start(self, adapter_name: str) -> None:
        self._active_adapter = adapter_name
        self._disable_adapters = False
        self.merged_adapters: list[str] = []

    def active_in(self, parts: nn.ModuleDict | nn.ParameterDict) -> list[str]:
        """Names of the active adapters that have an entry in ``parts``; none while adapters are disabled."""
        return [] if self.disable_adapters else [name for name in self.active_adapters if name in parts]

    def wrapped(self) -> Any:
        """The backbone's own module inside."""
        return self.get_base_layer()


class Port(nn.Module):
    """A child that a hook or subclass of its host calls; the host's own parts stay as they were."""

    def __init__(self) -> None:
        super().__init__()
        self.handles: list[torch.utils.hooks.RemovableHandle] = []

    # BaseTunerLayer's properties look for a wrapped layer and would recurse for ever without one.
    @property
    def weight(self) -> NoReturn:
        raise AttributeError("a port has no weight")

    @property
    def bias(self) -> NoReturn:
        raise AttributeError("a port has no bias")

    def remove_from(self, host: nn.Module, name: str) -> None:
        """Leave the host, whose child of that name this is, as it was."""
        for handle in self.handles:
            handle.remove()
        delattr(host, name)


class Replacing:
    """A mix-in for tuners: puts a module in place of another, and no more.

    PEFT's own also copies the old one's ``weight``, which a saved pooler or RoBERTa's classification head has not,
    so that a cross-encoder could neither be unloaded nor merged.
    """

    def _replace_module(self, parent: nn.Module, child_name: str, new_module: nn.Module, child: nn.Module) -> None:
        setattr(parent, child_name, new_module)


def float_parameter(module: nn.Module) -> Tensor:
    """A floating-point parameter of ``module``, whose device and dtype new parameters take."""
    return next((p for p in module.parameters() if p.is_floating_point()), torch.empty(0))


def refuse_merge() -> NoReturn:
    """Raise the error that says why our adapters have no merged form."""
    raise NotImplementedError(
        "IAA adapters (bottlenecks and prefixes: adapter, mam, prefix, iaa-s, iaa-l, iaa-m) cannot be merged "
        "into the backbone's weights, since what they add is not linear in the activations; use them unmerged"
    )
