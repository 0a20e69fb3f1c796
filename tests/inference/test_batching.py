"""Batches: every text once, longest first, under the budget; padding on the right."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest
import torch

from iaa_retrieval.inference.batching import bucket_batches, compute_into, pad, round_up


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iaa_retrieval.inference.batching.WIDTH_STEP", 2)


def test_a_worked_example():
    # Widths are even: [9] is 10 alone; [5, 5] is 12; four times 4 were 16; [2, 2, 1] is 6.
    assert bucket_batches([3, 9, 5, 3, 5, 2, 2, 1], token_budget=12, max_texts=8) == [[1], [2, 4], [0, 3, 5], [6, 7]]


@pytest.mark.parametrize("seed", range(5))
def test_batches_hold_every_text_once_longest_first_within_the_budget(seed: int):
    rng = random.Random(seed)
    lengths = [rng.randint(1, 60) for _ in range(300)]
    batches = bucket_batches(lengths, token_budget=200, max_texts=7)
    order = [position for batch in batches for position in batch]
    assert sorted(order) == list(range(300))
    assert [lengths[position] for position in order] == sorted(lengths, reverse=True)
    for batch in batches:
        assert len(batch) <= 7
        assert round_up(max(lengths[position] for position in batch)) * len(batch) <= 200
    for batch, following in pairwise(batches):  # no batch is cut short
        assert len(batch) == 7 or round_up(lengths[batch[0]]) * (len(batch) + 1) > 200, (batch, following)


def test_a_text_above_the_budget_is_a_batch_of_its_own():
    assert bucket_batches([50, 3, 50], token_budget=10, max_texts=8) == [[0], [2], [1]]


def test_nothing_makes_no_batch():
    assert bucket_batches([], token_budget=10, max_texts=8) == []


def test_rows_are_padded_on_the_right():
    ids, mask = pad([[5, 6, 7], [8]], 9, torch.device("cpu"), 10)
    assert ids.tolist() == [[5, 6, 7, 9], [8, 9, 9, 9]]
    assert mask.tolist() == [[1, 1, 1, 0], [1, 0, 0, 0]]
    ids, mask = pad([[5, 6, 7], [8]], 9, torch.device("cpu"), 3)  # the most that the model takes
    assert ids.tolist() == [[5, 6, 7], [8, 9, 9]]


def test_results_go_where_their_texts_were() -> None:
    target = np.zeros((5, 2), dtype=np.float32)
    made: list[list[int]] = []

    def compute(batch: list[int]) -> torch.Tensor:
        assert all(target[done].all() for done in made)  # on a CPU nothing waits
        made.append(batch)
        return torch.tensor([[position + 1.0, 10.0] for position in batch])

    compute_into(target, iter([[3, 0], [4], [1, 2]]), compute)
    assert target.tolist() == [[1, 10], [2, 10], [3, 10], [4, 10], [5, 10]]
