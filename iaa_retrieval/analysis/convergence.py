"""How fast methods learn: their loss and dev curves, and the steps that one needs to where another ends."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from iaa_retrieval.aligned_columns import aligned
from iaa_retrieval.analysis.curves import (
    Curve,
    best_of,
    common_steps,
    last_value,
    mean_curve,
    mean_height,
    smoothed,
    spread,
    spread_curve,
    step_down_to,
)
from iaa_retrieval.analysis.figures import Drawing, Table, legend_beside, method_style, new_figure, render
from iaa_retrieval.analysis.run_groups import RunGroup

SMOOTHING = 0.6
NEVER = "never"


@dataclass(frozen=True)
class Learning:
    """How one group of runs learnt; losses are smoothed where the name does not say otherwise.

    Attributes:
        group: the runs.
        steps: the last step that all of its runs logged.
        loss: mean over the runs by step, as logged.
        smoothed_loss: mean over the runs by step.
        loss_spread: sample standard deviation of the smoothed loss over the runs; empty of one run.
        final_loss: the mean at the last step.
        final_loss_spread: over the runs; None of one run.
        mean_loss: area under the mean of the logged losses, up to the last step that all groups have, per step; None
            where that is less than two logged values.
        dev: mean score of the dev queries over the runs by step; empty where a run has none.
        dev_spread: sample standard deviation over the runs.
        best_dev: mean over the runs of the best score of each; None without dev scores.
        best_dev_spread: over the runs; None of one run.
        best_dev_steps: where each run was best.
        reached: label of another group -> the first logged step from which on the mean loss stays at that group's final
            loss or below; None where it ends above.
    """

    group: RunGroup
    steps: int
    loss: Curve
    smoothed_loss: Curve
    loss_spread: Curve
    final_loss: float
    final_loss_spread: float | None
    mean_loss: float | None
    dev: Curve
    dev_spread: Curve
    best_dev: float | None
    best_dev_spread: float | None
    best_dev_steps: tuple[int, ...]
    reached: Mapping[str, int | None]


@dataclass(frozen=True)
class Convergence:
    """The learning of all groups.

    Attributes:
        groups: in the order they were given.
        metric: of the dev scores.
        smoothing: the weight of the exponential moving average (see ``curves.smoothed``).
        notes: what was left out, one sentence each.
    """

    groups: tuple[Learning, ...]
    metric: str
    smoothing: float
    notes: tuple[str, ...]


def convergence(groups: Sequence[RunGroup], metric: str = "nDCG@10", smoothing: float = SMOOTHING) -> Convergence:
    """Compare how groups of runs learn.

    Args:
        groups: of runs on the same task (see ``learning_runs.require_same_task``).
        metric: which dev score.
        smoothing: from 0, none, to below 1.

    Returns:
        Curves and numbers of each group.
    """
    smooth = [[smoothed(run.loss, smoothing) for run in group.runs] for group in groups]
    means = {group.label: mean_curve(curves) for group, curves in zip(groups, smooth, strict=True)}
    until = min(max(curve) for curve in means.values())
    ends = {label: last_value(curve) for label, curve in means.items()}
    notes: list[str] = []
    found = []
    for group, curves in zip(groups, smooth, strict=True):
        notes += _notes(group, metric)
        mean = means[group.label]
        dev = _dev(group, metric)
        best = [best_of(run.dev[metric]) for run in group.runs] if dev else []
        found.append(
            Learning(
                group=group,
                steps=max(mean),
                loss=mean_curve([run.loss for run in group.runs]),
                smoothed_loss=mean,
                loss_spread=spread_curve(curves),
                final_loss=ends[group.label],
                final_loss_spread=spread([curve[max(mean)] for curve in curves]),
                mean_loss=mean_height(mean_curve([run.loss for run in group.runs]), until),
                dev=mean_curve(dev) if dev else {},
                dev_spread=spread_curve(dev) if dev else {},
                best_dev=statistics.fmean(score for _, score in best) if best else None,
                best_dev_spread=spread([score for _, score in best]) if best else None,
                best_dev_steps=tuple(step for step, _ in best),
                reached={label: step_down_to(mean, end) for label, end in ends.items() if label != group.label},
            )
        )
    return Convergence(tuple(found), metric, smoothing, tuple(notes))


def _dev(group: RunGroup, metric: str) -> list[Curve]:
    """The dev curves of a group's runs; none where one of them has none."""
    curves = [run.dev.get(metric, {}) for run in group.runs]
    return curves if all(curves) else []


def _notes(group: RunGroup, metric: str) -> list[str]:
    notes = []
    lengths = {max(run.loss) for run in group.runs}
    if len(lengths) > 1:
        last = max(common_steps([run.loss for run in group.runs]))
        notes.append(
            f"{group.label}: its runs end at steps {', '.join(map(str, sorted(lengths)))}; "
            f"means are over the steps that all have, to {last}"
        )
    without = [run.source for run in group.runs if metric not in run.dev]
    if without and len(without) < len(group.runs):
        notes.append(f"{group.label}: no dev curve, since {', '.join(without)} has no dev {metric}")
    elif without:
        notes.append(f"{group.label}: no dev {metric}")
    return notes


