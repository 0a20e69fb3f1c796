"""The loss as a function of the trained parameters, around where these are: a surface and how sharp it is.

Directions are filter-normalised (Li et al., Visualizing the Loss Landscape of Neural Nets, NeurIPS 2018): a normal
random direction is scaled, filter by filter, to the length of the filter that it moves, so that two networks are
compared in steps relative to their own weights. A filter is what makes one output number of a matrix: a row of a
weight matrix, be it a backbone's, a bottleneck's or one of LoRA's two factors, a row of an embedding table, or one
vector of a prefix. A vector (bias, layer normalisation, BitFit's difference) is one filter; the paper leaves these out,
which would leave nothing of BitFit. A filter that is zero does not move.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

Vector = list[Tensor]  # a point or direction: one tensor for each parameter


@dataclass(frozen=True)
class Landscape:
    """A loss and the parameters that it is a function of.

    Attributes:
        parameters: that are moved; nothing else is.
        losses: each gives the loss of a batch (a scalar, with a graph where gradients are kept) at the parameters as
            they are; the loss is their mean.
    """

    parameters: Sequence[nn.Parameter]
    losses: Sequence[Callable[[], Tensor]]

    @torch.no_grad()
    def loss(self) -> float:
        """The loss at the parameters as they are."""
        return math.fsum(loss().item() for loss in self.losses) / len(self.losses)


class Sharpness(NamedTuple):
    """The mean rise of the loss on a sphere of filter-normalised directions.

    Attributes:
        rise: mean over the directions d of ``(L(w + e d) + L(w - e d)) / 2 - L(w)`` at the radius e. This is the
            average-case adaptive sharpness of Andriushchenko et al. (A Modern Look at the Relationship between
            Sharpness and Generalization, ICML 2023) with filters in place of single weights, and both signs, so that
            the slope drops out.
        spread: standard deviation over the directions (of the sample); 0 of one.
        directions: how many.
    """

    rise: float
    spread: float
    directions: int


class Eigenvalue(NamedTuple):
    """The eigenvalue of the Hessian that is largest in size.

    Attributes:
        value: with its sign.
        iterations: products of the Hessian and a vector that were taken.
        converged: whether the last iteration changed it by less than the tolerance.
    """

    value: float
    iterations: int
    converged: bool


@contextmanager
def kept(parameters: Sequence[nn.Parameter]) -> Iterator[Vector]:
    """Yield the values of the parameters, and put them back to the bit at the end."""
    values = [parameter.detach().clone() for parameter in parameters]
    try:
        yield values
    finally:
        _move_to(parameters, values)


def filter_normalised(parameters: Sequence[nn.Parameter], generator: torch.Generator) -> Vector:
    """A random direction each of whose filters is as long as the parameters' own.

    Args:
        generator: on the CPU, so that the same seed gives the same direction on every device.
    """
    direction = []
    for parameter in parameters:
        noise = torch.randn(parameter.shape, generator=generator).to(parameter)
        rows = parameter.detach().flatten(1) if parameter.dim() > 1 else parameter.detach().reshape(1, -1)
        drawn = noise.reshape(rows.shape)
        scale = rows.norm(dim=1, keepdim=True) / drawn.norm(dim=1, keepdim=True)
        direction.append((drawn * scale).reshape(parameter.shape))
    return direction


def surface_row(landscape: Landscape, first: Vector, second: Vector, a: float, values: Sequence[float]) -> list[float]:
    """The losses at ``w + a first + b second`` for every b of ``values``."""
    with kept(landscape.parameters) as start:
        losses = []
        for b in values:
            _move_to(landscape.parameters, [w + a * d + b * e for w, d, e in zip(start, first, second, strict=True)])
            losses.append(landscape.loss())
    return losses


def mean_rise(landscape: Landscape, radius: float, count: int, generator: torch.Generator) -> Sharpness:
    """Sharpness at a radius, relative to the lengths of filters, over ``count`` random directions."""
    centre, rises = landscape.loss(), []
    with kept(landscape.parameters) as start:
        for _ in range(count):
            direction = filter_normalised(landscape.parameters, generator)
            both = []
            for step in (radius, -radius):
                _move_to(landscape.parameters, [w + step * d for w, d in zip(start, direction, strict=True)])
                both.append(landscape.loss())
            _move_to(landscape.parameters, start)
            rises.append(sum(both) / 2 - centre)
    return Sharpness(statistics.fmean(rises), statistics.stdev(rises) if count > 1 else 0.0, count)


def top_eigenvalue(
    landscape: Landscape, generator: torch.Generator, *, iterations: int = 50, tolerance: float = 1e-3
) -> Eigenvalue:
    """The Hessian's largest eigenvalue in size, by power iteration on exact products of Hessian and vector.

    It is taken with respect to the parameters as they are, not relative to their lengths, so that it compares networks
    with the same parameters only.
    """
    vector = [torch.randn(p.shape, generator=generator).to(p) for p in landscape.parameters]
    length = _dot(vector, vector) ** 0.5
    vector, value = [part / length for part in vector], math.nan
    for iteration in range(1, iterations + 1):
        product = hessian_product(landscape, vector)
        previous, value = value, _dot(vector, product)
        length = _dot(product, product) ** 0.5
        if length == 0 or abs(value - previous) <= tolerance * abs(value):
            return Eigenvalue(value, iteration, True)
        vector = [part / length for part in product]
    return Eigenvalue(value, iterations, False)


def hessian_product(landscape: Landscape, vector: Vector) -> Vector:
    """The Hessian of the loss times a vector, exactly: the gradient of the slope along the vector."""
    product = [torch.zeros_like(parameter) for parameter in landscape.parameters]
    wanted = list(landscape.parameters)
    with sdpa_kernel(SDPBackend.MATH):  # fused attention kernels have no second derivative
        for loss in landscape.losses:
            slopes = torch.autograd.grad(loss(), wanted, create_graph=True, materialize_grads=True)
            along = torch.stack([(slope * part).sum() for slope, part in zip(slopes, vector, strict=True)]).sum()
            if not along.requires_grad:  # a loss that is linear in them has no curvature
                continue
            parts = torch.autograd.grad(along, wanted, materialize_grads=True)
            for total, part in zip(product, parts, strict=True):
                total += part / len(landscape.losses)
    return product


@torch.no_grad()
def _move_to(parameters: Sequence[nn.Parameter], values: Vector) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)


def _dot(left: Vector, right: Vector) -> float:
    return math.fsum((a.double() * b.double()).sum().item() for a, b in zip(left, right, strict=True))
