"""How many bytes the tensors take that a computation makes, while they live."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within it, counts the memory of every tensor that an operation makes, on any device, until it is freed.

    Gradients of parameters count only until they are handed over: there is one of each, however many texts there are.

    Args:
        known: tensors that are there before, which do not count.

    Attributes:
        now: bytes that live.
        peak: the most that lived at once.
    """

    def __init__(self, known: Iterable[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self.peak = 0
        self._sizes: Any = WeakIdKeyDictionary()  # type: ignore[no-untyped-call]
        for tensor in known:
            self._sizes[tensor.untyped_storage()] = [0]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return result

    def handed_over(self, parameter: torch.Tensor) -> None:
        """Leave out the gradient of a parameter, which is done with the backward pass."""
        if parameter.grad is not None and (entry := self._sizes.get(parameter.grad.untyped_storage())) is not None:
            self.now -= entry[0]
            entry[0] = 0

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage in self._sizes:
            return
        entry = self._sizes[storage] = [storage.nbytes()]
        self.now += entry[0]
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._freed, entry).atexit = False

    def _freed(self, entry: list[int]) -> None:
        self.now -= entry[0]


def bytes_of_pass(module: nn.Module, run: Any) -> tuple[int, int]:
    """What ``run``, a forward pass of ``module``, keeps for its gradient, and the most that lives until that is there.

    The gradients are thrown away, and random numbers are as if nothing had been drawn.

    Args:
        run: takes nothing, and returns a tensor that depends on the trained parameters.
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    gpus = {tensor.device for tensor in module.parameters() if tensor.device.type == "cuda"}
    with torch.random.fork_rng(devices=list(gpus)), torch.enable_grad():
        live = LiveBytes([*module.parameters(), *module.buffers()])
        untyped: list[Any] = trained
        hooks = [parameter.register_post_accumulate_grad_hook(live.handed_over) for parameter in untyped]
        with live:
            result = run()
            kept = live.now
            result.float().sum().backward()
            del result
    for hook in hooks:
        hook.remove()
    for parameter in trained:
        parameter.grad = None
    return kept, live.peak
