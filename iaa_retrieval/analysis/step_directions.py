"""How a step moves the hidden states, against how they should move.

For the hidden states H of a layer and the loss L of a batch, the ideal direction is ``D = -dL/dH``: of all changes of
these numbers of one size, the one along D lowers the loss most (to first order). A step on the trained parameters
changes the states as the network allows; two such changes are compared with D:

- ``optimiser``: the states after one step of the training's optimiser on this very batch, minus the states before.
  Momentum, Adam's scaling, weight decay and clipping are part of it. The rate is the peak rate, so that the sizes of
  steps along a training can be compared; only the size of a change depends much on it.
- ``plain``: what an infinitesimal step along minus the gradient of the trained parameters changes, for a step of size
  1: ``J g`` with J the Jacobian of the states and ``g = -dL/dparameters``, computed exactly (forward-mode derivative).
  No optimiser is part of it, so that it shows the method alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from iaa_retrieval.analysis.hidden_states import ALL, PASSAGES, QUERIES, Pass, Places, recording, sides

OPTIMISER, PLAIN = "optimiser", "plain"
UPDATES = (OPTIMISER, PLAIN)

Extra = Callable[[], Tensor | None]
States = list[list[Tensor]]  # by pass and layer


class Direction(NamedTuple):
    """How one change of hidden states agrees with the ideal direction.

    Attributes:
        side: ``queries``, ``passages`` or ``all``; of cross-encoders ``all`` alone.
        layer: from ``1`` on, or ``all``.
        update: ``optimiser`` or ``plain``.
        cosine: between -1 and 1, over all numbers of all real tokens as one vector; None where nothing changed.
        norm_ratio: length of the change over length of the ideal direction; None where that is 0.
    """

    side: str
    layer: str
    update: str
    cosine: float | None
    norm_ratio: float | None


def step_directions(
    objective: nn.Module,
    inputs: Mapping[str, Tensor],
    places: Places,
    optimizer: Any,
    *,
    rate: float,
    max_norm: float | None = None,
    extra_loss: Extra = lambda: None,
) -> list[Direction]:
    """Measure one step on a batch, without dropout; afterwards everything is as it was, to the bit.

    Args:
        objective: gives ``{"loss": scalar}`` for ``inputs``; what requires a gradient in it is trained.
        places: where its hidden states are.
        optimizer: a torch optimiser of the trained parameters, in whatever state (possibly wrapped by accelerate).
        rate: of its step.
        max_norm: the gradient is clipped to this length; None leaves it.
        extra_loss: a term that the optimiser's loss has besides, which does not depend on hidden states.
    """
    with undisturbed(objective, optimizer):
        objective.eval()
        passes, ideal, gradients = _gradients(objective, inputs, places)
        plain = _plain_change(objective, inputs, places, gradients)
        after = _after_step(objective, inputs, places, optimizer, gradients, rate, max_norm, extra_loss)
        moved = [
            [new - old for new, old in zip(states, one.states, strict=True)]
            for states, one in zip(after, passes, strict=True)
        ]
    changes = {OPTIMISER: moved, PLAIN: plain}
    owners = sides(passes, inputs)
    return [
        direction
        for update in UPDATES
        for direction in _agreements(update, [one.real for one in passes], owners, ideal, changes[update])
    ]


@contextmanager
def undisturbed(objective: nn.Module, optimizer: Any) -> Iterator[None]:
    """Whatever happens inside to parameters, gradients, optimiser, modes and random numbers is undone, to the bit."""
    inner = getattr(optimizer, "optimizer", optimizer)
    modes = [(module, module.training) for module in objective.modules()]
    parameters = [(p, p.grad, p.detach().clone()) for p in objective.parameters() if p.requires_grad]
    rates = [group["lr"] for group in inner.param_groups]
    state = inner.state
    # The optimiser works on copies of its state; its own tensors are not touched at all.
    copied = {p: {name: _copied(value) for name, value in entry.items()} for p, entry in state.items()}
    inner.state = type(state)(state.default_factory, copied)
    for parameter, _, _ in parameters:
        parameter.grad = None
    try:
        with torch.random.fork_rng():
            yield
    finally:
        inner.state = state
        for group, rate in zip(inner.param_groups, rates, strict=True):
            group["lr"] = rate
        with torch.no_grad():
            for parameter, gradient, value in parameters:
                parameter.copy_(value)
                parameter.grad = gradient
        for module, training in modes:
            module.training = training


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def trained_parameters(objective: nn.Module) -> dict[str, nn.Parameter]:
    """What a step moves, by name."""
    return {name: parameter for name, parameter in objective.named_parameters() if parameter.requires_grad}


def _gradients(
    objective: nn.Module, inputs: Mapping[str, Tensor], places: Places
) -> tuple[list[Pass], States, dict[str, Tensor]]:
    """The passes of a batch, the ideal directions in each, and the gradient of the loss by the trained parameters."""
    trained = trained_parameters(objective)
    with recording(places) as passes:
        loss = objective(**inputs)["loss"]
    states = [state for one in passes for state in one.states]
    wanted = [*states, *trained.values()]
    found = torch.autograd.grad(loss, wanted, allow_unused=True)
    filled = [torch.zeros_like(of) if one is None else one for of, one in zip(wanted, found, strict=True)]
    ideal, rest = [-one for one in filled[: len(states)]], filled[len(states) :]
    depth = len(places.layers)
    by_pass = [ideal[start : start + depth] for start in range(0, len(ideal), depth)]
    detached = [Pass(one.real, [state.detach() for state in one.states]) for one in passes]
    return detached, by_pass, dict(zip(trained, rest, strict=True))


def _after_step(
    objective: nn.Module,
    inputs: Mapping[str, Tensor],
    places: Places,
    optimizer: Any,
    gradients: Mapping[str, Tensor],
    rate: float,
    max_norm: float | None,
    extra_loss: Extra,
) -> States:
    """The hidden states after a step of the optimiser."""
    inner = getattr(optimizer, "optimizer", optimizer)
    trained = trained_parameters(objective)
    for name, parameter in trained.items():
        parameter.grad = gradients[name].clone()
    extra = extra_loss()
    if extra is not None:
        extra.backward()  # type: ignore[no-untyped-call]
    if max_norm is not None:
        nn.utils.clip_grad_norm_(trained.values(), max_norm)
    for group in inner.param_groups:
        group["lr"] = rate
    inner.step()
    with torch.no_grad(), recording(places) as passes:
        objective(**inputs)
    return [one.states for one in passes]


def _plain_change(
    objective: nn.Module, inputs: Mapping[str, Tensor], places: Places, gradients: Mapping[str, Tensor]
) -> States:
    """How fast the hidden states change along minus the gradient."""
    # Fused attention kernels have no forward-mode derivative.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), forward_ad.dual_level():
        moving = {
            name: forward_ad.make_dual(parameter.detach(), -gradients[name])  # type: ignore[no-untyped-call]
            for name, parameter in trained_parameters(objective).items()
        }
        with recording(places) as passes:
            functional_call(objective, moving, kwargs=dict(inputs))
        return [[_tangent(state) for state in one.states] for one in passes]


def _tangent(state: Tensor) -> Tensor:
    value, tangent = forward_ad.unpack_dual(state)  # type: ignore[no-untyped-call]
    return torch.zeros_like(value) if tangent is None else tangent


def _agreements(
    update: str, real: Sequence[Tensor], owners: Sequence[str], ideal: States, changes: States
) -> Iterator[Direction]:
    """One row per side and layer, and for each of them overall."""
    depth = len(ideal[0])
    present = [side for side in (QUERIES, PASSAGES) if side in owners]
    layers = [*map(str, range(1, depth + 1)), ALL]
    sums = {(side, layer): torch.zeros(3, dtype=torch.float64) for side in (*present, ALL) for layer in layers}
    for mask, owner, wanted, actual in zip(real, owners, ideal, changes, strict=True):
        for number, (towards, change) in enumerate(zip(wanted, actual, strict=True), start=1):
            a, b = towards[mask].double().flatten(), change[mask].double().flatten()
            products = torch.stack((a @ b, a @ a, b @ b)).cpu()
            for side in {owner, ALL}:
                for layer in (str(number), ALL):
                    sums[side, layer] += products
    for (side, layer), products in sums.items():
        inner, ideal_square, change_square = products.tolist()
        ideal_norm, change_norm = math.sqrt(ideal_square), math.sqrt(change_square)
        yield Direction(
            side,
            layer,
            update,
            inner / (ideal_norm * change_norm) if ideal_norm and change_norm else None,
            change_norm / ideal_norm if ideal_norm else None,
        )
