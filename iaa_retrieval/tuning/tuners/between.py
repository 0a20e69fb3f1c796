"""Branches that read at one module and are added at another one, such as around a whole stack of layers.

What is read is kept from the first module to the second. Hooks find it on the module they are given, as in ``hooks``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from iaa_retrieval.tuning.architectures import Tap
from iaa_retrieval.tuning.tuners.bottleneck import BottleneckPort
from iaa_retrieval.tuning.tuners.hooks import ASIDE, PARALLEL, add_to_output, install

STACK = "stack_aside_port"  # an aside around the stack, beside one around the layer that ends it
_NO_TAP = Tap("", 0, "")


class _Kept(dict[torch.device, Tensor]):
    """What was read, for the two ends of a branch, by device, for DataParallel's replicas share it.

    A copy of the model shares one among its own ends, and starts empty.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> _Kept:
        return _Kept()

    def __reduce__(self) -> tuple[type[_Kept], tuple[()]]:
        return _Kept, ()


def add_output_to_input(first: nn.Module, last: nn.Module, adapter_name: str) -> BottleneckPort:
    """An aside from the output of ``first`` to the input of ``last``; the port is a child of ``last``."""
    return _between(first, _keep_output, last, _add_to_input, ASIDE, _NO_TAP, adapter_name)


def add_output_to_output(first: nn.Module, last: nn.Module, adapter_name: str) -> BottleneckPort:
    """An aside from the output of ``first`` to the output of ``last``, a layer, say, with an aside of its own."""
    return _between(first, _keep_output, last, _add_to_output, STACK, _NO_TAP, adapter_name)


def add_argument_to_input(source: nn.Module, tap: Tap, host: nn.Module, name: str, adapter_name: str) -> BottleneckPort:
    """A branch from the tapped argument of ``source`` to the input of ``host``."""
    return _between(source, partial(_keep_argument, tap=tap), host, _add_to_input, name, tap, adapter_name)


def add_argument_to_output(
    source: nn.Module, tap: Tap, host: nn.Module, name: str, adapter_name: str
) -> BottleneckPort:
    """A branch from the tapped argument of ``source`` to the output of ``host``."""
    return _between(source, partial(_keep_argument, tap=tap), host, _add_to_output, name, tap, adapter_name)


def remove_branches(module: nn.Module) -> None:
    """Undo what these functions did to ``module``, but for ports that ``hooks.remove_ports`` removes."""
    port = module._modules.get(STACK)
    if isinstance(port, BottleneckPort):
        port.remove_from(module, STACK)
    for name in (ASIDE, PARALLEL, STACK):
        module.__dict__.pop(_place(name), None)


def _place(name: str) -> str:
    return f"_kept_for_{name}"


def _between(
    source: nn.Module,
    keep: Callable[..., None],
    host: nn.Module,
    add: Callable[..., Any],
    name: str,
    tap: Tap,
    adapter_name: str,
) -> BottleneckPort:
    if name in host._modules:
        return host.get_submodule(name)  # type: ignore[return-value]
    port = install(host, name, tap, adapter_name, partial(_register, partial(add, name=name), add is _add_to_output))
    source.__dict__[_place(name)] = host.__dict__[_place(name)] = _Kept()
    hook = partial(keep, name=name)
    if keep is _keep_output:
        port.handles.append(source.register_forward_hook(hook))
    else:
        port.handles.append(source.register_forward_pre_hook(hook, with_kwargs=True))
    return port


def _register(hook: Callable[..., Any], after: bool, host: nn.Module) -> Any:
    # Before the hooks of transformers that record what the host returns, see ``hooks``.
    return host.register_forward_hook(hook, prepend=True) if after else host.register_forward_pre_hook(hook)


def _keep_output(module: nn.Module, args: tuple[Any, ...], output: Tensor, *, name: str) -> None:
    module.__dict__[_place(name)][output.device] = output


def _keep_argument(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, name: str, tap: Tap) -> None:
    x: Tensor = kwargs[tap.keyword] if tap.keyword in kwargs else args[tap.position]
    module.__dict__[_place(name)][x.device] = x


def _branch(host: nn.Module, name: str, device: torch.device) -> Tensor | None:
    kept = host.__dict__[_place(name)]
    # A layer that is checkpointed runs again in the backward pass, when what is before the layers does not.
    again = name == STACK and host.training and getattr(host, "gradient_checkpointing", False)
    x = kept[device] if again else kept.pop(device)
    delta: Tensor | None = host.get_submodule(name)(x)
    return delta


def _add_to_input(host: nn.Module, args: tuple[Tensor, ...], *, name: str) -> tuple[Tensor, ...]:
    return (add_to_output(args[0], _branch(host, name, args[0].device)), *args[1:])


def _add_to_output(host: nn.Module, args: tuple[Any, ...], output: Any, *, name: str) -> Any:
    state = output if isinstance(output, Tensor) else output[0]
    return add_to_output(output, _branch(host, name, state.device))
