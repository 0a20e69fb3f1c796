"""Figure and table of loss surfaces: contours of all checkpoints on one scale of colours, and their sharpness."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from iaa_retrieval.aligned_columns import aligned
from iaa_retrieval.analysis.figures import Drawing, Table, new_figure, render
from iaa_retrieval.analysis.loss_surface import Surface

HEADER = ("checkpoint", "method", "a", "b", "loss")
_PANEL = (3.6, 3.4)  # inches
_PANELS_PER_ROW = 3
_LEVELS = 16


def surface_table(surfaces: Sequence[Surface]) -> Table:
    """The loss at every point of the grid; empty where it was not finite."""
    return Table(
        HEADER,
        [
            (one.checkpoint, one.method, a, b, loss)
            for one in surfaces
            for a, row in zip(one.grid.values, one.losses, strict=True)
            for b, loss in zip(one.grid.values, row, strict=True)
        ],
    )


def draw_surfaces(surfaces: Sequence[Surface]) -> Drawing:
    """One contour plot per checkpoint; the colours mean the same losses in all of them."""
    axis = surfaces[0].grid.values
    columns = min(_PANELS_PER_ROW, len(surfaces))
    rows = math.ceil(len(surfaces) / columns)
    levels = contour_levels([loss for one in surfaces for row in one.losses for loss in row if loss is not None])
    with new_figure(_PANEL[0] * columns + 1, _PANEL[1] * rows) as figure:
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flatten()
        filled: Any = None
        for panel, one in zip(panels, surfaces, strict=False):
            heights = [[math.nan if loss is None else loss for loss in row] for row in _transposed(one.losses)]
            filled = panel.contourf(axis, axis, heights, levels=levels, norm=_norm(levels))
            panel.contour(axis, axis, heights, levels=levels, colors="white", linewidths=0.5)
            panel.plot(0, 0, marker="+", color="white", markersize=9)
            panel.set(title=f"{one.method}, {one.parameters:,} trained", xlabel="first direction", aspect="equal")
            panel.grid(visible=False)
        for panel in panels[::columns]:
            panel.set_ylabel("second direction")
        for panel in panels[len(surfaces) :]:
            panel.set_visible(False)
        figure.colorbar(filled, ax=list(panels), label="loss", format="%.3g")
        return render(figure)


def contour_levels(losses: Sequence[float]) -> list[float]:
    """Levels from the lowest to the highest loss: at equal ratios, for losses are steep far out."""
    low, high = min(losses), max(losses)
    if not low < high:
        low, high = low - 0.5, low + 0.5  # flat: one colour
    if low > 0:
        ratio = (high / low) ** (1 / _LEVELS)
        levels = [low * ratio**number for number in range(_LEVELS)]
    else:
        levels = [low + (high - low) * number / _LEVELS for number in range(_LEVELS)]
    return [*levels, high]


def _norm(levels: Sequence[float]) -> Any:
    from matplotlib.colors import LogNorm, Normalize

    return (LogNorm if levels[0] > 0 else Normalize)(levels[0], levels[-1])


def _transposed(rows: Sequence[Sequence[float | None]]) -> list[tuple[float | None, ...]]:
    """Rows by the second direction, as contour plots take them: upwards."""
    return list(zip(*rows, strict=True))


def summary_of(surfaces: Sequence[Surface]) -> str:
    """One line per checkpoint, and what its numbers mean."""
    grid = surfaces[0].grid
    header = ["checkpoint", "method", "trained", "loss", "rise", "spread"]
    lines = [header + (["eigenvalue"] if grid.eigenvalue else [])]
    for one in surfaces:
        cells = [one.checkpoint, one.method, f"{one.parameters:,}"]
        cells += [_cell(one.loss), _cell(one.rise), _cell(one.spread)]
        if grid.eigenvalue:
            cells.append(_cell(one.eigenvalue) + ("" if one.converged else " (not converged)"))
        lines.append(cells)
    notes = [
        "loss: mean over the batches, without dropout.",
        f"rise: of the loss at {grid.radius:g} times a random direction as long, filter by filter, as the trained "
        f"weights themselves, and at\nminus that; mean and standard deviation (spread) over {grid.directions} "
        "directions.",
        "Directions are relative to the weights of each method; a method whose weights are small moves little.",
    ]
    if grid.eigenvalue:
        notes.append("eigenvalue: of the Hessian with respect to the trained weights, the largest in size.")
    lost = sum(loss is None for one in surfaces for row in one.losses for loss in row)
    if lost:
        notes.append(f"{lost} losses of the surfaces were not finite, and are empty.")
    return f"{aligned(lines)}\n\n" + "\n".join(notes) + "\n"


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:#.4g}"
