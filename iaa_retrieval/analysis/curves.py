"""Arithmetic of learning curves: smoothing, means and spreads over seeds, areas, and when a value is reached."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise

Curve = Mapping[int, float]
"""What was logged at each optimiser step, in the order of the steps."""


def smoothed(curve: Curve, weight: float) -> dict[int, float]:
    """An exponential moving average that does not favour the first value.

    After ``n`` values ``x`` it is ``sum(weight**(n-i) * x_i) / sum(weight**(n-i))``: a mean of all values so far in
    which each counts ``weight`` times as much as the one after it.

    Args:
        curve: as it was logged.
        weight: from 0 (no smoothing) to below 1.

    Returns:
        A value for every step of ``curve``.
    """
    total = share = 0.0
    averages = {}
    for step, value in curve.items():
        total = weight * total + value
        share = weight * share + 1
        averages[step] = total / share
    return averages


def common_steps(curves: Sequence[Curve]) -> list[int]:
    """The steps that all curves have a value for."""
    return sorted(set(curves[0]).intersection(*curves[1:]))


def mean_curve(curves: Sequence[Curve]) -> dict[int, float]:
    """The mean over curves at every step that all of them have."""
    return {step: statistics.fmean(curve[step] for curve in curves) for step in common_steps(curves)}


def spread(values: Sequence[float]) -> float | None:
    """Sample standard deviation; None of a single value."""
    return statistics.stdev(values) if len(values) > 1 else None


def spread_curve(curves: Sequence[Curve]) -> dict[int, float]:
    """The sample standard deviation over curves at every step that all of them have; empty of a single curve."""
    if len(curves) < 2:
        return {}
    return {step: statistics.stdev(curve[step] for curve in curves) for step in common_steps(curves)}


def mean_height(curve: Curve, last: int) -> float | None:
    """The area under a curve (trapezoids) from its first step to ``last``, divided by the number of these steps.

    Args:
        curve: between two of its steps it is a straight line.
        last: the step to stop at; beyond the curve's end, its end.

    Returns:
        In the unit of the curve's values; None where fewer than two steps remain.
    """
    steps = [step for step in curve if step <= last]
    if len(steps) < 2:
        return None
    area = sum((after - before) * (curve[before] + curve[after]) / 2 for before, after in pairwise(steps))
    return area / (steps[-1] - steps[0])


def step_down_to(curve: Curve, value: float) -> int | None:
    """The first step from which on a curve stays at ``value`` or below; None where it ends above.

    A dip on the way does not count, such as that of the first batches, before the learning rate has warmed up.
    """
    first = None
    for step in sorted(curve, reverse=True):
        if curve[step] > value:
            break
        first = step
    return first


def last_value(curve: Curve) -> float:
    """The value at the last step."""
    return curve[max(curve)]


def best_of(curve: Curve) -> tuple[int, float]:
    """The step of the highest value, of equals the first, and that value."""
    step = max(curve, key=lambda at: curve[at])
    return step, curve[step]
