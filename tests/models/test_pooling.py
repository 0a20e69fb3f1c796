"""Pooling against the definition, written out in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from iaa_retrieval.models.pooling import POOLINGS, pool

HIDDEN = np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32)
LENGTHS = (5, 3, 1)


def mask(side: str) -> np.ndarray:
    """Three texts of 5, 3 and 1 tokens, padded to 5."""
    rows = [[1] * length + [0] * (5 - length) for length in LENGTHS]
    return np.array(rows if side == "right" else [row[::-1] for row in rows])


def expected(mode: str, side: str) -> np.ndarray:
    rows = []
    for hidden, length in zip(HIDDEN, LENGTHS, strict=True):
        real = hidden[:length] if side == "right" else hidden[5 - length :]
        rows.append({"mean": real.mean(axis=0), "cls": real[0], "last": real[-1]}[mode])
    return np.stack(rows)


@pytest.mark.parametrize("side", ("right", "left"))
@pytest.mark.parametrize("mode", POOLINGS)
def test_pooling_takes_only_real_tokens(mode: str, side: str):
    vectors = pool(torch.tensor(HIDDEN), torch.tensor(mask(side)), mode)
    np.testing.assert_allclose(vectors.numpy(), expected(mode, side), atol=1e-6)


@pytest.mark.parametrize("mode", POOLINGS)
def test_pooling_answers_in_fp32_and_adds_in_fp32(mode: str):
    hidden = torch.full((1, 1000, 2), 1.0078125, dtype=torch.bfloat16)
    vectors = pool(hidden, torch.ones(1, 1000, dtype=torch.long), mode)
    assert vectors.dtype == torch.float32
    assert torch.equal(vectors, torch.full((1, 2), 1.0078125))  # a bf16 sum would stop growing at 256


def test_an_unknown_pooling_is_refused():
    with pytest.raises(ValueError, match="unknown pooling 'max'; one of mean, cls, last"):
        pool(torch.tensor(HIDDEN), torch.tensor(mask("right")), "max")
