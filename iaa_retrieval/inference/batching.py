"""Length-bucketed batches under a token budget, so that almost no work goes into padding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch

# Widths are rounded up to this: a CPU compiles its bf16 kernels anew for each shape, which takes longer than running
# them, and the large blocks of memory of one batch only fit the next where shapes recur. The price is one to three per
# cent more padding.
WIDTH_STEP = 16


def bucket_batches(
    lengths: Sequence[int], *, token_budget: int, max_texts: int, step: int | None = None
) -> list[list[int]]:
    """Group texts of similar length.

    Args:
        lengths: tokens of each text.
        token_budget: the most tokens, padding included, in one batch (a single longer text is its own batch).
        max_texts: the most texts in one batch.
        step: what widths are rounded up to; None is ``WIDTH_STEP``.

    Returns:
        Lists of positions into ``lengths``, longest texts first (so that memory peaks at the start).
    """
    batches: list[list[int]] = []
    batch: list[int] = []
    for position in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        width = round_up(lengths[batch[0]], step) if batch else 0
        if batch and (len(batch) == max_texts or width * (len(batch) + 1) > token_budget):
            batches.append(batch)
            batch = []
        batch.append(position)
    if batch:
        batches.append(batch)
    return batches


def compute_into(
    target: np.ndarray, batches: Iterable[list[int]], compute: Callable[[list[int]], torch.Tensor]
) -> None:
    """Fill ``target[batch]`` with ``compute(batch)`` for every batch.

    A GPU computes while the next batches are made, so its results are fetched at the end. On a CPU they are taken at
    once: what lies between the large blocks of earlier batches keeps those from being joined again, and memory grows.
    """
    waiting: list[tuple[list[int], torch.Tensor]] = []
    for batch in batches:
        rows = compute(batch)
        if rows.device.type == "cpu":
            target[batch] = rows.numpy()
        else:
            waiting.append((batch, rows))
    for batch, rows in waiting:
        target[batch] = rows.cpu().numpy()


def round_up(width: int, step: int | None = None) -> int:
    """The next multiple of ``step``, None being ``WIDTH_STEP``."""
    step = step or WIDTH_STEP
    return -(-width // step) * step


def pad(
    rows: Sequence[Sequence[int]], pad_id: int, device: torch.device, max_width: int, step: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-pad token rows into (input_ids, attention_mask), both int64 [batch, width].

    The width is the longest row's, rounded up to a multiple of ``step`` (None is ``WIDTH_STEP``) as far as
    ``max_width``, which no row exceeds, allows.
    """
    width = min(round_up(max(map(len, rows)), step), max_width)
    ids = torch.full((len(rows), width), pad_id, dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row, dtype=torch.long)
        mask[index, : len(row)] = 1
    if device.type == "cuda":  # only from pinned memory does a copy run beside the computation
        ids, mask = ids.pin_memory(), mask.pin_memory()
    return ids.to(device, non_blocking=True), mask.to(device, non_blocking=True)
