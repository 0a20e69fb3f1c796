"""Forward passes in chunks of similar length: less padding and, where asked for, the memory of one chunk only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch.utils.checkpoint import checkpoint

from iaa_retrieval.inference.batching import round_up

CHUNK_ROWS = 16  # on a CPU: enough for efficient matrix products, few enough to part short texts from long ones


def forward_in_chunks(
    forward: Callable[..., torch.Tensor], inputs: Mapping[str, torch.Tensor], grad_cache: int | None = None
) -> torch.Tensor:
    """Call ``forward`` on chunks of rows, sorted by length and without the padding that a chunk does not need.

    Args:
        forward: token ids, attention mask and so on, [rows, tokens] each, to one result per row; it must not mix
            rows.
        inputs: its keyword arguments, ``attention_mask`` among them; right-padded.
        grad_cache: keep the activations of so many rows only, and run each chunk's forward again when its gradient
            is due. This is gradient caching (Gao et al., RepL4NLP 2021) left to autograd: peak memory is that of
            one chunk, the gradient that of the whole batch, dropout included. None keeps all activations.

    Returns:
        [rows, ...], in the order of the inputs.
    """
    chunks = chunks_of(inputs["attention_mask"], grad_cache)
    results = []
    for chunk, width in chunks:
        part = {name: values[chunk, :width] for name, values in inputs.items()}
        run = partial(forward, **part)
        results.append(run() if grad_cache is None else checkpoint(run, use_reentrant=False))
    order = torch.cat([chunk for chunk, _ in chunks])
    return torch.cat(results)[order.argsort()]


def chunks_of(mask: torch.Tensor, grad_cache: int | None = None) -> Sequence[tuple[torch.Tensor, int]]:
    """The rows of each chunk, longest texts first, and the most tokens in it.

    Args:
        mask: attention mask [rows, tokens]; right-padded.
        grad_cache: rows of a chunk; None is what suits the device.
    """
    rows = CHUNK_ROWS if mask.device.type == "cpu" else mask.shape[0]
    lengths = mask.sum(dim=1)
    order = lengths.argsort(descending=True, stable=True)
    # What the inputs lack of a width, they lack.
    return [(chunk, round_up(int(lengths[chunk[0]]))) for chunk in torch.split(order, grad_cache or rows)]
