"""Charts as inline SVG, whose colours the page's style sheet sets for light and dark.

Where things stand is worked out here, and drawn in ``templates/``; a template of a page takes a chart as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from iaa_retrieval.reproduction.pages.markup import render

WIDTH, HEIGHT = 540, 330
LEFT, RIGHT, TOP, BOTTOM = 52, 118, 14, 46
LABEL_GAP = 13  # between the baselines of two labels
_AREA = {
    "width": WIDTH,
    "height": HEIGHT,
    "left": LEFT,
    "right": WIDTH - RIGHT,
    "top": TOP,
    "bottom": HEIGHT - BOTTOM,
}


class Point(NamedTuple):
    """A trained method: weights, score, and which group it is drawn as (``subject``, ``baseline`` or ``full``)."""

    label: str
    group: str
    x: float
    y: float


class Level(NamedTuple):
    """A horizontal line: a method that trains nothing."""

    label: str
    y: float


class Curve(NamedTuple):
    """One method's values by training step."""

    label: str
    group: str
    points: list[tuple[float, float]]


class _Frame(NamedTuple):
    """What stands around a drawing: places and labels of the ticks, and the titles of the axes."""

    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    x_title: str
    y_title: str


class _Dot(NamedTuple):
    """A point, its label, and what is said when the pointer rests on it."""

    x: float
    y: float
    label: str
    label_x: float
    label_y: float
    group: str
    title: str


class _Line(NamedTuple):
    """A curve, its end, and the height of its label."""

    path: list[tuple[float, float]]
    x: float
    y: float
    label: str
    label_y: float
    group: str


def parameter_chart(points: Sequence[Point], levels: Sequence[Level], metric: str) -> str:
    """Effectiveness against the number of trained weights (logarithmic), as SVG."""
    low, high = (math.log10(min(p.x for p in points)) - 0.25, math.log10(max(p.x for p in points)) + 0.25)
    scale = _Scale((low, high), [p.y for p in points] + [level.y for level in levels])
    ticks = [(scale.x(power), _power_of_ten(power)) for power in range(math.ceil(low), math.floor(high) + 1)]
    return render(
        "parameter_chart.svg.jinja",
        area=_AREA,
        frame=_Frame(ticks, scale.y_ticks(), "trained weights", metric),
        title=f"{metric} against trained weights",
        levels=[(scale.y(level.y), level.label) for level in levels],
        full=[scale.y(point.y) for point in points if point.group == "full"],
        dots=[dot for column in _columns(points) for dot in _labelled_column(scale, column)],
    )


def split_levels(points: Sequence[Point], levels: Sequence[Level]) -> tuple[list[Level], list[Level]]:
    """Levels to draw, and those so far off that drawing them would press the points together."""
    values = [point.y for point in points]
    margin = 0.5 * (max(values) - min(values))
    near = [level for level in levels if min(values) - margin <= level.y <= max(values) + margin]
    return near, [level for level in levels if level not in near]


def curve_chart(curves: Sequence[Curve], metric: str) -> str:
    """A value by training step, one line per method, as SVG."""
    everything = [point for curve in curves for point in curve.points]
    last = max(x for x, _ in everything)
    scale = _Scale((0.0, last), [y for _, y in everything])
    label_heights = _spread([scale.y(curve.points[-1][1]) for curve in curves])
    lines = []
    for curve, label_y in zip(curves, label_heights, strict=True):
        path = [(scale.x(x), scale.y(y)) for x, y in curve.points]
        lines.append(_Line(path, *path[-1], curve.label, label_y, curve.group))
    ticks = [(scale.x(step), f"{step:g}") for step in _nice_ticks(0.0, last)]
    return render(
        "curve_chart.svg.jinja",
        area=_AREA,
        frame=_Frame(ticks, scale.y_ticks(), "training step", metric),
        title=f"{metric} by training step",
        curves=lines,
    )


class _Scale:
    """From values to places in the plotting area."""

    def __init__(self, x_range: tuple[float, float], values: Iterable[float]) -> None:
        values = list(values)
        margin = (max(values) - min(values)) * 0.08 or 0.01
        self.x_range = x_range
        self.y_range = (min(values) - margin, max(values) + margin)

    def x(self, value: float) -> float:
        low, high = self.x_range
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def y_ticks(self) -> list[tuple[float, str]]:
        """Heights of round values, and how these are written."""
        return [(self.y(tick), f"{tick:.3g}") for tick in _nice_ticks(*self.y_range)]


def _columns(points: Sequence[Point]) -> list[list[Point]]:
    """Points that lie so near to each other that one column of labels has to serve them."""
    columns: list[list[Point]] = []
    for point in sorted(points, key=lambda p: p.x):
        if columns and math.log10(point.x / columns[-1][0].x) < 0.5:
            columns[-1].append(point)
        else:
            columns.append([point])
    return columns


def _labelled_column(scale: _Scale, column: Sequence[Point]) -> list[_Dot]:
    label_x = max(scale.x(math.log10(point.x)) for point in column) + 14
    dots = []
    for point, label_y in zip(column, _spread([scale.y(point.y) for point in column]), strict=True):
        x, y = scale.x(math.log10(point.x)), scale.y(point.y)
        title = f"{point.label}: {point.y:.4g}, {point.x:,.0f} weights"
        dots.append(_Dot(x, y, point.label, label_x, label_y, point.group, title))
    return dots


def _spread(wanted: Sequence[float]) -> list[float]:
    """Heights near the wanted ones that are at least ``LABEL_GAP`` apart and inside the plotting area."""
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    placed = [0.0] * len(wanted)
    floor = float(TOP)
    for index in order:
        placed[index] = max(wanted[index], floor)
        floor = placed[index] + LABEL_GAP
    ceiling = float(HEIGHT - BOTTOM - 4)
    for index in reversed(order):
        placed[index] = min(placed[index], ceiling)
        ceiling = placed[index] - LABEL_GAP
    # Half way back towards where they were wanted, where there is room above.
    for position, index in enumerate(order):
        above = placed[order[position - 1]] + LABEL_GAP if position else float(TOP)
        placed[index] = max(above, min(placed[index], wanted[index]))
    return placed


def _nice_ticks(low: float, high: float) -> list[float]:
    """Four to eight round numbers in the range."""
    rough = (high - low) / 6
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first = math.ceil(low / step)
    return [round(number * step, 10) for number in range(first, math.floor(high / step) + 1)]


def _power_of_ten(exponent: int) -> str:
    value = 10**exponent
    return f"{value // 10**6}M" if value >= 10**6 else f"{value // 1000}K" if value >= 1000 else str(value)
