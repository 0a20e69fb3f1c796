from collections.abc import Callable

import numpy as np
import pytest
import torch

from iaa_retrieval.training.losses.contrastive import contrastive_loss
from iaa_retrieval.training.losses.distillation import Distillation
from iaa_retrieval.training.losses.kl import kl_loss
from iaa_retrieval.training.losses.localized_contrastive import localized_contrastive_loss
from iaa_retrieval.training.losses.margin_mse import margin_mse_loss
from iaa_retrieval.training.losses.pairwise import pairwise_loss
from iaa_retrieval.training.losses.pointwise import pointwise_loss

RNG = np.random.default_rng(5)
QUERIES, PASSAGES = RNG.normal(size=(3, 4)), RNG.normal(size=(5, 4))
POSITIVES = np.array([0, 2, 4])
NOTHING_IGNORED = torch.zeros(3, 5, dtype=torch.bool)


def by_hand(temperature: float, ignore: np.ndarray) -> float:
    """Mean of ``-log(exp(s+ / T) / sum of exp(s / T))`` over the passages that count."""
    losses = []
    for query, positive, ignored in zip(QUERIES, POSITIVES, ignore, strict=True):
        exponentials = np.exp(PASSAGES @ query / temperature)
        losses.append(-np.log(exponentials[positive] / exponentials[~ignored].sum()))
    return float(np.mean(losses))


def ours(temperature: float, ignore: torch.Tensor) -> float:
    scores = torch.tensor(QUERIES) @ torch.tensor(PASSAGES).T / temperature
    loss = contrastive_loss(scores, torch.tensor(POSITIVES), ignore)
    assert loss.shape == ()
    return loss.item()


@pytest.mark.parametrize("temperature", [1.0, 0.5, 0.05])
def test_contrastive_loss_is_the_formula(temperature: float) -> None:
    assert ours(temperature, NOTHING_IGNORED) == pytest.approx(by_hand(temperature, NOTHING_IGNORED.numpy()), rel=1e-12)


def test_known_positives_are_no_negatives() -> None:
    ignore = NOTHING_IGNORED.clone()
    ignore[0, 3] = ignore[2, 0] = ignore[2, 1] = True
    expected = by_hand(0.5, ignore.numpy())
    assert ours(0.5, ignore) == pytest.approx(expected, rel=1e-12)
    assert expected < by_hand(0.5, NOTHING_IGNORED.numpy())


def test_ignored_passages_get_no_gradient() -> None:
    scores = torch.tensor(QUERIES[:1] @ PASSAGES.T, requires_grad=True)
    ignore = torch.zeros(1, 5, dtype=torch.bool)
    ignore[0, 3] = True
    contrastive_loss(scores, torch.tensor([0]), ignore).backward()
    assert scores.grad is not None
    assert scores.grad[0, 3] == 0
    assert scores.grad[0, [0, 1, 2, 4]].abs().min() > 0


def test_masking_works_in_bf16() -> None:
    ignore = NOTHING_IGNORED.clone()
    ignore[0, 1:] = True
    scores = torch.tensor(QUERIES[:1] @ PASSAGES.T, dtype=torch.bfloat16)
    assert contrastive_loss(scores, torch.tensor([0]), ignore[:1]).item() == 0  # the positive alone is left


def test_localized_contrastive_loss_is_the_formula() -> None:
    scores = RNG.normal(size=(6, 4))
    exponentials = np.exp(scores)
    expected = -np.log(exponentials[:, 0] / exponentials.sum(axis=1)).mean()
    assert localized_contrastive_loss(torch.tensor(scores)).item() == pytest.approx(expected, rel=1e-12)


def test_pairwise_loss_is_the_formula() -> None:
    scores = RNG.normal(size=(6, 4))
    losses = [-np.log(1 / (1 + np.exp(-(row[0] - other)))) for row in scores for other in row[1:]]
    assert pairwise_loss(torch.tensor(scores)).item() == pytest.approx(np.mean(losses), rel=1e-12)


def test_pointwise_loss_is_the_formula() -> None:
    scores = RNG.normal(size=(6, 4))
    relevant = 1 / (1 + np.exp(-scores))
    losses = [-np.log(relevant[:, :1]), -np.log(1 - relevant[:, 1:])]
    assert pointwise_loss(torch.tensor(scores)).item() == pytest.approx(np.hstack(losses).mean(), rel=1e-12)


def softmax(scores: np.ndarray) -> np.ndarray:
    exponentials = np.exp(scores)
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def test_kl_loss_is_the_formula() -> None:
    scores, teacher = RNG.normal(size=(6, 4)), RNG.normal(size=(6, 4))
    p, q = softmax(teacher), softmax(scores)
    expected = (p * np.log(p / q)).sum(axis=1).mean()
    assert kl_loss(torch.tensor(scores), torch.tensor(teacher)).item() == pytest.approx(expected, rel=1e-12)
    assert kl_loss(torch.tensor(teacher) + 7, torch.tensor(teacher)).item() == pytest.approx(0, abs=1e-12)


def test_margin_mse_loss_is_the_formula() -> None:
    scores, teacher = RNG.normal(size=(6, 4)), RNG.normal(size=(6, 4))
    errors = [(s[0] - s[k] - t[0] + t[k]) ** 2 for s, t in zip(scores, teacher, strict=True) for k in (1, 2, 3)]
    assert margin_mse_loss(torch.tensor(scores), torch.tensor(teacher)).item() == pytest.approx(np.mean(errors))
    assert margin_mse_loss(torch.tensor(teacher) + 7, torch.tensor(teacher)).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("name", "loss"), [("kl", kl_loss), ("margin-mse", margin_mse_loss)])
def test_mixture_with_the_judgments(name: str, loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
    scores, teacher = torch.randn(6, 4), torch.randn(6, 4)
    mixed = Distillation(name, weight=0.25, temperature=0.05).mixed_with(torch.tensor(3.0), scores, teacher)
    assert mixed.item() == pytest.approx(0.75 * 3 + 0.25 * loss(scores, teacher * 20).item(), rel=1e-6)
