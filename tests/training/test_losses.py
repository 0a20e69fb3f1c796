import numpy as np
import pytest
import torch

from iaa_retrieval.training.losses import contrastive_loss, localized_contrastive_loss

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
    loss = contrastive_loss(torch.tensor(QUERIES), torch.tensor(PASSAGES), torch.tensor(POSITIVES), ignore, temperature)
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
    passages = torch.tensor(PASSAGES, requires_grad=True)
    ignore = torch.zeros(1, 5, dtype=torch.bool)
    ignore[0, 3] = True
    contrastive_loss(torch.tensor(QUERIES[:1]), passages, torch.tensor([0]), ignore, 0.5).backward()
    assert passages.grad is not None
    assert passages.grad[3].abs().max() == 0
    assert passages.grad[[0, 1, 2, 4]].abs().min() > 0


def test_gradient_of_the_contrastive_loss() -> None:
    queries = torch.tensor(QUERIES, requires_grad=True)
    passages = torch.tensor(PASSAGES, requires_grad=True)
    ignore = NOTHING_IGNORED.clone()
    ignore[1, 4] = True
    assert torch.autograd.gradcheck(
        lambda q, p: contrastive_loss(q, p, torch.tensor(POSITIVES), ignore, 0.7), (queries, passages)
    )


def test_masking_works_in_bf16() -> None:
    ignore = NOTHING_IGNORED.clone()
    ignore[0, 1:] = True
    loss = contrastive_loss(
        torch.tensor(QUERIES[:1], dtype=torch.bfloat16),
        torch.tensor(PASSAGES, dtype=torch.bfloat16),
        torch.tensor([0]),
        ignore[:1],
        0.05,
    )
    assert loss.item() == 0  # the positive alone is left


def test_localized_contrastive_loss_is_the_formula() -> None:
    scores = RNG.normal(size=(6, 4))
    exponentials = np.exp(scores)
    expected = -np.log(exponentials[:, 0] / exponentials.sum(axis=1)).mean()
    assert localized_contrastive_loss(torch.tensor(scores)).item() == pytest.approx(expected, rel=1e-12)