def convergence_table(found: Convergence) -> Table:
    """A row for each group: the numbers of ``Learning``."""
    header = ("label", "method", "runs", "steps", "final loss", "final loss sd", "mean loss to the common end")
    rows = [
        (
            one.group.label,
            one.group.method,
            len(one.group.runs),
            one.steps,
            one.final_loss,
            one.final_loss_spread,
            one.mean_loss,
            one.best_dev,
            one.best_dev_spread,
            " ".join(map(str, one.best_dev_steps)),
        )
        for one in found.groups
    ]
    return Table((*header, f"best dev {found.metric}", f"best dev {found.metric} sd", "steps of the best"), rows)


def reached_table(found: Convergence) -> Table:
    """Rows and columns are groups: the step from which on the row is at the final loss of the column or below."""
    labels = [one.group.label for one in found.groups]
    rows = [
        (
            one.group.label,
            *("" if name == one.group.label else NEVER if one.reached[name] is None else one.reached[name]
              for name in labels),
        )
        for one in found.groups
    ]  # fmt: skip
    return Table(("steps to the final loss of", *labels), rows)


def curves_table(found: Convergence) -> Table:
    """What each run logged, and its smoothed loss: one row for each number."""
    rows: list[tuple[str | float | int | None, ...]] = []
    for one in found.groups:
        for run in one.group.runs:
            series = {
                "loss": run.loss,
                "smoothed loss": smoothed(run.loss, found.smoothing),
                f"dev {found.metric}": run.dev.get(found.metric, {}),
            }
            rows += [
                (one.group.label, run.method, run.seed, quantity, step, value)
                for quantity, curve in series.items()
                for step, value in curve.items()
            ]
    return Table(("label", "method", "seed", "quantity", "step", "value"), rows)


def convergence_text(found: Convergence) -> str:
    """Both tables and the notes, for readers."""
    numbers = [["", "runs", "steps", "final loss", "mean loss", f"best dev {found.metric}", "at step"]]
    for one in found.groups:
        numbers.append(
            [
                one.group.label,
                str(len(one.group.runs)),
                str(one.steps),
                _with_spread(one.final_loss, one.final_loss_spread),
                _with_spread(one.mean_loss, None),
                _with_spread(one.best_dev, one.best_dev_spread),
                _range(one.best_dev_steps),
            ]
        )
    parts = [aligned(numbers)]
    if len(found.groups) > 1:
        reached = reached_table(found)
        parts.append(aligned([list(reached.header), *([str(cell) for cell in row] for row in reached.rows)]))
    parts.append("\n".join(_explained(found) + list(found.notes)))
    return "\n\n".join(parts)


def _explained(found: Convergence) -> list[str]:
    until = min(one.steps for one in found.groups)
    return [
        f"Losses are smoothed by an exponential moving average of weight {found.smoothing:g} per logged value, without "
        "favour for the first; the mean loss is the area under the logged losses, "
        f"up to step {until}, per step.",
        "A final loss is reached at the logged step from which on the other's mean loss stays at it or below.",
        "Behind +- stands the sample standard deviation over runs that differ in their seed.",
    ]


def _with_spread(value: float | None, deviation: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if deviation is None else f"{value:.4f} +- {deviation:.4f}"


def _range(steps: Sequence[int]) -> str:
    if not steps:
        return "-"
    return str(min(steps)) if len(set(steps)) == 1 else f"{min(steps)}-{max(steps)}"


def draw_convergence(found: Convergence) -> Drawing:
    """Three panels (two without dev scores) over the steps: loss as logged, smoothed, dev score; bands show spread."""
    panels: list[tuple[str, Callable[[Learning], tuple[Curve, Curve]]]] = [
        ("training loss, as logged", lambda one: (one.loss, {})),
        ("training loss, smoothed", lambda one: (one.smoothed_loss, one.loss_spread)),
    ]
    if any(one.dev for one in found.groups):
        panels.append((f"dev {found.metric}", lambda one: (one.dev, one.dev_spread)))
    with new_figure(4.2 * len(panels) + 1.8, 3.6) as figure:
        all_axes = figure.subplots(1, len(panels))
        for axes, (title, curves_of) in zip(all_axes, panels, strict=True):
            for one in found.groups:
                _draw_curve(axes, one, *curves_of(one))
            axes.set_xlabel("optimiser step")
            axes.set_ylabel(title)
            axes.set_xlim(left=0)
        bands = any(one.loss_spread for one in found.groups)
        legend_beside(figure, all_axes[0], "band: one standard deviation over seeds" if bands else None)
        return render(figure)


def _draw_curve(axes: Any, one: Learning, curve: Curve, deviation: Curve) -> None:
    style = method_style(one.group.method, one.group.variant)
    count = len(one.group.runs)
    label = one.group.label + (f" (mean of {count})" if count > 1 else "")
    steps = list(curve)
    every = max(1, len(steps) // 15)  # with a marker at each value, long lines would be all markers
    axes.plot(steps, list(curve.values()), label=label, markersize=3, markevery=every, linewidth=1.3, **style)
    if deviation:
        low = [curve[step] - deviation[step] for step in steps]
        high = [curve[step] + deviation[step] for step in steps]
        axes.fill_between(steps, low, high, color=style["color"], alpha=0.15, linewidth=0)
