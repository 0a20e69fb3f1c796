"""Surfaces, sharpness and eigenvalues of quadratic losses, where all of them are known, and of a tiny encoder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from iaa_retrieval.analysis.loss_landscape import (
    Landscape,
    filter_normalised,
    hessian_product,
    mean_rise,
    surface_row,
    top_eigenvalue,
)
from iaa_retrieval.models.kinds import RETRIEVERS
from iaa_retrieval.models.new_retriever import new_bi_encoder

MATRIX, VECTOR = (3, 4), 2
SIZE = 3 * 4 + 2


def generator(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def quadratic(top: float = 6.0) -> tuple[Landscape, np.ndarray, np.ndarray]:
    """Mean of two batches' ``w^T A w / 2 + g^T w + 1``; the Hessian, with eigenvalue ``top``, and g."""
    rng = np.random.default_rng(3)
    rotation, _ = np.linalg.qr(rng.normal(size=(SIZE, SIZE)))
    hessian = rotation @ np.diag([top, *np.linspace(-2, 3, SIZE - 1)]) @ rotation.T
    difference = rng.normal(size=(SIZE, SIZE))
    difference += difference.T
    slope = rng.normal(size=SIZE)
    parameters = [nn.Parameter(torch.tensor(rng.normal(size=shape))) for shape in (MATRIX, VECTOR)]

    def batch(sign: int) -> Callable[[], Tensor]:
        matrix, linear = torch.tensor(hessian + sign * difference), torch.tensor(slope)

        def loss() -> Tensor:
            w = torch.cat([parameter.flatten() for parameter in parameters])
            return w @ matrix @ w / 2 + linear @ w + 1

        return loss

    return Landscape(parameters, [batch(1), batch(-1)]), hessian, slope


def flat(vector: list[Tensor]) -> np.ndarray:
    return np.concatenate([part.detach().numpy().ravel() for part in vector])


def test_filters_keep_their_lengths_and_a_zero_filter_does_not_move() -> None:
    matrix = nn.Parameter(torch.randn(5, 7, generator=generator(1)))
    vector = nn.Parameter(torch.randn(6, generator=generator(2)))
    with torch.no_grad():
        matrix[2] = 0
    direction = filter_normalised([matrix, vector], generator())
    torch.testing.assert_close(direction[0].norm(dim=1), matrix.norm(dim=1))
    torch.testing.assert_close(direction[1].norm(), vector.norm())
    noise = torch.randn(5, 7, generator=generator())
    torch.testing.assert_close(direction[0][0] / direction[0][0].norm(), noise[0] / noise[0].norm())
    assert not direction[0][2].any()


def test_the_surface_of_a_quadratic_is_the_quadratic() -> None:
    landscape, hessian, slope = quadratic()
    start = flat([*landscape.parameters])
    random = generator()
    first, second = (filter_normalised(landscape.parameters, random) for _ in range(2))
    for a in (-1.0, 0.3):
        values = (-0.5, 0.0, 1.0)
        points = [start + a * flat(first) + b * flat(second) for b in values]
        expected = [w @ hessian @ w / 2 + slope @ w + 1 for w in points]
        assert surface_row(landscape, first, second, a, values) == pytest.approx(expected, rel=1e-12)
        assert flat([*landscape.parameters]).tobytes() == start.tobytes()


def test_the_rise_of_a_quadratic_is_half_its_curvature_and_its_slope_drops_out() -> None:
    landscape, hessian, _ = quadratic()
    start = flat([*landscape.parameters])
    random = generator(9)
    drawn = [flat(filter_normalised(landscape.parameters, random)) for _ in range(4)]
    expected = [0.3**2 * d @ hessian @ d / 2 for d in drawn]
    found = mean_rise(landscape, 0.3, 4, generator(9))
    assert found == pytest.approx((np.mean(expected), np.std(expected, ddof=1), 4), rel=1e-9)
    assert mean_rise(landscape, 0.3, 1, generator(9))[1] == 0
    assert flat([*landscape.parameters]).tobytes() == start.tobytes()


@pytest.mark.parametrize("top", [6.0, -6.0])
def test_the_top_eigenvalue_of_a_quadratic(top: float) -> None:
    landscape, hessian, _ = quadratic(top)
    largest = max(np.linalg.eigvalsh(hessian), key=abs)
    assert largest == pytest.approx(top)
    found = top_eigenvalue(landscape, generator(), iterations=200, tolerance=1e-9)
    assert found.value == pytest.approx(top, rel=1e-6) and found.converged and 2 < found.iterations < 200
    early = top_eigenvalue(landscape, generator(), iterations=2)
    assert early.iterations == 2 and not early.converged


def test_a_flat_loss_has_eigenvalue_zero() -> None:
    parameter = nn.Parameter(torch.ones(3))
    found = top_eigenvalue(Landscape([parameter], [lambda: (2 * parameter).sum()]), generator())
    assert (found.value, found.converged) == (0.0, True)


def test_products_with_the_hessian_of_an_encoder_are_differences_of_its_gradients(
    tiny_backbone: Callable[[str], Path],
) -> None:
    """With the attention kernel that inference uses, which has no second derivative of its own."""
    model = new_bi_encoder(str(tiny_backbone("bert")), pooling="mean", normalize=True, precision="fp32", device="cpu")
    assert model.network.config._attn_implementation == "sdpa" and type(model) is RETRIEVERS["bi-encoder"]
    model.double()
    ids = torch.randint(5, 100, (4, 9), generator=generator())
    parameters = [p for name, p in model.named_parameters() if "layer.1.attention" in name]

    def loss() -> Tensor:
        vectors = model(input_ids=ids, attention_mask=torch.ones_like(ids))
        return nn.functional.cross_entropy(vectors[:2] @ vectors.T / 0.05, torch.tensor([2, 3]))

    landscape = Landscape(parameters, [loss])
    vector = filter_normalised(parameters, generator())
    product = flat(hessian_product(landscape, vector))
    gradients = []
    for size in (1e-3, -1e-3):
        with torch.no_grad():
            for parameter, part in zip(parameters, vector, strict=True):
                parameter += size * part
        gradients.append(flat([*torch.autograd.grad(loss(), parameters)]))
        with torch.no_grad():
            for parameter, part in zip(parameters, vector, strict=True):
                parameter -= size * part
    expected = (gradients[0] - gradients[1]) / 2e-3
    assert np.linalg.norm(product - expected) < 1e-3 * np.linalg.norm(expected)
