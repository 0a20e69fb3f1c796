"""Hooks that add a port's branch to its host, and the installation and removal of both.

The hooks are functions of this module that find the port on the module they are given, so that copy.deepcopy,
pickle and DataParallel replicas use their own port, never the original's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from iaa_retrieval.tuning.architectures import Tap
from iaa_retrieval.tuning.tuners.bottleneck import BottleneckPort

ASIDE = "aside_port"
PARALLEL = "parallel_port"


def add_to_output(output: Any, delta: Tensor | None) -> Any:
    """Add ``delta`` to what a layer (tensor), MPNet's layer (tuple) or an encoder (ModelOutput) returned."""
    if delta is None:
        return output
    if isinstance(output, Tensor):
        return output + delta.to(output.dtype)
    if isinstance(output, tuple):
        return (add_to_output(output[0], delta), *output[1:])
    output.last_hidden_state = add_to_output(output.last_hidden_state, delta)
    if output.get("hidden_states"):  # an encoder that collects them by hand, as MPNet's does
        output.hidden_states = (*output.hidden_states[:-1], output.last_hidden_state)
    return output


def _aside_hook(host: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> Any:
    port: BottleneckPort = host.get_submodule(ASIDE)  # type: ignore[assignment]
    return add_to_output(output, port(port.read(args, kwargs)))


def _parallel_hook(host: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> Any:
    port: BottleneckPort = host.get_submodule(PARALLEL)  # type: ignore[assignment]
    return add_to_output(output, port(port.read(args, kwargs)))


def _parallel_residual_hook(host: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """LN(dense(h) + a + B(a)): adding B(a) to the host's residual input a equals adding it to dense(h)."""
    port: BottleneckPort = host.get_submodule(PARALLEL)  # type: ignore[assignment]
    a = port.read(args, kwargs)
    delta = port(a)
    if delta is None:
        return None
    a = a + delta.to(a.dtype)
    position, keyword = port.tap.position, port.tap.keyword
    if keyword in kwargs:
        return args, {**kwargs, keyword: a}
    return (*args[:position], a, *args[position + 1 :]), kwargs


def install_aside(host: nn.Module, tap: Tap, adapter_name: str) -> BottleneckPort:
    """The host's aside port, whose branch is added to the host's output; made where there is none."""
    return install(host, ASIDE, tap, adapter_name, _after(_aside_hook))


def install_parallel(host: nn.Module, tap: Tap, by_residual: bool, adapter_name: str) -> BottleneckPort:
    """The port parallel to the feed-forward block that ``host`` is (or, by its residual input, ends)."""
    register = _before(_parallel_residual_hook) if by_residual else _after(_parallel_hook)
    return install(host, PARALLEL, tap, adapter_name, register)


def install(
    host: nn.Module, name: str, tap: Tap, adapter_name: str, register: Callable[[nn.Module], Any]
) -> BottleneckPort:
    """The host's port of that name, made where there is none; ``register`` then puts its hook on the host."""
    if name not in host._modules:
        port = BottleneckPort(tap, adapter_name)
        port.handles.append(register(host))
        host.add_module(name, port)
    return host.get_submodule(name)  # type: ignore[return-value]


def _before(hook: Callable[..., Any]) -> Callable[[nn.Module], Any]:
    return lambda host: host.register_forward_pre_hook(hook, with_kwargs=True)


def _after(hook: Callable[..., Any]) -> Callable[[nn.Module], Any]:
    # First in line: transformers installs hooks that record hidden states lazily, and they must see our sum.
    return lambda host: host.register_forward_hook(hook, with_kwargs=True, prepend=True)


def remove_ports(module: nn.Module) -> None:
    """Undo every ``install_*`` on ``module``."""
    for name in (ASIDE, PARALLEL):
        port = module._modules.get(name)
        if isinstance(port, BottleneckPort):
            port.remove_from(module, name)
