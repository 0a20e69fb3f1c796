"""Directions measured along real trainings: these stay as they are, and what is written is what was measured."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from toy_collection import write_toy_collection, write_toy_run

from iaa_retrieval.analysis import update_direction as instrument
from iaa_retrieval.analysis.update_direction import DirectionCallback, measured_steps
from iaa_retrieval.analyze import main
from iaa_retrieval.models.checkpoint import weights_fingerprint
from iaa_retrieval.training.options import TrainOptions
from iaa_retrieval.training.run import train_retriever

Backbone = Callable[[str], Path]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("data")
    collection, run = write_toy_collection(root / "toy"), write_toy_run(root / "toy.trec")
    return {"collection": str(collection), "negatives": str(run), "split": "train"}


def test_steps_are_spaced_like_their_logarithm() -> None:
    assert measured_steps(1) == [0, 1]
    assert measured_steps(30) == [0, 1, 2, 5, 10, 20, 30]
    assert measured_steps(200) == [0, 1, 2, 5, 10, 20, 50, 100, 200]


@pytest.mark.parametrize(("kind", "method"), [("bi-encoder", "iaa-m"), ("cross-encoder", "full")])
def test_a_measured_training_ends_where_the_same_training_ends(
    kind: str, method: str, data: dict[str, str], tiny_backbone: Backbone, tmp_path: Path
) -> None:
    """To the bit, with the dropout of ``full`` and the momentum of five steps."""
    weights, callbacks = [], []
    for name in ("plain", "measured"):
        options = TrainOptions.of(
            kind=kind,
            method=method,
            backbone=str(tiny_backbone("bert")),
            max_steps=5,
            batch_size=4,
            lr=0.01,
            warmup=0.0,
            precision="fp32",
            device="cpu",
            output=str(tmp_path / name),
            **data,
        )
        callbacks = [DirectionCallback(options, 4)] if name == "measured" else []
        train_retriever(options, callbacks=callbacks)
        weights.append(weights_fingerprint(options.output))
    assert weights[0] == weights[1]
    (callback,) = callbacks
    assert [one.step for one in callback.measured if one.direction[:3] == ("all", "all", "plain")] == [0, 1, 2, 5]
    cosines = {one.direction.cosine for one in callback.measured if one.direction.layer == "all"}
    assert all(cosine is not None and -1 < cosine < 1 for cosine in cosines)
    assert len(cosines) == (3 if kind == "bi-encoder" else 1) * 4 * 2


def arguments(data: dict[str, str], backbone: Path, output: Path, *more: str) -> list[str]:
    values = {**data, "backbone": backbone, "output": output, "steps": 2, "batch-size": 4, "measured-queries": 4}
    return ["update-direction", "--device", "cpu", *more, *(f"--{name}={value}" for name, value in values.items())]


def call(words: list[str]) -> Any:
    return CliRunner().invoke(main, words)


def test_the_verb_compares_methods_and_goes_on_after_an_interruption(
    data: dict[str, str], tiny_backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    words = arguments(data, tiny_backbone("bert"), output, "--method=full", "--method=lora", "--method=full")
    measure, trained = instrument.measure_training, []

    def interrupted(options: TrainOptions, texts: int) -> Any:
        trained.append(options.tuning.method_name)
        if trained == ["full", "lora"]:
            raise KeyboardInterrupt
        return measure(options, texts)

    monkeypatch.setattr(instrument, "measure_training", interrupted)
    assert call(words).exit_code != 0
    assert not output.exists()
    again = call(words)
    assert again.exit_code == 2 and "--resume continues it" in again.output
    other = call([*words, "--resume", "--seed=7"])
    assert other.exit_code == 2 and "begun with another seed" in other.output
    finished = call([*words, "--resume"])
    assert finished.exit_code == 0, finished.output
    assert trained == ["full", "lora", "lora"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    names = ["update-direction.csv", "update-direction.png", "update-direction.svg", "update-direction.txt"]
    assert sorted(path.name for path in output.iterdir()) == names
    rows = list(csv.DictReader((output / names[0]).open()))
    assert len(rows) == 2 * 3 * 3 * 4 * 2  # methods, steps, sides, layers and overall, updates
    assert {row["method"] for row in rows} == {"full", "lora"} and {row["step"] for row in rows} == {"0", "1", "2"}
    full, lora = (next(row for row in rows if row["method"] == method) for method in ("full", "lora"))
    assert float(full["cosine"]) != float(lora["cosine"])
    written = (output / names[3]).read_text()
    assert written.startswith("method") and written in finished.output
    first = next(r for r in rows if (r["method"], r["side"], r["layer"], r["step"]) == ("lora", "all", "all", "0"))
    assert f"{float(first['cosine']):.4f}" in written


def test_a_backbone_whose_layers_are_not_known_is_refused(
    data: dict[str, str], tiny_backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from iaa_retrieval.tuning import architectures

    others = {name: roles for name, roles in architectures.ARCHITECTURES.items() if name != "bert"}
    monkeypatch.setattr(architectures, "ARCHITECTURES", others)  # put back, its names keep their order
    found = call(arguments(data, tiny_backbone("bert"), tmp_path / "out", "--method=full"))
    assert found.exit_code == 2 and "backbone type 'bert' is not supported" in found.output
