"""Runs that are one line of a figure: those that differ in their seed alone, or that the user calls the same."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from iaa_retrieval.analysis.curves import common_steps
from iaa_retrieval.analysis.learning_runs import Described, LearningRun
from iaa_retrieval.errors import UsageError


@dataclass(frozen=True)
class RunGroup:
    """Runs that are shown as their mean and spread.

    Attributes:
        label: what figures and tables call it.
        runs: at least one, with a seed of its own each.
        variant: its number among the groups of its method.
    """

    label: str
    runs: tuple[LearningRun, ...]
    variant: int = 0

    @property
    def method(self) -> str:
        """Of the first run; only labels of the user's put different methods together."""
        return self.runs[0].method


def grouped(runs: Sequence[LearningRun], labels: Sequence[str | None] = ()) -> list[RunGroup]:
    """Put runs together that differ in their seed alone.

    Args:
        runs: to group; the groups are in the order of their first runs.
        labels: one for each run, or none at all. Runs of one label are one group whatever they differ in; a None is
            replaced by the method (or condition), with what tells it from other groups of the same name.

    Raises:
        UsageError: not as many labels as runs; two runs of a group with the same seed, or without a step in common.
    """
    labels = labels or [None] * len(runs)
    found: dict[str, list[LearningRun]] = {}
    for run, label in zip(runs, labels, strict=True):
        found.setdefault(label if label is not None else key_of(run), []).append(run)
    given = {label for label in labels if label is not None}
    automatic = labels_of({key: of_group[0] for key, of_group in found.items() if key not in given})
    variants: dict[str, int] = {}
    groups = []
    for key, of_group in found.items():
        _require_other_seeds(of_group)
        _require_common_steps(of_group)
        variant = variants.get(of_group[0].method, 0)
        variants[of_group[0].method] = variant + 1
        groups.append(RunGroup(automatic.get(key, key), tuple(of_group), variant))
    return groups


def key_of(run: Described) -> str:
    """The same for runs of the same method and settings."""
    return json.dumps([run.method, run.settings], sort_keys=True, default=str)


def _require_other_seeds(runs: Sequence[LearningRun]) -> None:
    seeds: dict[int | None, LearningRun] = {}
    for run in runs:
        other = seeds.setdefault(run.seed, run)
        if other is not run:
            raise UsageError(
                f"{other.source} and {run.source} are the same run (seed {run.seed}); leave one out, or tell them "
                "apart with --label"
            )


def _require_common_steps(runs: Sequence[LearningRun]) -> None:
    if not common_steps([run.loss for run in runs]):
        raise UsageError(
            f"{', '.join(run.source for run in runs)} have no step in common at which a loss was logged, so that there "
            "is no mean of them; give them a --label each"
        )


def labels_of(firsts: Mapping[str, Described]) -> dict[str, str]:
    """A short name for each group, given its first run: the method (or condition), and what tells it from others."""
    by_name: dict[str, dict[str, Described]] = {}
    for key, run in firsts.items():
        by_name.setdefault(run.settings.get("condition", run.method), {})[key] = run
    labels = {}
    for name, of_name in by_name.items():
        names = dict.fromkeys(setting for run in of_name.values() for setting in run.settings)
        told_apart = [setting for setting in names if len({_said(run, setting) for run in of_name.values()}) > 1]
        for key, run in of_name.items():
            parts = [f"{setting.replace('_', ' ')} {_said(run, setting)}" for setting in told_apart]
            labels[key] = f"{name} ({', '.join(parts)})" if parts else name
    return labels


def _said(run: Described, setting: str) -> str:
    value = run.settings.get(setting)
    return "-" if value is None else str(value)
