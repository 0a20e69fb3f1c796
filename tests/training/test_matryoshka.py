"""Training for vectors that will be cut: the published loss, and what a run records of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss, MultipleNegativesRankingLoss
from torch import nn

from iaa_retrieval.errors import UsageError
from iaa_retrieval.train import main
from iaa_retrieval.training.losses.distillation import Distillation
from iaa_retrieval.training.objectives import BiEncoderObjective
from iaa_retrieval.training.options import TrainOptions
from iaa_retrieval.training.run import train_retriever

WIDTH, SIZES, TEMPERATURE = 12, (7, 3), 0.05
QUERIES, PASSAGES = 5, 10  # every positive is followed by its query's negative
POSITIVES = np.arange(0, PASSAGES, 2)


class Table(nn.Module):
    """A bi-encoder of which every token id is a text, with a vector of its own in double precision."""

    dimension = WIDTH

    def __init__(self, normalize: bool) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.vectors = nn.Parameter(torch.randn(QUERIES + PASSAGES, WIDTH, generator=generator, dtype=torch.float64))
        self.config = SimpleNamespace(normalize=normalize)

    def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"sentence_embedding": self.vectors[features["input_ids"][:, 0]]}

    def get_embedding_dimension(self) -> int:
        return WIDTH

    def encode_queries(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        vectors = self.vectors[input_ids[:, 0]]
        return nn.functional.normalize(vectors, dim=-1) if self.config.normalize else vectors

    encode_passages = encode_queries


def texts(first: int, count: int, step: int = 1) -> torch.Tensor:
    return torch.arange(first, first + count * step, step)[:, None]


def loss_of(table: Table, teacher: torch.Tensor | None = None) -> torch.Tensor:
    distillation = None if teacher is None else Distillation("margin-mse", 0.3, 1.0)
    objective = BiEncoderObjective(table, TEMPERATURE, distillation, matryoshka=SIZES)  # type: ignore[arg-type]
    queries, passages = texts(0, QUERIES), texts(QUERIES, PASSAGES)
    batch = objective(
        *(queries, torch.ones_like(queries), passages, torch.ones_like(passages)),
        torch.tensor(POSITIVES),
        torch.arange(PASSAGES),
        torch.tensor(POSITIVES)[:, None],
        teacher,
    )
    made: torch.Tensor = batch["loss"]
    return made


def by_hand(vectors: np.ndarray, normalize: bool, teacher: np.ndarray | None = None) -> float:
    """The mean over sizes of ``-log softmax``, mixed with the squared error of the margins where there is a teacher."""
    losses = []
    for size in (WIDTH, *SIZES):
        short = vectors[:, :size]
        if normalize:
            short = short / np.linalg.norm(short, axis=1, keepdims=True)
        scores = short[:QUERIES] @ short[QUERIES:].T / TEMPERATURE
        positive = scores[np.arange(QUERIES), POSITIVES]
        loss = np.mean(np.log(np.exp(scores).sum(axis=1)) - positive)
        if teacher is not None:
            margins = positive - scores[np.arange(QUERIES), POSITIVES + 1]
            loss = 0.7 * loss + 0.3 * np.mean((margins - (teacher[:, 0] - teacher[:, 1])) ** 2)
        losses.append(loss)
    return float(np.mean(losses))


@pytest.mark.parametrize("normalize", [True, False])
def test_the_loss_is_the_mean_over_whole_and_cut_vectors(normalize: bool) -> None:
    table = Table(normalize)
    vectors = table.vectors.detach().numpy()
    teacher = np.random.default_rng(2).normal(size=(QUERIES, 2))
    assert loss_of(table).item() == pytest.approx(by_hand(vectors, normalize), rel=1e-9)
    distilled = loss_of(table, torch.tensor(teacher)).item()
    assert distilled == pytest.approx(by_hand(vectors, normalize, teacher), rel=1e-9)


def test_loss_and_gradient_are_those_of_sentence_transformers() -> None:
    ours, theirs = Table(normalize=True), Table(normalize=True)
    loss = loss_of(ours)
    loss.backward()  # type: ignore[no-untyped-call]
    inner = MultipleNegativesRankingLoss(theirs, scale=1 / TEMPERATURE)  # type: ignore[arg-type]
    sizes = [WIDTH, *SIZES]
    wrapped = MatryoshkaLoss(theirs, inner, sizes, [1 / len(sizes)] * len(sizes))  # type: ignore[arg-type]
    columns = (texts(0, QUERIES), texts(QUERIES, QUERIES, 2), texts(QUERIES + 1, QUERIES, 2))
    expected = wrapped([{"input_ids": column} for column in columns], torch.zeros(QUERIES))
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
    assert ours.vectors.grad is not None and theirs.vectors.grad is not None
    np.testing.assert_allclose(ours.vectors.grad, theirs.vectors.grad, atol=1e-6)


def test_a_run_records_its_sizes_and_they_start_it_again(toy_options: Callable[..., Any]) -> None:
    done = train_retriever(toy_options(matryoshka=(8, 16), max_steps=1)).output
    recorded = json.loads((done / "retriever.json").read_text())
    assert recorded["training"]["matryoshka"] == [16, 8] and "truncate_dim" not in recorded
    assert "| matryoshka | [16, 8] |" in (done / "README.md").read_text()
    saved = yaml.safe_load((done / "train_config.yaml").read_text())
    assert sorted(saved["matryoshka"]) == [8, 16]
    again = TrainOptions.of(**{**saved, "output": f"{done}-again"})
    assert sorted(again.objective.matryoshka or ()) == [8, 16]
    whole = train_retriever(toy_options(name="whole", max_steps=1)).output
    assert "matryoshka" not in json.loads((whole / "retriever.json").read_text())["training"]


def test_sizes_that_mean_nothing_are_refused(toy_options: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--matryoshka 32 is out of range; .* have 32 numbers"):
        train_retriever(toy_options(matryoshka=(32, 8)))
    assert not (tmp_path / "out").exists()
    for wrong in ("8,8", "0", "8,-1", "many", ""):
        words = ["bi-encoder", "--collection", "x", "--output", str(tmp_path / "out"), "--matryoshka", wrong]
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 2 and "such as 256,128,64" in result.output, wrong
