"""Figure and table of update directions: cosine and ratio of norms along training and by layer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from iaa_retrieval.aligned_columns import aligned
from iaa_retrieval.analysis.figures import Drawing, Table, legend_beside, method_style, new_figure, render
from iaa_retrieval.analysis.hidden_states import ALL
from iaa_retrieval.analysis.step_directions import OPTIMISER, PLAIN, UPDATES
from iaa_retrieval.analysis.update_direction import Measured

HEADER = ("method", "step", "side", "layer", "update", "cosine", "norm_ratio")
_TITLES = {OPTIMISER: "step of the optimiser", PLAIN: "plain gradient step"}
_SIZE = (11.0, 7.0)  # inches
NOTE = """\
cosine: between the change of the hidden states of all real tokens and minus the gradient of the loss with respect to
them, on one batch of training examples, without dropout; 1 is the steepest descent in the space of hidden states.
ratio: length of that change over length of that gradient; of a step of the optimiser at its peak rate, and per unit
step along minus the gradient of the trained parameters.
mean: over the measured steps, of all layers together; a step at which nothing moved counts for none."""


def direction_table(measured: Sequence[Measured]) -> Table:
    """Every number that was measured."""
    return Table(HEADER, [(one.method, one.step, *one.direction) for one in measured])


def draw_directions(measured: Sequence[Measured]) -> Drawing:
    """Cosines of both updates: along training over all layers, and by layer as the mean over the measured steps."""
    steps = sorted({one.step for one in measured})
    with new_figure(*_SIZE) as figure:
        axes = figure.subplots(2, 2, sharey=True)
        for row, update in zip(axes, UPDATES, strict=True):
            chosen = [one for one in measured if one.direction.update == update and one.direction.side == ALL]
            for method, of_method in groupby(chosen, key=lambda one: one.method):
                rows = list(of_method)
                _along_training(row[0], method, [one for one in rows if one.direction.layer == ALL])
                _by_layer(row[1], method, [one for one in rows if one.direction.layer != ALL])
            row[0].set_xscale("symlog", linthresh=1, linscale=0.5)
            row[0].set_xticks(steps, labels=map(str, steps))
            row[0].set_xlim(left=-0.2)
            row[0].set(title=f"{_TITLES[update]}: all layers", xlabel="training steps taken", ylabel="cosine")
            row[1].set(title=f"{_TITLES[update]}: mean over the measured steps", xlabel="layer")
        legend_beside(figure, axes[0][0])
        return render(figure)


def _along_training(axes: Any, method: str, rows: Sequence[Measured]) -> None:
    points = [(one.step, one.direction.cosine) for one in rows if one.direction.cosine is not None]
    _plot(axes, method, points)


def _by_layer(axes: Any, method: str, rows: Sequence[Measured]) -> None:
    layers = sorted({int(one.direction.layer) for one in rows})
    means = [_mean([one.direction.cosine for one in rows if int(one.direction.layer) == layer]) for layer in layers]
    points = [(layer, mean) for layer, mean in zip(layers, means, strict=True) if mean is not None]
    _plot(axes, method, points)
    axes.set_xticks(layers)


def _plot(axes: Any, method: str, points: Sequence[tuple[int, float]]) -> None:
    if points:
        axes.plot(*zip(*points, strict=True), label=method, markersize=4, **method_style(method))


def summary_of(measured: Sequence[Measured]) -> str:
    """A table of one line per method, by the mean cosine of the optimiser's steps, with notes on how to read it."""
    methods = list(dict.fromkeys(one.method for one in measured))
    header = ("method", *(f"{update} {what}" for update in UPDATES for what in ("first", "last", "mean", "ratio")))
    lines = [header]
    for method in methods:
        cells: list[str] = [method]
        for update in UPDATES:
            rows = [
                one
                for one in measured
                if (one.method, one.direction.update, one.direction.side, one.direction.layer)
                == (method, update, ALL, ALL)
            ]
            cosines = [one.direction.cosine for one in rows]
            ratio = _mean([one.direction.norm_ratio for one in rows])
            cells += [*(_cell(value) for value in (cosines[0], cosines[-1], _mean(cosines))), _cell(ratio, "#.3g")]
        lines.append(tuple(cells))
    steps = sorted({one.step for one in measured})
    return f"{aligned(lines)}\n\nmeasured after steps: {', '.join(map(str, steps))}\n{NOTE}\n"


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _cell(value: float | None, form: str = ".4f") -> str:
    return "-" if value is None else format(value, form)
