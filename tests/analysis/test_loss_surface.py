"""Loss surfaces of checkpoints: what is moved, which loss is measured, what is written and how work continues."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import QUERIES, RELEVANT, contents, trained, with_other_settings, write_first_stage
from click.testing import CliRunner

from iaa_retrieval.analysis import loss_surface as instrument
from iaa_retrieval.analysis.loss_surface_report import contour_levels, draw_surfaces, summary_of, surface_table
from iaa_retrieval.analysis.trained_parameters import trained_parameters
from iaa_retrieval.analyze import main
from iaa_retrieval.inference.text_encoder import encode_passages, encode_queries
from iaa_retrieval.models.bi_encoder import load_bi_encoder
from iaa_retrieval.models.kinds import load_retriever
from iaa_retrieval.models.retriever_config import read_retriever_config
from iaa_retrieval.training.kinds import TRAINING_KINDS
from iaa_retrieval.training.option_groups import TuningOptions
from iaa_retrieval.training.text_options import TextOptions
from iaa_retrieval.training.tuned_model import new_tuned_model
from iaa_retrieval.tuning.methods import get_method, method_names

Backbone = Callable[[str], Path]


def call(*words: object) -> Any:
    return CliRunner().invoke(main, ["loss-surface", "--device=cpu", *map(str, words)])


@pytest.mark.parametrize("kind", TRAINING_KINDS)
@pytest.mark.parametrize("method", method_names())
def test_what_a_training_would_train_is_found_by_name(kind: str, method: str, tiny_backbone: Backbone) -> None:
    sizes = {name: 3 for name in get_method(method).dimension_names}
    tuning = TuningOptions(backbone=str(tiny_backbone("bert")), method=method, dimensions=sizes)
    model = new_tuned_model(TRAINING_KINDS[kind], tuning, TextOptions(), "cpu", "fp32").model
    expected = {f"0.{name}" for name, parameter in model.network.named_parameters() if parameter.requires_grad}
    for parameter in model.parameters():  # as in a checkpoint that is loaded
        parameter.requires_grad_(False)
    assert set(trained_parameters(model)) == expected


@pytest.mark.parametrize("kind", TRAINING_KINDS)
@pytest.mark.parametrize("method", ["iaa-l", "full"])
def test_what_was_trained_is_found_in_a_checkpoint(kind: str, method: str, tiny_backbone: Backbone) -> None:
    found = trained_parameters(load_retriever(str(trained(kind, method, tiny_backbone("bert")).path), device="cpu"))
    config = read_retriever_config(trained(kind, method, tiny_backbone("bert")).path)
    assert config is not None
    assert sum(parameter.numel() for parameter in found.values()) == sum(config.trainable_parameters.values())


def test_checkpoints_are_compared_on_the_loss_of_their_training(
    tiny_backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All three queries in one batch: the loss at the middle is worked out from vectors here; work is continued."""
    checkpoints = [trained("bi-encoder", method, tiny_backbone("bert")).path for method in ("iaa-l", "full")]
    collection, output = checkpoints[0].parent / "collection", tmp_path / "out"
    words = [*checkpoints, f"--collection={collection}", f"--output={output}", "--points=3", "--directions=2"]
    words += ["--batch-size=3", "--reach=0.5"]
    rows, computed = instrument.surface_row, []

    def interrupted(*arguments: Any) -> list[float]:
        computed.append(arguments[3])
        if len(computed) == 5:
            raise KeyboardInterrupt
        return rows(*arguments)

    monkeypatch.setattr(instrument, "surface_row", interrupted)
    assert call(*words).exit_code != 0 and not output.exists()
    assert "--resume continues it" in call(*words).output
    finished = call(*words, "--resume")
    assert finished.exit_code == 0, finished.output
    assert computed == [-0.5, 0.0, 0.5, -0.5, 0.0, 0.0, 0.5]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert {path.suffix for path in output.iterdir()} == {".png", ".svg", ".csv", ".txt", ".json"}

    points = list(csv.DictReader((output / "loss-surface.csv").open()))
    saved = json.loads((output / "loss-surface.json").read_text())
    assert len(points) == 2 * 3 * 3 and saved["settings"]["temperature"] == 0.05
    for checkpoint, surface in zip(checkpoints, saved["surfaces"], strict=True):
        model = load_bi_encoder(str(checkpoint), precision="fp32", device="cpu")
        queries = encode_queries(model, list(QUERIES.values()))
        scores = queries @ encode_passages(model, [contents(doc) for doc in RELEVANT.values()]).T / 0.05
        loss = np.mean(np.log(np.exp(scores).sum(axis=1)) - np.diag(scores))
        assert surface["loss"] == pytest.approx(loss, rel=1e-4)
        middle = next(p for p in points if p["checkpoint"] == str(checkpoint) and p["a"] == p["b"] == "0.0")
        assert float(middle["loss"]) == surface["loss"] == surface["losses"][1][1]
        assert len({loss for row in surface["losses"] for loss in row}) == 9
        assert surface["eigenvalue"] is None and surface["spread"] > 0
        assert f"{surface['rise']:#.4g}" in (output / "loss-surface.txt").read_text()
    uninterrupted = tmp_path / "again"
    assert call(*words[:3], f"--output={uninterrupted}", *words[4:]).exit_code == 0
    assert (uninterrupted / "loss-surface.csv").read_bytes() == (output / "loss-surface.csv").read_bytes()
    assert json.loads((uninterrupted / "loss-surface.json").read_text()) == saved


