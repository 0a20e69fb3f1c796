"""A toy collection and a function that trains on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from toy_collection import write_toy_collection, write_toy_run

from iaa_retrieval.training.options import TrainOptions


class Toy(NamedTuple):
    """Where the collection, a run of all its queries and a tiny backbone are."""

    collection: Path
    run: Path
    backbone: Path


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory, tiny_backbone: Callable[[str], Path]) -> Toy:
    root = tmp_path_factory.mktemp("toy")
    return Toy(write_toy_collection(root / "toy"), write_toy_run(root / "toy.trec"), tiny_backbone("bert"))


@pytest.fixture
def toy_options(toy: Toy, tmp_path: Path) -> Callable[..., TrainOptions]:
    """Options for training on the toy collection; three steps of eight queries make an epoch."""

    def make(kind: str = "bi-encoder", name: str = "out", **values: Any) -> TrainOptions:
        settings = {"method": "iaa-l", "precision": "fp32", "batch_size": 8, "epochs": 2.0, "split": "train", **values}
        settings.setdefault("backbone", str(toy.backbone))
        return TrainOptions.of(
            kind=kind,
            collection=str(toy.collection),
            output=str(tmp_path / name),
            negatives=str(toy.run),
            device="cpu",
            **settings,
        )

    return make
