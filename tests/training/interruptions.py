"""Ends of the process, as tests stage them."""

from __future__ import annotations

from typing import Any

import pytest

from iaa_retrieval.training.data import ExampleDataset
from iaa_retrieval.training.trainer import RetrievalTrainer


class Killed(Exception):
    """Stands for the end of the process."""


def kill_at_epoch(patch: pytest.MonkeyPatch, epoch: int) -> None:
    set_epoch = ExampleDataset.set_epoch

    def set_epoch_or_die(self: ExampleDataset, now: int) -> None:
        if now == epoch:
            raise Killed
        set_epoch(self, now)

    patch.setattr(ExampleDataset, "set_epoch", set_epoch_or_die)


def kill_after_steps(patch: pytest.MonkeyPatch, steps: int) -> None:
    training_step = RetrievalTrainer.training_step

    def step_or_die(self: RetrievalTrainer, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step == steps:
            raise Killed
        return training_step(self, *args, **kwargs)

    patch.setattr(RetrievalTrainer, "training_step", step_or_die)
