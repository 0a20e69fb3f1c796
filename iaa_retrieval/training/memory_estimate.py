"""How much memory a training run will need, found out before its first step.

Weights, gradients and the optimiser's state are counted. What the activations need is measured on one and two texts of
full and of half length, with everything set as in training, and extended: it is proportional to the texts, and a
multiple of their length plus a multiple of its square (the attention's scores).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from iaa_retrieval.models.precision import DTYPES
from iaa_retrieval.models.retriever import Retriever
from iaa_retrieval.training.chunks import chunks_of
from iaa_retrieval.training.live_memory import bytes_of_pass
from iaa_retrieval.training.optimizers import state_bytes

# Of a process on a CPU, beside tensors: the tokenizer, and code of libraries that comes with its first use. Measured.
_PROCESS = 50 * 2**20
_SCORES = 6  # matrices of all similarities of a batch: scores, scaled, masked, softmax, and two gradients


class Chunk(NamedTuple):
    """Texts that go through the network together, and their length in tokens."""

    texts: int
    tokens: int


@dataclass(frozen=True)
class Growth:
    """Bytes as ``fixed + shared * tokens + texts * (linear * tokens + square * tokens**2)``."""

    fixed: float
    shared: float
    linear: float
    square: float

    def at(self, chunk: Chunk) -> float:
        """The bytes for a chunk."""
        texts, tokens = chunk
        once = max(self.fixed + self.shared * tokens, 0.0)
        return once + texts * max(self.linear * tokens + self.square * tokens**2, 0.0)

    @classmethod
    def through(cls, tokens: int, one: float, two: float, one_half: float, two_half: float) -> Growth:
        """That of four measurements: of one and of two texts of ``tokens``, and of half as many."""
        shorter = tokens // 2
        each, each_half = two - one, two_half - one_half
        square = (each / tokens - each_half / shorter) / (tokens - shorter)
        once, once_half = one - each, one_half - each_half
        shared = (once - once_half) / (tokens - shorter)
        return cls(once - shared * tokens, shared, each / tokens - square * tokens, square)


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that a training run needs at its most, on all of its devices together.

    Attributes:
        weights: of the network, in the form in which they are in memory.
        gradients: of what is trained.
        state: that the optimiser keeps.
        activations: the most that a step needs beside weights and state, gradients that are there then included.
        other: what the process needs beside tensors.
    """

    weights: int
    gradients: int
    state: int
    activations: int
    other: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.state + max(self.activations, self.gradients) + self.other


class MemoryEstimator:
    """Measures what one text needs, and says what whole steps will.

    Args:
        model: with its method on it, set and placed as for training.
        masks: attention masks [texts, tokens] of a batch, on the CPU: of queries and passages, or of pairs.
        precision: of the steps.
        optimizer: by transformers' name; None is AdamW.
    """

    def __init__(
        self, model: Retriever, masks: Sequence[torch.Tensor], precision: str, optimizer: str | None = None
    ) -> None:
        self._masks = masks
        self._on_gpu = model.device.type != "cpu"
        self._scores = 0 if model.reads_pairs else _SCORES * 4 * masks[0].shape[0] * masks[-1].shape[0]
        self._kept, self._beside = _growth(model, max(chunk.tokens for chunk in self._chunks(None)), precision)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._weights = weight_bytes(model)
        self._gradients = sum(parameter.numel() * parameter.element_size() for parameter in trained)
        self._state = state_bytes(optimizer, sum(parameter.numel() for parameter in trained))

    def estimate(self, grad_cache: int | None) -> MemoryEstimate:
        """What a step on such a batch needs.

        Args:
            grad_cache: texts whose activations are held at once; None holds all.
        """
        chunks = self._chunks(grad_cache)
        peak = _peak(chunks, self._kept, self._beside, self._gradients, cached=grad_cache is not None)
        other = 0 if self._on_gpu else _PROCESS
        return MemoryEstimate(self._weights, self._gradients, self._state, int(peak) + self._scores, other)

    def _chunks(self, grad_cache: int | None) -> list[Chunk]:
        """The passes that ``forward_in_chunks`` makes of the texts, in their order."""
        return [
            Chunk(len(chunk), min(width, mask.shape[1]))
            for mask in self._masks
            for chunk, width in chunks_of(mask, grad_cache or (mask.shape[0] if self._on_gpu else None))
        ]


def weight_bytes(model: torch.nn.Module) -> int:
    """Bytes of a model's parameters and buffers, shared ones once."""
    storages = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for tensor in (*model.parameters(), *model.buffers())
    }
    return sum(storages.values())


def _growth(model: Retriever, tokens: int, precision: str) -> tuple[Growth, Growth]:
    """What a pass keeps for its gradient, and what it needs beside that at its most."""
    tokens = max(tokens, 4)
    was_training = model.training
    model.train()
    measured = [
        bytes_of_pass(model, _pass(model, texts, length, precision))
        for texts, length in ((1, tokens), (2, tokens), (1, tokens // 2), (2, tokens // 2))
    ]
    model.train(was_training)
    kept = Growth.through(tokens, *(entry[0] for entry in measured))
    beside = Growth.through(tokens, *(peak - before for before, peak in measured))
    return kept, beside


def _pass(model: Retriever, texts: int, tokens: int, precision: str) -> Callable[[], torch.Tensor]:
    """A forward pass over so many texts of some token that every network has."""
    device = model.device
    ids = torch.zeros((texts, tokens), dtype=torch.long)
    ids[:, :] = model.tokenizer.eos_token_id or model.tokenizer.sep_token_id or 1
    inputs: dict[str, Any] = {
        name: (ids if name == "input_ids" else torch.ones_like(ids) if name == "attention_mask" else ids * 0).to(device)
        for name in model.input_names
    }

    def run() -> torch.Tensor:
        with torch.autocast(device.type, DTYPES[precision], enabled=precision != "fp32"):
            encode: Any = model if model.reads_pairs else model.encode_queries
            result: torch.Tensor = encode(**inputs)
        return result

    return run


def _peak(chunks: Sequence[Chunk], kept: Growth, beside: Growth, gradients: int, *, cached: bool) -> float:
    """The most bytes while the chunks go through the network and, the last one first, back."""
    if cached:
        done = gradients if len(chunks) > 1 else 0
        return done + max(kept.at(chunk) + beside.at(chunk) for chunk in chunks)
    peak, held = 0.0, 0.0
    for number, chunk in enumerate(chunks, start=1):
        held += kept.at(chunk)
        done = gradients if number < len(chunks) else 0  # of the chunks after this one, whose turn came before
        peak = max(peak, held + beside.at(chunk) + done)
    return peak