def test_cross_encoders_too(tiny_backbone: Backbone, tmp_path: Path) -> None:
    checkpoint = trained("cross-encoder", "lora", tiny_backbone("bert")).path
    words = [checkpoint, f"--collection={checkpoint.parent / 'collection'}", f"--output={tmp_path / 'out'}"]
    words += ["--points=3", "--directions=1", "--eigenvalue"]
    refused = call(*words)
    assert refused.exit_code == 2 and "--negatives" in refused.output
    found = call(*words, f"--negatives={write_first_stage(tmp_path / 'run.trec')}", "--overwrite")
    assert found.exit_code == 0, found.output
    (surface,) = json.loads((tmp_path / "out" / "loss-surface.json").read_text())["surfaces"]
    assert surface["method"] == "lora" and f"{surface['eigenvalue']:#.4g}" in found.output


def test_checkpoints_that_cannot_be_compared(tiny_backbone: Backbone, tmp_path: Path) -> None:
    backbone = tiny_backbone("bert")
    bi, cross = (trained(kind, "lora", backbone).path for kind in ("bi-encoder", "cross-encoder"))
    rest = [f"--collection={bi.parent / 'collection'}", f"--output={tmp_path / 'out'}", "--points=3"]
    config = read_retriever_config(bi)
    assert config is not None
    warmer = with_other_settings(bi, tmp_path / "warmer", training={**config.training, "temperature": 0.5})
    found = call(bi, warmer, *rest)
    assert found.exit_code == 2
    assert f"{bi} was trained with --temperature 0.05 and {warmer} with 0.5; give the --temperature" in found.output
    assert "a cross-encoder; compare checkpoints of one kind" in call(bi, cross, *rest).output
    assert "is named twice" in call(bi, bi, *rest).output
    assert f"{backbone} is no checkpoint of a training" in call(backbone, *rest).output
    assert not (tmp_path / "out").exists()


def test_losses_that_are_no_numbers_leave_holes() -> None:
    grid = instrument.Grid((-1.0, 0.0, 1.0), 0.5, 2, False, 1)
    losses: list[list[float | None]] = [[3.0, 2.0, None], [2.0, 0.5, 2.0], [4.0, 2.0, 3.0]]
    one = instrument.Surface("runs/a", "iaa-l", grid, 10, losses, 0.5, 1.0, 0.1, None, None)
    assert [row[2:] for row in surface_table([one]).rows][2:4] == [(-1.0, 1.0, None), (0.0, -1.0, 2.0)]
    assert "1 losses of the surfaces were not finite" in summary_of([one])
    drawing = draw_surfaces([one, replace(one, losses=[[0.5] * 3] * 3), one, one])
    assert drawing.png.startswith(b"\x89PNG")


def test_contours_are_at_equal_ratios_from_the_lowest_to_the_highest_loss() -> None:
    levels = contour_levels([2.0, 0.5, 8.0])
    assert (levels[0], levels[-1]) == (0.5, 8.0)
    ratios = [after / before for before, after in itertools.pairwise(levels)]
    assert ratios == pytest.approx([ratios[0]] * len(ratios))
    assert contour_levels([0.0, 8.0])[:2] == [0.0, 0.5]
    assert contour_levels([3.0, 3.0])[0] < 3.0 < contour_levels([3.0, 3.0])[-1]
