"""Negatives that the index finds for the query encoder as it is at the start of each epoch."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from iaa_retrieval.files import read_json, write_json
from iaa_retrieval.training.data import ExampleDataset

Negatives = dict[str, list[str]]


class RefreshedNegatives(TrainerCallback):  # type: ignore[misc]
    """Gives the dataset other negatives at the start of each epoch but the first, for which they are there.

    They are kept in ``folder``, so that a run that is resumed within an epoch goes on with those that the epoch began
    with.

    Args:
        dataset: gets them.
        mine: finds them with the query encoder as it is.
        folder: of the work in progress.
    """

    def __init__(self, dataset: ExampleDataset, mine: Callable[[], Negatives], folder: Path) -> None:
        self._dataset = dataset
        self._mine = mine
        self._folder = folder

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Find them, or read what was found when this epoch began first."""
        epoch = math.floor(state.epoch)
        if epoch == 0:
            return
        path = self._folder / f"negatives-{epoch}.json"
        if path.is_file():
            self._dataset.replace_negatives(read_json(path))
            return
        negatives = self._mine()
        self._dataset.replace_negatives(negatives)
        if state.is_world_process_zero:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_json(path, negatives)
