"""The listwise losses, against loops in plain Python, numerical gradients and the order that they should want."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from iaa_retrieval.training.losses.distillation import Distillation
from iaa_retrieval.training.losses.lambda_loss import lambda_loss
from iaa_retrieval.training.losses.listmle import listmle_loss
from iaa_retrieval.training.losses.localized_contrastive import localized_contrastive_loss
from iaa_retrieval.training.losses.pairwise import pairwise_loss
from iaa_retrieval.training.losses.ranknet import ranknet_loss

RNG = np.random.default_rng(17)
SCORES, TEACHER = RNG.normal(size=(5, 6)), RNG.normal(size=(5, 6))
Distil = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def lambda_by_hand(row: list[float]) -> float:
    """The sum over pairs, with ranks read off a sorted list and labels 1, 0, 0, ... as in the paper."""
    labels = [1] + [0] * (len(row) - 1)
    ranking = sorted(range(len(row)), key=lambda place: (-row[place], labels[place]))
    rank = {place: position for position, place in enumerate(ranking, start=1)}
    best = sum((2**label - 1) / math.log2(1 + k) for k, label in enumerate(sorted(labels, reverse=True), start=1))
    total = 0.0
    for i, j in itertools.product(range(len(row)), repeat=2):
        if labels[i] <= labels[j]:
            continue
        gains = abs((2 ** labels[i] - 1) - (2 ** labels[j] - 1)) / best
        rho = abs(1 / math.log2(1 + rank[i]) - 1 / math.log2(1 + rank[j]))
        apart = abs(rank[i] - rank[j])
        delta = abs(1 / math.log2(1 + apart) - 1 / math.log2(1 + apart + 1))
        total += (rho + 10 * delta) * gains * -math.log2(1 / (1 + math.exp(-(row[i] - row[j]))))
    return total


def test_lambda_loss_is_the_formula() -> None:
    expected = np.mean([lambda_by_hand(row) for row in SCORES.tolist()])
    assert lambda_loss(torch.tensor(SCORES)).item() == pytest.approx(expected, rel=1e-12)
    assert lambda_loss(torch.tensor(SCORES) + 7).item() == pytest.approx(expected, rel=1e-9)


def test_a_tie_counts_against_the_positive() -> None:
    row = [0.5, 0.5, 0.25, 0.5]
    assert lambda_loss(torch.tensor([row], dtype=torch.float64)).item() == pytest.approx(lambda_by_hand(row), rel=1e-12)
    equal = lambda_loss(torch.zeros(1, 4, dtype=torch.float64, requires_grad=True))
    assert equal.item() == pytest.approx(lambda_by_hand([0.0] * 4), rel=1e-12)


def test_lambda_weights_the_pairs_at_the_top_most() -> None:
    scores = torch.tensor([[0.0, 0.1, -0.1, -3.0]], dtype=torch.float64, requires_grad=True)
    lambda_loss(scores).backward()
    assert scores.grad is not None
    positive, above, below, far = scores.grad[0].tolist()
    assert positive < 0 < far < below and far < above
    assert positive == pytest.approx(-(above + below + far))


def ranknet_by_hand() -> float:
    costs = []
    for row, taught in zip(SCORES.tolist(), TEACHER.tolist(), strict=True):
        for i, j in itertools.permutations(range(len(row)), 2):
            if taught[i] > taught[j]:
                costs.append(math.log(1 + math.exp(row[j] - row[i])))
    return sum(costs) / len(costs)


def listmle_by_hand(row: list[float], taught: list[float]) -> float:
    order = sorted(range(len(row)), key=lambda place: -taught[place])  # stable: the earlier of equals first
    likelihood = 1.0
    for position, place in enumerate(order):
        likelihood *= math.exp(row[place]) / sum(math.exp(row[other]) for other in order[position:])
    return -math.log(likelihood)


def test_ranknet_loss_is_the_formula() -> None:
    assert ranknet_loss(torch.tensor(SCORES), torch.tensor(TEACHER)).item() == pytest.approx(
        ranknet_by_hand(), rel=1e-12
    )


def test_listmle_loss_is_the_formula() -> None:
    expected = np.mean([listmle_by_hand(*rows) for rows in zip(SCORES.tolist(), TEACHER.tolist(), strict=True)])
    assert listmle_loss(torch.tensor(SCORES), torch.tensor(TEACHER)).item() == pytest.approx(expected, rel=1e-12)


def test_likelihoods_of_all_orders_sum_to_one() -> None:
    scores = torch.tensor(SCORES[:1, :4])
    orders = [torch.tensor([order], dtype=torch.float64) for order in itertools.permutations(range(4))]
    assert sum(math.exp(-listmle_loss(scores, order).item()) for order in orders) == pytest.approx(1, rel=1e-12)


def test_ties_of_the_teacher() -> None:
    scores = torch.tensor(SCORES[:1, :4])
    taught = [3.0, 1.0, 3.0, 1.0]
    teacher = torch.tensor([taught], dtype=torch.float64)
    assert listmle_loss(scores, teacher).item() == pytest.approx(listmle_by_hand(scores[0].tolist(), taught), rel=1e-12)
    row = scores[0].tolist()
    pairs = [math.log(1 + math.exp(row[j] - row[i])) for i in (0, 2) for j in (1, 3)]
    assert ranknet_loss(scores, teacher).item() == pytest.approx(np.mean(pairs), rel=1e-12)
    student = scores.clone().requires_grad_()
    nothing = ranknet_loss(student, torch.ones_like(teacher))  # all alike: no pair
    nothing.backward()
    assert nothing.item() == 0 and student.grad is not None and not student.grad.any()


@pytest.mark.parametrize("loss", [ranknet_loss, listmle_loss])
def test_only_the_order_is_distilled(loss: Distil) -> None:
    scores, teacher = torch.tensor(SCORES), torch.tensor(TEACHER)
    value = loss(scores, teacher)
    assert torch.equal(loss(scores, teacher.exp() * 100), value)
    name = "ranknet" if loss is ranknet_loss else "listmle"
    mixed = [Distillation(name, 1.0, t).mixed_with(torch.tensor(9.0), scores, teacher) for t in (0.05, 1.0)]
    assert torch.equal(mixed[0], mixed[1]) and torch.equal(mixed[0], value)


@pytest.mark.parametrize("loss", [ranknet_loss, listmle_loss])
def test_the_teachers_order_costs_least(loss: Distil) -> None:
    values, teacher = torch.tensor([2.0, 1.0, 0.0, -1.0]), torch.tensor([[4.0, 3.0, 2.0, 1.0]])
    costs = {order: loss(values[list(order)][None], teacher).item() for order in itertools.permutations(range(4))}
    best = min(costs, key=lambda order: costs[order])
    assert best == (0, 1, 2, 3) and max(costs, key=lambda order: costs[order]) == (3, 2, 1, 0)
    assert loss(100 * values[None], teacher).item() == pytest.approx(0, abs=1e-12)


def test_a_positive_far_ahead_costs_nothing() -> None:
    behind = [lambda_loss(torch.tensor([[margin, 0.0, 0.1, 0.2]])).item() for margin in (-2.0, 0.05, 0.15, 2.0, 40.0)]
    assert behind == sorted(behind, reverse=True)
    assert behind[-1] == pytest.approx(0, abs=1e-9)


def test_what_they_are_with_two_passages() -> None:
    """With one negative, all are the pairwise loss: ``lambda`` in bits, weighted by the only swap there is."""
    scores = torch.tensor(SCORES[:, :2])
    judged = torch.tensor([[1.0, 0.0]], dtype=torch.float64).expand(5, 2)
    pairwise = pairwise_loss(scores)
    assert torch.allclose(ranknet_loss(scores, judged), pairwise)
    assert torch.allclose(listmle_loss(scores, judged), localized_contrastive_loss(scores))
    swap = 1 - 1 / math.log2(3)
    assert lambda_loss(scores).item() == pytest.approx(11 * swap / math.log(2) * pairwise.item(), rel=1e-12)


def test_gradients_are_the_numerical_ones() -> None:
    teacher = torch.tensor(TEACHER[:3])
    scores = torch.tensor(SCORES[:3], requires_grad=True)
    for loss in (lambda_loss, lambda s: ranknet_loss(s, teacher), lambda s: listmle_loss(s, teacher)):
        assert torch.autograd.gradcheck(loss, (scores,), eps=1e-6, atol=1e-6)
