"""Length-bucketed batches under a token budget, so that almost no work goes into padding."""

from __future__ import annotations

from collections.abc import Sequence

import torch

# Widths are rounded up to this: a CPU compiles its bf16 kernels anew for each shape, which takes longer than running
# them, so a few shapes must do. The price is a few per cent more padding.
WIDTH_STEP = 16


def bucket_batches(lengths: Sequence[int], *, token_budget: int, max_texts: int) -> list[list[int]]:
    """Group texts of similar length.

    Args:
        lengths: tokens of each text.
        token_budget: the most tokens, padding included, in one batch (a single longer text is its own batch).
        max_texts: the most texts in one batch.

    Returns:
        Lists of positions into ``lengths``, longest texts first (so that memory peaks at the start).
    """
    batches: list[list[int]] = []
    batch: list[int] = []
    for position in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        width = round_up(lengths[batch[0]]) if batch else 0
        if batch and (len(batch) == max_texts or width * (len(batch) + 1) > token_budget):
            batches.append(batch)
            batch = []
        batch.append(position)
    if batch:
        batches.append(batch)
    return batches


def round_up(width: int) -> int:
    """The next multiple of :data:`WIDTH_STEP`."""
    return -(-width // WIDTH_STEP) * WIDTH_STEP


def pad(
    rows: Sequence[Sequence[int]], pad_id: int, device: torch.device, max_width: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-pad token rows into (input_ids, attention_mask), both int64 [batch, width].

    The width is the longest row's, rounded up as far as ``max_width``, which no row exceeds, allows.
    """
    width = min(round_up(max(map(len, rows))), max_width)
    ids = torch.full((len(rows), width), pad_id, dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row, dtype=torch.long)
        mask[index, : len(row)] = 1
    return ids.to(device, non_blocking=True), mask.to(device, non_blocking=True)
