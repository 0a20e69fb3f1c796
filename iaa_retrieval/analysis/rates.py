"""How sensitive methods are to the learning rate: the plateau of rates that are as good as the best, and the losses."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from iaa_retrieval.aligned_columns import aligned
from iaa_retrieval.analysis.figures import (
    Drawing,
    Table,
    legend_beside,
    logarithmic_x,
    method_style,
    new_figure,
    render,
)
from iaa_retrieval.analysis.rate_trials import RateTrial
from iaa_retrieval.analysis.run_groups import key_of, labels_of
from iaa_retrieval.errors import IaaRetrievalError, UsageError

WITHIN = 0.01


@dataclass(frozen=True)
class Tried:
    """One rate of a method.

    Attributes:
        rate: the peak learning rate.
        scores: dev score of each run that did not diverge.
        diverged: how many runs did.
    """

    rate: float
    scores: tuple[float, ...]
    diverged: int

    @property
    def score(self) -> float | None:
        """Mean over the runs; None where one of them diverged, since such a rate cannot be relied on."""
        return None if self.diverged else statistics.fmean(self.scores)


@dataclass(frozen=True)
class Plateau:
    """The tried rates next to the best, without a gap, that are as good within a share of the best score.

    Attributes:
        lowest: rate.
        highest: rate.
        open_below: the lowest rate that was tried belongs to it, so that it may go on.
        open_above: likewise the highest.
    """

    lowest: float
    highest: float
    open_below: bool
    open_above: bool

    @property
    def decades(self) -> float:
        """Its width, as the logarithm (base 10) of the ratio of its ends; at least so much where it is open."""
        return math.log10(self.highest / self.lowest)


@dataclass(frozen=True)
class RateCurve:
    """What one method's dev score is at each rate.

    Attributes:
        label: what figures and tables call it.
        method: its name.
        tried: by rising rate.
        best: rate of the highest score, of equals the lowest; None where every rate diverged.
        plateau: around it.
        below: rates whose score is below the reference; None without a reference.
        variant: its number among those of the method.
    """

    label: str
    method: str
    tried: tuple[Tried, ...]
    best: Tried | None
    plateau: Plateau | None
    below: int | None
    variant: int = 0

    @property
    def diverged(self) -> int:
        """How many rates had a run that diverged."""
        return sum(one.diverged > 0 for one in self.tried)


@dataclass(frozen=True)
class Rates:
    """The curves of all methods.

    Attributes:
        curves: in the order they were given.
        metric: of the dev scores.
        within: the share of the best score that a rate of the plateau may lose.
        reference: the dev score without tuning; None where it is not known.
    """

    curves: tuple[RateCurve, ...]
    metric: str
    within: float
    reference: float | None


def rates(trials: Sequence[RateTrial], metric: str, within: float = WITHIN, reference: float | None = None) -> Rates:
    """Put trials together that differ in the rate (and seed) alone, and find the best rate and the plateau of each.

    Args:
        trials: of the same task.
        metric: of their scores.
        within: the share of the best score that a rate of the plateau may lose.
        reference: the dev score without tuning, from 0 to 1.

    Raises:
        UsageError: a run that diverged and fits several groups.
        IaaRetrievalError: no trials.
    """
    if not trials:
        raise IaaRetrievalError("no run tells a learning rate; name checkpoints, or a collection to try rates on")
    curves = []
    variants: dict[str, int] = {}
    for label, of_group in _grouped(trials).items():
        method = of_group[0].method
        variants[method] = variants.get(method, -1) + 1
        tried = _tried(of_group)
        scored = [(one, one.score) for one in tried if one.score is not None]
        best = max(scored, key=lambda pair: pair[1])[0] if scored else None
        below = None if reference is None else sum(score < reference for _, score in scored)
        curves.append(
            RateCurve(label, method, tried, best, _plateau(tried, best, within), below, variants[method])
        )  # fmt: skip
    return Rates(tuple(curves), metric, within, reference)


def _grouped(trials: Sequence[RateTrial]) -> dict[str, list[RateTrial]]:
    """Label -> trials; those that diverged go to the one group of their method."""
    groups: dict[str, list[RateTrial]] = {}
    for trial in trials:
        if trial.settings:
            groups.setdefault(key_of(trial), []).append(trial)
    labels = labels_of({key: of_group[0] for key, of_group in groups.items()})
    named = {labels[key]: of_group for key, of_group in groups.items()}
    of_methods: dict[str, list[str]] = {}
    for label, of_group in named.items():
        of_methods.setdefault(of_group[0].method, []).append(label)
    for trial in trials:
        if not trial.settings:
            fitting = of_methods.setdefault(trial.method, [trial.method])
            if len(fitting) > 1:
                raise UsageError(f"{trial.source} diverged and may belong to {' or '.join(fitting)}; show these apart")
            named.setdefault(fitting[0], []).append(trial)
    return named


def _tried(trials: Sequence[RateTrial]) -> tuple[Tried, ...]:
    scores: dict[float, list[float | None]] = {}
    for trial in trials:
        scores.setdefault(trial.rate, []).append(trial.score)
    return tuple(
        Tried(rate, tuple(score for score in found if score is not None), found.count(None))
        for rate, found in sorted(scores.items())
    )


def _plateau(tried: Sequence[Tried], best: Tried | None, within: float) -> Plateau | None:
    if best is None or best.score is None:
        return None
    enough = (1 - within) * best.score
    good = [one.score is not None and one.score >= enough for one in tried]
    first = last = tried.index(best)
    while first > 0 and good[first - 1]:
        first -= 1
    while last + 1 < len(tried) and good[last + 1]:
        last += 1
    return Plateau(tried[first].rate, tried[last].rate, first == 0, last + 1 == len(tried))


def rates_table(found: Rates) -> Table:
    """A row for each method: best rate, plateau, and how many rates fail."""
    header = ("label", "method", "rates", "best rate", f"best dev {found.metric}", "plateau from", "plateau to")
    rows = [
        (
            curve.label,
            curve.method,
            len(curve.tried),
            curve.best.rate if curve.best else None,
            curve.best.score if curve.best else None,
            curve.plateau.lowest if curve.plateau else None,
            curve.plateau.highest if curve.plateau else None,
            curve.plateau.decades if curve.plateau else None,
            _open_ends(curve.plateau),
            curve.diverged,
            curve.below,
        )
        for curve in found.curves
    ]
    return Table((*header, "plateau decades", "plateau open", "rates diverged", "rates below the reference"), rows)


def trials_table(found: Rates) -> Table:
    """A row for each rate: mean dev score, its spread, and how many runs diverged."""
    rows = [
        (
            curve.label,
            curve.method,
            one.rate,
            one.score,
            statistics.stdev(one.scores) if len(one.scores) > 1 else None,
            len(one.scores) + one.diverged,
            one.diverged,
        )
        for curve in found.curves
        for one in curve.tried
    ]
    return Table(("label", "method", "learning rate", f"dev {found.metric}", "sd", "runs", "runs diverged"), rows)


def rates_text(found: Rates) -> str:
    """The table and its definitions, for readers."""
    lines = [["", "rates", "best rate", f"dev {found.metric}", "plateau", "decades", "diverged", "below reference"]]
    for curve in found.curves:
        best, plateau = curve.best, curve.plateau
        lines.append(
            [
                curve.label,
                str(len(curve.tried)),
                f"{best.rate:g}" if best else "-",
                f"{best.score:.4f}" if best else "-",
                f"{plateau.lowest:g} to {plateau.highest:g}" if plateau else "-",
                (">= " if _open_ends(plateau) else "") + f"{plateau.decades:.2f}" if plateau else "-",
                str(curve.diverged),
                "-" if curve.below is None else str(curve.below),
            ]
        )
    reference = "not known" if found.reference is None else f"{found.reference:.4f}"
    said = [
        f"The plateau holds the tried rates next to the best whose dev {found.metric} is at most {found.within:.1%} "
        "lower than the best's; its width is in decades, and >= where it reaches the end of what was tried.",
        f"Reference, the dev {found.metric} without tuning: {reference}.",
    ]
    return "\n\n".join([aligned(lines), "\n".join(said)])


def _open_ends(plateau: Plateau | None) -> str:
    if plateau is None:
        return ""
    return " ".join([*(["below"] if plateau.open_below else []), *(["above"] if plateau.open_above else [])])


def draw_rates(found: Rates) -> Drawing:
    """Dev score over the rate on a logarithmic axis; thick where on the plateau, a cross at the bottom if diverged."""
    with new_figure(7.2, 4.0) as figure:
        axes = figure.subplots()
        for curve in found.curves:
            _draw_curve(axes, curve)
        if found.reference is not None:
            axes.axhline(found.reference, color="0.45", linestyle=(0, (5, 2)), linewidth=1, label="without tuning")
        logarithmic_x(axes, [one.rate for curve in found.curves for one in curve.tried])
        title = f"thick: within {found.within:.1%} of the best"
        if any(curve.diverged for curve in found.curves):
            _draw_diverged(axes, found.curves)
            title += "\nx: diverged"
        axes.set_xlabel("peak learning rate")
        axes.set_ylabel(f"dev {found.metric}")
        legend_beside(figure, axes, title)
        return render(figure)


def _draw_diverged(axes: Any, curves: Sequence[RateCurve]) -> None:
    """Crosses below all scores, in a row for each method, so that they do not hide each other."""
    failed = [curve for curve in curves if curve.diverged]
    low, high = axes.get_ylim()
    share = 0.05 * (len(failed) + 1)
    axes.set_ylim(low - (high - low) * share / (1 - share), high)
    for number, curve in enumerate(failed):
        lost = [one.rate for one in curve.tried if one.diverged]
        heights = [0.03 + 0.05 * number] * len(lost)
        colour = method_style(curve.method)["color"]
        axes.plot(lost, heights, "x", color=colour, transform=axes.get_xaxis_transform())


def _draw_curve(axes: Any, curve: RateCurve) -> None:
    style = method_style(curve.method, curve.variant)
    scored = [(one.rate, one.score) for one in curve.tried if one.score is not None]
    axes.plot(*zip(*scored, strict=True) if scored else ([], []), label=curve.label, markersize=4, **style)
    if curve.plateau:
        on = [(rate, score) for rate, score in scored if curve.plateau.lowest <= rate <= curve.plateau.highest]
        axes.plot(*zip(*on, strict=True), color=style["color"], linewidth=4, alpha=0.4, solid_capstyle="round")
