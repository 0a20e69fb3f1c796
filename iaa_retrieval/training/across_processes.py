"""In-batch negatives across the processes of a distributed run."""

from __future__ import annotations

import os

import torch
from torch import distributed


def process_count() -> int:
    """Processes that train together; 1 without a distributed run."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def launched_processes() -> int:
    """Processes that torchrun started, known before they have found each other; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def gather_rows(own: torch.Tensor) -> torch.Tensor:
    """The rows of all processes, [sum of rows, ...], in the order of their ranks.

    Only the rows of this process carry a gradient. When every process takes the loss over everything, the sum of
    the processes' gradients is that of the joint batch. Numbers of rows may differ, other dimensions may not.
    """
    if process_count() == 1:
        return own
    counts = [torch.zeros(1, dtype=torch.long, device=own.device) for _ in range(process_count())]
    distributed.all_gather(counts, torch.tensor([own.shape[0]], device=own.device))
    most = int(max(counts))
    padded = own.new_zeros((most, *own.shape[1:]))
    padded[: own.shape[0]] = own.detach()
    gathered = [torch.empty_like(padded) for _ in counts]
    distributed.all_gather(gathered, padded)
    gathered = [rows[: int(count)] for rows, count in zip(gathered, counts, strict=True)]
    gathered[distributed.get_rank()] = own
    return torch.cat(gathered)


def rows_before(own: torch.Tensor) -> int:
    """How many rows the processes of lower rank have; where this process's rows begin in ``gather_rows``."""
    if process_count() == 1:
        return 0
    ranks = torch.full((own.shape[0],), distributed.get_rank(), device=own.device)
    return int((gather_rows(ranks) < distributed.get_rank()).sum())


def widest(own: torch.Tensor) -> int:
    """The largest second dimension of ``own`` in any process."""
    width = torch.tensor([own.shape[1]], device=own.device)
    return int(gather_rows(width).max())


def scaled_for_averaging(loss: torch.Tensor) -> torch.Tensor:
    """The same value with the gradient times the number of processes, which distributed training then averages."""
    return loss + (process_count() - 1) * (loss - loss.detach())
