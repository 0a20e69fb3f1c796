"""What training costs, method by method: each in a process of its own, so that its peak of memory is its own."""

from __future__ import annotations

import json
import logging
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from iaa_retrieval.aligned_columns import aligned
from iaa_retrieval.analysis.figures import Drawing, Table, logarithmic_x, method_style, new_figure, render
from iaa_retrieval.analysis.training_cost import TrainingCost
from iaa_retrieval.errors import IaaRetrievalError, UsageError

LOG = logging.getLogger("iaa_retrieval")
MEBIBYTE = 2**20
_WORKER = "iaa_retrieval.analysis.cost_worker"


@dataclass(frozen=True)
class MethodCost:
    """What one method cost in all rounds.

    Attributes:
        method: its name.
        rounds: at least one; everything but times and memory is the same in all.
    """

    method: str
    rounds: tuple[TrainingCost, ...]

    @property
    def first(self) -> TrainingCost:
        """The first round."""
        return self.rounds[0]

    @property
    def parameters(self) -> int:
        """Trained numbers of all kinds."""
        return sum(self.first.trainable_parameters.values())

    @property
    def step_seconds(self) -> list[float]:
        """Of all rounds."""
        return [seconds for one in self.rounds for seconds in one.step_seconds]

    @property
    def peak_bytes(self) -> int:
        """Median over the rounds."""
        return int(statistics.median(one.peak_bytes for one in self.rounds))

    @property
    def loaded_bytes(self) -> int:
        """Median over the rounds."""
        return int(statistics.median(one.loaded_bytes for one in self.rounds))


def measure_methods(
    methods: Mapping[str, Mapping[str, Any]], warm_up: int, steps: int, rounds: int, words: int
) -> tuple[MethodCost, ...]:
    """Measure each method in child processes, which take turns in each round.

    Args:
        methods: name -> the options of training, by name.
        warm_up: steps that are not timed.
        steps: steps of a round that are.
        rounds: processes for each method.
        words: of every text, at least as many as it may have tokens.

    Raises:
        UsageError, IaaRetrievalError: as a training run with these options; the method is named.
    """
    found: dict[str, list[TrainingCost]] = {method: [] for method in methods}
    counts = {"warm_up": warm_up, "steps": steps, "words": words}
    for number in range(rounds):
        for method, train in methods.items():
            cost = _measure_in_child(method, {"train": dict(train), **counts})
            found[method].append(cost)
            LOG.info("round %d: %s %.3f s/step", number + 1, method, statistics.median(cost.step_seconds))
    return tuple(MethodCost(method, tuple(costs)) for method, costs in found.items())


def _measure_in_child(method: str, request: Mapping[str, Any]) -> TrainingCost:
    command = [sys.executable, "-m", _WORKER, json.dumps(request)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        # A signal, such as that of a system without memory, leaves no message.
        message = lines[-1] if lines and done.returncode > 0 else f"its process ended with {done.returncode}"
        raise (UsageError if done.returncode == 2 else IaaRetrievalError)(f"method {method}: {message}")
    return TrainingCost(**json.loads(done.stdout.splitlines()[-1]))


def cost_table(costs: Sequence[MethodCost]) -> Table:
    """A row for each method; bytes and seconds as measured."""
    header = "method dimensions parameters weights biases heads optimizer_bytes loaded_bytes peak_bytes".split()
    header += "step_seconds step_seconds_lowest step_seconds_highest steps checkpoint_bytes".split()
    rows: list[tuple[str | float, ...]] = [
        (
            one.method,
            " ".join(f"{name}={size}" for name, size in one.first.dimensions.items()),
            one.parameters,
            *(one.first.trainable_parameters[kind] for kind in ("weights", "biases", "heads")),
            one.first.optimizer_bytes,
            one.loaded_bytes,
            one.peak_bytes,
            statistics.median(one.step_seconds),
            min(one.step_seconds),
            max(one.step_seconds),
            len(one.step_seconds),
            one.first.checkpoint_bytes,
        )
        for one in costs
    ]
    return Table(tuple(header), rows)


def cost_text(costs: Sequence[MethodCost], setting: str) -> str:
    """The table and what it was measured on, for readers.

    Args:
        setting: what was trained, in a sentence.
    """
    lines = [["", "parameters", "optimiser MiB", "peak MiB", "of it loaded", "s/step", "lowest-highest", "saved MiB"]]
    for one in costs:
        seconds = one.step_seconds
        lines.append(
            [
                one.method,
                f"{one.parameters:,}",
                f"{one.first.optimizer_bytes / MEBIBYTE:.2f}",
                f"{one.peak_bytes / MEBIBYTE:,.0f}",
                f"{one.loaded_bytes / MEBIBYTE:,.0f}",
                f"{statistics.median(seconds):.3f}",
                f"{min(seconds):.3f}-{max(seconds):.3f}",
                f"{one.first.checkpoint_bytes / MEBIBYTE:.2f}",
            ]
        )
    on_gpu = costs[0].first.device.startswith("cuda")
    memory = "allocated on the GPU" if on_gpu else "the resident size of the whole process, Python and libraries too"
    said = [
        setting,
        f"Peak: {memory}; loaded is that before the first step. Times are medians over the steps of all rounds "
        f"({len(costs[0].step_seconds)}), without the warm-up.",
    ]
    return "\n\n".join([aligned(lines), "\n".join(said)])


def draw_cost(costs: Sequence[MethodCost]) -> Drawing:
    """A panel for each cost, a row for each method: points on logarithmic axes, bars where the axis begins at zero."""
    panels: list[tuple[str, Callable[[MethodCost], float], bool]] = [
        ("trained parameters", lambda one: one.parameters, True),
        ("optimiser state, MiB", lambda one: one.first.optimizer_bytes / MEBIBYTE, True),
        ("checkpoint, MiB", lambda one: one.first.checkpoint_bytes / MEBIBYTE, True),
        ("peak memory, MiB", lambda one: one.peak_bytes / MEBIBYTE, False),
        ("seconds per step", lambda one: statistics.median(one.step_seconds), False),
    ]
    with new_figure(2.3 * len(panels) + 1, 0.28 * len(costs) + 1.2) as figure:
        all_axes = figure.subplots(1, len(panels), sharey=True)
        names = [one.method for one in costs]
        for axes, (title, value_of, logarithmic) in zip(all_axes, panels, strict=True):
            _draw_panel(axes, costs, [value_of(one) for one in costs], logarithmic)
            axes.set_xlabel(title)
        seconds = [one.step_seconds for one in costs]
        middle = [statistics.median(one) for one in seconds]
        below = [at - min(one) for at, one in zip(middle, seconds, strict=True)]
        above = [max(one) - at for at, one in zip(middle, seconds, strict=True)]
        all_axes[-1].errorbar(middle, names, xerr=[below, above], fmt="none", ecolor="0.4", capsize=2, linewidth=1)
        all_axes[0].invert_yaxis()
        return render(figure)


def _draw_panel(axes: Any, costs: Sequence[MethodCost], values: Sequence[float], logarithmic: bool) -> None:
    for one, value in zip(costs, values, strict=True):
        style = method_style(one.method)
        if logarithmic:  # the length of a bar would depend on where the axis begins
            axes.plot([value], [one.method], color=style["color"], marker=style["marker"], linestyle="none")
        else:
            axes.barh([one.method], [value], color=style["color"])
    if logarithmic:
        logarithmic_x(axes, values)
