"""Directions of updates along a training: an ordinary run of each method, measured on one batch between its steps."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import TrainerCallback

from iaa_retrieval.analysis.hidden_states import places_of
from iaa_retrieval.analysis.step_directions import Direction, step_directions
from iaa_retrieval.files import read_json, write_json
from iaa_retrieval.models.retriever import Retriever
from iaa_retrieval.training.kinds import TRAINING_KINDS
from iaa_retrieval.training.options import TrainOptions
from iaa_retrieval.training.run import train_retriever

_LOG_SPACED = (1, 2, 5)


@dataclass(frozen=True)
class Measured:
    """What was measured before a step.

    Attributes:
        method: that is trained.
        step: how many steps had been taken.
        direction: of one side, layer and update.
    """

    method: str
    step: int
    direction: Direction


def measured_steps(last: int) -> list[int]:
    """0, 1, 2, 5, 10, 20, 50 and so on up to ``last``, and ``last`` itself."""
    steps, power = {0, last}, 1
    while power <= last:
        steps.update(step * power for step in _LOG_SPACED if step * power <= last)
        power *= 10
    return sorted(steps)


class DirectionCallback(TrainerCallback):  # type: ignore[misc]
    """Measures one batch before the steps of ``measured_steps``, and after the last; the training goes on as without.

    Args:
        options: of the run.
        texts: the number of training examples in the batch, drawn by the run's seed, with the negatives that they have
            in the first epoch.

    Attributes:
        measured: what was measured so far.
    """

    def __init__(self, options: TrainOptions, texts: int) -> None:
        self.measured: list[Measured] = []
        self._options = options
        self._texts = texts
        self._steps = set(measured_steps(options.optimisation.max_steps))
        self._inputs: dict[str, Tensor] = {}

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure, if it is one of the steps."""
        self._measure(args, state.global_step, kwargs)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure where the training ended."""
        self._measure(args, state.global_step, kwargs)

    def _measure(self, args: Any, step: int, trainer: Mapping[str, Any]) -> None:
        if step not in self._steps:
            return
        self._steps.remove(step)
        objective: nn.Module = trainer["model"]
        model = next(child for child in objective.children() if isinstance(child, Retriever))
        if not self._inputs:
            self._inputs = self._batch(model, trainer["train_dataloader"].dataset)
        method = self._options.tuning.chosen_method

        def extra_loss() -> Tensor | None:
            terms = [term for network in model.networks if (term := method.extra_loss(network)) is not None]
            return sum(terms[1:], terms[0]) if terms else None

        directions = step_directions(
            objective,
            self._inputs,
            places_of(model),
            trainer["optimizer"],
            rate=args.learning_rate,
            max_norm=args.max_grad_norm,
            extra_loss=extra_loss,
        )
        self.measured += [Measured(method.name, step, direction) for direction in directions]

    def _batch(self, model: Retriever, dataset: Any) -> dict[str, Tensor]:
        """The batch of all measurements: the same for every method, since it depends on data and seed alone."""
        options = self._options
        # A collator of our own, so that the run's does not count the texts of this batch.
        length = options.text.train_max_length or model.config.document_max_length
        collator = TRAINING_KINDS[options.kind].collator(model, dataset.data, length)
        chosen = random.Random(options.seed).sample(range(len(dataset)), min(self._texts, len(dataset)))
        return {name: value.to(model.device) for name, value in collator([dataset[n] for n in chosen]).items()}


def measure_training(options: TrainOptions, texts: int) -> list[Measured]:
    """Train as ``options`` say and measure on the way; the checkpoint at ``options.output`` is made as always.

    Raises:
        UsageError, IaaRetrievalError: as ``train_retriever``, and a backbone whose layers are not known.
    """
    callback = DirectionCallback(options, texts)
    train_retriever(options, callbacks=[callback])
    return callback.measured


def save_measured(path: Path, measured: list[Measured]) -> None:
    """Keep the measurements of a finished training as JSON."""
    write_json(path, [[one.method, one.step, *one.direction] for one in measured])


def load_measured(path: Path) -> Iterator[Measured]:
    """What ``save_measured`` kept."""
    for method, step, *direction in read_json(path):
        yield Measured(method, step, Direction(*direction))
