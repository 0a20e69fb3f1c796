"""Charts as inline SVG, whose colours the page's style sheet sets for light and dark."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 540, 330
LEFT, RIGHT, TOP, BOTTOM = 52, 118, 14, 46
LABEL_GAP = 13  # between the baselines of two labels


class Point(NamedTuple):
    """A trained method: weights, score, and which group it is drawn as (``iaa``, ``baseline`` or ``full``)."""

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


def parameter_chart(points: Sequence[Point], levels: Sequence[Level], metric: str) -> str:
    """Effectiveness against the number of trained weights (logarithmic)."""
    exponents = (math.log10(min(p.x for p in points)) - 0.25, math.log10(max(p.x for p in points)) + 0.25)
    frame = _Frame(exponents, [p.y for p in points] + [level.y for level in levels])
    parts = [frame.grid(), frame.axis_titles("trained weights", metric)]
    for exponent in range(math.ceil(exponents[0]), math.floor(exponents[1]) + 1):
        parts.append(frame.x_tick(exponent, _power_of_ten(exponent)))
    for level in levels:
        parts.append(_level(frame.y(level.y), "level"))
        parts.append(_text(LEFT + 4, frame.y(level.y) - 4, level.label, "level-label"))
    parts += [_level(frame.y(point.y), "level full") for point in points if point.group == "full"]
    for column in _columns(points):
        parts += _labelled_column(frame, column)
    title = f"{metric} against trained weights"
    return _svg(title, parts)


def split_levels(points: Sequence[Point], levels: Sequence[Level]) -> tuple[list[Level], list[Level]]:
    """Levels to draw, and those so far off that drawing them would press the points together."""
    values = [point.y for point in points]
    margin = 0.5 * (max(values) - min(values))
    near = [level for level in levels if min(values) - margin <= level.y <= max(values) + margin]
    return near, [level for level in levels if level not in near]


def curve_chart(curves: Sequence[Curve], metric: str) -> str:
    """A value by training step, one line per method."""
    everything = [point for curve in curves for point in curve.points]
    frame = _Frame((0.0, max(x for x, _ in everything)), [y for _, y in everything])
    parts = [frame.grid(), frame.axis_titles("training step", metric)]
    for step in _nice_ticks(0.0, max(x for x, _ in everything)):
        parts.append(frame.x_tick(step, f"{step:g}"))
    ends = _spread([frame.y(curve.points[-1][1]) for curve in curves])
    for curve, label_y in zip(curves, ends, strict=True):
        path = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in curve.points)
        title = f"<title>{html.escape(curve.label)}</title>"
        parts.append(f'<polyline class="curve {curve.group}" points="{path}">{title}</polyline>')
        x, y = frame.x(curve.points[-1][0]), frame.y(curve.points[-1][1])
        parts.append(_leader(x, y, x + 8, label_y))
        parts.append(_text(x + 10, label_y + 4, curve.label, f"label {curve.group}"))
    return _svg(f"{metric} by training step", parts)


class _Frame:
    """The plotting area and its two scales."""

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

    def grid(self) -> str:
        parts = []
        for tick in _nice_ticks(*self.y_range):
            y = self.y(tick)
            parts.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>')
            parts.append(_text(LEFT - 7, y + 4, f"{tick:.3g}", "tick", "end"))
        return "".join(parts)

    def x_tick(self, value: float, label: str) -> str:
        x, y = self.x(value), HEIGHT - BOTTOM
        return f'<line class="axis" x1="{x:.1f}" y1="{y}" x2="{x:.1f}" y2="{y + 4}"/>' + _text(
            x, y + 17, label, "tick", "middle"
        )

    def axis_titles(self, x_title: str, y_title: str) -> str:
        bottom = HEIGHT - BOTTOM
        return (
            f'<line class="axis" x1="{LEFT}" y1="{bottom}" x2="{WIDTH - RIGHT}" y2="{bottom}"/>'
            + _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x_title, "title", "middle")
            + f'<g transform="translate(13 {(TOP + bottom) / 2}) rotate(-90)">'
            + _text(0, 0, y_title, "title", "middle")
            + "</g>"
        )


def _level(y: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>'


def _columns(points: Sequence[Point]) -> list[list[Point]]:
    """Points that lie so near to each other that one column of labels has to serve them."""
    columns: list[list[Point]] = []
    for point in sorted(points, key=lambda p: p.x):
        if columns and math.log10(point.x / columns[-1][0].x) < 0.5:
            columns[-1].append(point)
        else:
            columns.append([point])
    return columns


def _labelled_column(frame: _Frame, column: Sequence[Point]) -> list[str]:
    label_x = max(frame.x(math.log10(point.x)) for point in column) + 14
    parts = []
    for point, label_y in zip(column, _spread([frame.y(point.y) for point in column]), strict=True):
        x, y = frame.x(math.log10(point.x)), frame.y(point.y)
        title = f"<title>{html.escape(point.label)}: {point.y:.4g}, {point.x:,.0f} weights</title>"
        parts.append(_leader(x + 5, y, label_x - 2, label_y))
        parts.append(f'<circle class="point {point.group}" cx="{x:.1f}" cy="{y:.1f}" r="4.5">{title}</circle>')
        parts.append(_text(label_x, label_y + 4, point.label, f"label {point.group}"))
    return parts


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


def _leader(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="leader" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, content: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(content)}</text>'


def _svg(title: str, parts: Iterable[str]) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(title)}">'
        f"{''.join(parts)}</svg>"
    )
