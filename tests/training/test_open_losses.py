"""The registry of losses is open: one defined here is chosen on the command line, trained with and recorded."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from safetensors.torch import load_file

from iaa_retrieval.errors import UsageError
from iaa_retrieval.files import read_json
from iaa_retrieval.train import main
from iaa_retrieval.training.losses.registry import LOSSES, get_loss, loss_names, register_loss

OUR_OWN = {
    "bi-encoder": ("contrastive",),
    "cross-encoder": ("localized-contrastive", "pairwise", "pointwise", "lambda"),
    "distillation": ("kl", "margin-mse", "ranknet", "listmle"),
}


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    loss_names("bi-encoder")  # the entry points have been searched before the copy is made
    monkeypatch.setattr(LOSSES, "_entries", dict(LOSSES._entries))


def train(kind: str, toy: Any, output: Path, *arguments: str) -> Result:
    words = ["--collection", toy.collection, "--split", "train", "--backbone", toy.backbone, "--negatives", toy.run]
    words += ["--batch-size", "8", "--precision", "fp32", "--device", "cpu", "--output", output, *arguments]
    return CliRunner().invoke(main, [kind, *map(str, words)])


def hinge_by_hand(scores: np.ndarray, columns: np.ndarray, ignored: np.ndarray) -> float:
    """Mean over queries of the mean, over what is compared, of how far it comes within 1 of the positive."""
    means = []
    for row, column, ignore in zip(scores, columns, ignored, strict=True):
        others = [score for place, score in enumerate(row) if place != column and not ignore[place]]
        means.append(np.mean([max(0.0, 1 - row[column] + score) for score in others]))
    return float(np.mean(means))


def test_a_loss_of_ones_own_for_a_bi_encoder(toy: Any, tmp_path: Path) -> None:
    given: list[tuple[np.ndarray, ...]] = []

    def hinge(scores: torch.Tensor, positive_index: torch.Tensor, ignore: torch.Tensor) -> torch.Tensor:
        given.append(tuple(tensor.detach().numpy() for tensor in (scores, positive_index, ignore)))
        compared = ~ignore
        compared[torch.arange(len(positive_index)), positive_index] = False
        margins = (1 - scores.gather(1, positive_index[:, None]) + scores).clamp(min=0)
        return ((margins * compared).sum(1) / compared.sum(1)).mean()

    register_loss("hinge-in-batch", "bi-encoder", hinge, paper="none")
    check_training("bi-encoder", "hinge-in-batch", given, toy, tmp_path)
    scores, positives, ignored = given[0]
    assert scores.shape == (8, 16) == ignored.shape and positives.tolist() == list(range(0, 16, 2))
    assert first_loss(tmp_path) == pytest.approx(hinge_by_hand(scores, positives, ignored), rel=1e-5)


def test_a_loss_of_ones_own_for_a_cross_encoder(toy: Any, tmp_path: Path) -> None:
    given: list[tuple[np.ndarray, ...]] = []

    def hinge(scores: torch.Tensor) -> torch.Tensor:
        given.append((scores.detach().numpy(),))
        return (1 - scores[:, 0] + scores[:, -1]).clamp(min=0).mean()

    register_loss("last-hinge", "cross-encoder", hinge, paper="none")
    check_training("cross-encoder", "last-hinge", given, toy, tmp_path)
    (scores,) = given[0]
    assert scores.shape == (8, 4)
    expected = float(np.mean([max(0.0, 1 - row[0] + row[3]) for row in scores]))
    assert first_loss(tmp_path) == pytest.approx(expected, rel=1e-5)


def first_loss(tmp_path: Path) -> float:
    """The loss that the run of one step reports."""
    return float(read_json(tmp_path / "one" / "history.json")[-1]["train_loss"])


def check_training(kind: str, name: str, given: list[Any], toy: Any, tmp_path: Path) -> None:
    """It is called once a step and trains, otherwise than the default does, and the checkpoint names it."""
    for steps, directory, *words in (("1", "one", "--loss", name), ("3", "own", "--loss", name), ("3", "default")):
        result = train(kind, toy, tmp_path / directory, "--max-steps", steps, "--lr", "1e-2", *words)
        assert result.exit_code == 0, result.output
    assert len(given) == 1 + 3
    assert read_json(tmp_path / "own" / "retriever.json")["training"]["loss"] == name
    assert yaml.safe_load((tmp_path / "own" / "train_config.yaml").read_text())["loss"] == name
    own, default = (load_file(tmp_path / run / "adapter_model.safetensors") for run in ("own", "default"))
    ups = [key for key in own if key.endswith("iaa_up.bias")]  # zero at the start
    assert ups
    assert all(own[key].abs().max() > 0 and not torch.equal(own[key], default[key]) for key in ups)


def test_a_distillation_of_ones_own(toy: Any, tmp_path: Path) -> None:
    given: list[tuple[np.ndarray, np.ndarray]] = []

    def absolute(scores: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        given.append((scores.detach().numpy(), teacher.numpy()))
        return (scores - teacher).abs().mean()

    register_loss("absolute", "distillation", absolute, paper="none")
    words = ("--teacher", str(toy.run), "--distillation", "absolute", "--distillation-weight", "1", "--max-steps", "1")
    result = train("cross-encoder", toy, tmp_path / "one", *words)
    assert result.exit_code == 0, result.output
    ((scores, teacher),) = given
    assert first_loss(tmp_path) == pytest.approx(float(np.mean(np.abs(scores - teacher))), rel=1e-5)
    assert read_json(tmp_path / "one" / "retriever.json")["training"]["distillation"] == "absolute"


def test_the_default_of_a_bi_encoder_is_chosen_by_name_too(toy: Any, tmp_path: Path) -> None:
    for directory, words in (("named", ("--loss", "contrastive")), ("default", ())):
        assert train("bi-encoder", toy, tmp_path / directory, "--max-steps", "2", *words).exit_code == 0
    named, default = (load_file(tmp_path / run / "adapter_model.safetensors") for run in ("named", "default"))
    assert all(torch.equal(named[key], default[key]) for key in default)


def test_our_own_losses_and_their_papers() -> None:
    for use, names in OUR_OWN.items():
        assert loss_names(use) == names
        assert all(get_loss(use, name).paper for name in names)


def test_a_loss_is_for_the_kind_that_it_names(toy: Any, tmp_path: Path) -> None:
    result = train("bi-encoder", toy, tmp_path / "out", "--loss", "pairwise")
    assert result.exit_code == 2
    assert "'pairwise' is not 'contrastive'" in result.output
    with pytest.raises(UsageError, match="--loss contrastive is out of range; it must be one of localized-contrastive"):
        get_loss("cross-encoder", "contrastive")


def test_what_cannot_be_registered() -> None:
    with pytest.raises(ValueError, match="loss 'pairwise' is registered already"):
        register_loss("pairwise", "cross-encoder", max, paper="none")
    with pytest.raises(UsageError, match="a loss is for one of bi-encoder, cross-encoder, distillation"):
        register_loss("mine", "encoder", max, paper="none")


def test_losses_of_another_package_and_a_broken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "their_losses.py").write_text(
        "from iaa_retrieval.training.losses.loss import Loss\n"
        "THEIRS = Loss('theirs', 'bi-encoder', lambda scores, positives, ignore: scores.mean(), paper='none')\n"
    )
    (tmp_path / "broken_losses.py").write_text("raise RuntimeError('not\\ntoday')\n")
    information = tmp_path / "theirs-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(
        "[iaa_retrieval.losses]\nbroken = broken_losses:BROKEN\ntheirs = their_losses:THEIRS\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(LOSSES.packages, "_loaded", False)
    with caplog.at_level(logging.WARNING, logger="iaa_retrieval"):
        assert loss_names("bi-encoder") == ("contrastive", "theirs")
    assert LOSSES.get("theirs").paper == "none"
    (said,) = [record.getMessage() for record in caplog.records if record.name == "iaa_retrieval"]
    assert said == "loss broken (entry point broken_losses:BROKEN) is left out: not today"
