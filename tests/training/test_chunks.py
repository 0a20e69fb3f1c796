"""Chunked forward passes and gradient caching: the same results and gradients as the whole batch at once."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from iaa_retrieval.models.bi_encoder import BiEncoder, load_bi_encoder
from iaa_retrieval.models.new_retriever import new_cross_encoder
from iaa_retrieval.training.chunks import forward_in_chunks
from iaa_retrieval.training.collators import BiEncoderCollator, CrossEncoderCollator
from iaa_retrieval.training.data import ExampleDataset, TrainingData
from iaa_retrieval.training.losses.distillation import Distillation
from iaa_retrieval.training.objectives import BiEncoderObjective, CrossEncoderObjective
from iaa_retrieval.tuning.apply import EMBEDDING_TASK, apply_method

WORDS = "sound place made live water over first down find work part take get new little round".split()


def data() -> TrainingData:
    """Twelve queries; documents of one to twelve words, so that chunks differ in width."""
    passages = {f"d{n}": " ".join((WORDS * 2)[n : n + 1 + n % 12]) for n in range(16)}
    queries = {f"q{n}": " ".join(WORDS[n : n + 1 + n % 3]) for n in range(12)}
    negatives = {f"q{n}": [f"d{(n + k) % 16}" for k in (1, 2, 3)] for n in range(12)}
    teacher = {q: {d: float(7 * n % 5 + k) for k, d in enumerate(passages)} for n, q in enumerate(queries)}
    return TrainingData(queries, passages, {f"q{n}": [f"d{n}"] for n in range(12)}, negatives, teacher)


def objective(kind: str, backbone: str, grad_cache: int | None) -> tuple[Any, dict[str, torch.Tensor]]:
    torch.manual_seed(5)
    distillation = Distillation("kl", 0.3, 2.0)
    examples = [ExampleDataset(data(), 2, seed=1)[n] for n in range(12)]
    if kind == "bi-encoder":
        bi_encoder = load_bi_encoder(backbone, pooling="mean", normalize=True, precision="fp32", device="cpu")
        bi_encoder.encoder = apply_method(bi_encoder.encoder, "iaa-l", {"r": 4, "ar": 3}, task_type=EMBEDDING_TASK)
        made: Any = BiEncoderObjective(bi_encoder, 0.05, distillation, grad_cache, matryoshka=(16, 8))
        batch = BiEncoderCollator(bi_encoder, data(), 32)(examples)
    else:
        cross_encoder = new_cross_encoder(backbone)
        cross_encoder.classifier = apply_method(cross_encoder.classifier, "iaa-l", {"r": 4, "ar": 3})
        made = CrossEncoderObjective(cross_encoder, "localized-contrastive", distillation, grad_cache)
        batch = CrossEncoderCollator(cross_encoder, data(), 32)(examples)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn_like(parameter)
    return made, batch


def loss_and_gradients(made: Any, batch: dict[str, torch.Tensor]) -> tuple[float, dict[str, torch.Tensor]]:
    made.zero_grad()
    torch.manual_seed(9)  # what dropout draws
    loss = made(**batch)["loss"]
    (100 * loss).backward()  # gradients of a tiny model are tiny
    return loss.item(), {name: p.grad.clone() for name, p in made.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("kind", ["bi-encoder", "cross-encoder"])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("rows", [1, 5, 100])
def test_gradient_caching_gives_the_gradients_of_the_full_batch(
    kind: str, training: bool, rows: int, tiny_backbone: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At temperature 0.05; with dropout, the chunks of the uncached run must be the same to draw the same."""
    monkeypatch.setattr("iaa_retrieval.training.chunks.CHUNK_ROWS", rows if training else 1000)
    whole, batch = objective(kind, str(tiny_backbone("bert")), None)
    cached, _ = objective(kind, str(tiny_backbone("bert")), rows)
    expected_loss, expected = loss_and_gradients(whole.train(training), batch)
    loss, gradients = loss_and_gradients(cached.train(training), batch)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert gradients.keys() == expected.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=1e-5)
    assert max(gradient.abs().max() for gradient in gradients.values()) > 1e-3


@pytest.mark.parametrize("kind", ["bi-encoder", "cross-encoder"])
def test_accumulating_over_chunks_is_a_step_on_the_large_batch(kind: str, tiny_backbone: Callable[[str], Path]) -> None:
    """Weights after a step, against the loss over all twelve queries at once; nothing else is called accumulation."""

    def after_a_step(grad_cache: int | None) -> dict[str, torch.Tensor]:
        made, batch = objective(kind, str(tiny_backbone("bert")), grad_cache)
        made = made.double().train()
        for module in made.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        trained = {name: parameter for name, parameter in made.named_parameters() if parameter.requires_grad}
        optimizer = torch.optim.AdamW(trained.values(), lr=0.01)
        made(**batch)["loss"].backward()
        optimizer.step()
        return {name: parameter.detach() for name, parameter in trained.items()}

    whole, cached = after_a_step(None), after_a_step(4)
    start = dict(objective(kind, str(tiny_backbone("bert")), None)[0].named_parameters())
    assert max((whole[name] - start[name]).abs().max() for name in whole) > 0.009
    for name in whole:
        torch.testing.assert_close(cached[name], whole[name], rtol=0, atol=1e-6)


def saved_bytes(made: Any, batch: dict[str, torch.Tensor]) -> int:
    """Bytes that autograd keeps between forward and backward."""
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        made(**batch)["loss"]
    return sum(kept.values())


@pytest.mark.parametrize("kind", ["bi-encoder", "cross-encoder"])
def test_gradient_caching_keeps_no_activations(kind: str, tiny_backbone: Callable[[str], Path]) -> None:
    whole, batch = objective(kind, str(tiny_backbone("bert")), None)
    cached, _ = objective(kind, str(tiny_backbone("bert")), 4)
    assert saved_bytes(cached, batch) < 0.05 * saved_bytes(whole, batch)


def test_chunks_change_no_row(tiny_backbone: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    encoder: BiEncoder = load_bi_encoder(str(tiny_backbone("bert")), precision="fp32", device="cpu")
    mask = (torch.arange(12)[None] < torch.tensor([3, 12, 7, 1, 7, 9, 2])[:, None]).long()
    inputs = {"input_ids": torch.randint(5, 100, (7, 12)) * mask, "attention_mask": mask}
    widths = []

    def forward(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        widths.append(tuple(input_ids.shape))
        return encoder(input_ids, attention_mask)

    monkeypatch.setattr("iaa_retrieval.training.chunks.CHUNK_ROWS", 3)
    monkeypatch.setattr("iaa_retrieval.inference.batching.WIDTH_STEP", 4)
    with torch.no_grad():
        chunked = forward_in_chunks(forward, copy.deepcopy(inputs))
        torch.testing.assert_close(chunked, encoder(**inputs), rtol=1e-4, atol=1e-5)
    assert widths == [(3, 12), (3, 8), (1, 4)]
