"""Vectors cut to their first numbers (Matryoshka representations; Kusupati et al., NeurIPS 2022).

A vector of unit length is made so again after the cut. So it does not matter whether the cut is made in the encoder or
of its finished vectors, nor whether it is made at once or in steps.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from iaa_retrieval.errors import UsageError
from iaa_retrieval.models.retriever_config import RetrieverConfig

if TYPE_CHECKING:
    import torch

LOG = logging.getLogger("iaa_retrieval")


def cut(vectors: torch.Tensor, size: int, *, normalize: bool) -> torch.Tensor:
    """The first ``size`` numbers of vectors [..., d], of unit length again where ``normalize`` says so."""
    from torch.nn import functional

    short = vectors[..., :size]
    return functional.normalize(short, dim=-1) if normalize else short


def cut_array(vectors: np.ndarray, size: int, *, normalize: bool) -> np.ndarray:
    """The same of float32 [..., d] outside of torch: float32 [..., size]."""
    short = np.ascontiguousarray(vectors[..., :size], dtype=np.float32)
    if not normalize:
        return short
    lengths = np.linalg.norm(short, axis=-1, keepdims=True)
    made: np.ndarray = short / np.maximum(lengths, np.float32(1e-12))  # as torch does with a vector of zeros
    return made


def require_size(size: int, width: int, name: str) -> None:
    """Refuse a cut that leaves no number, or that asks for more than there are.

    Args:
        size: numbers to keep.
        width: numbers of the vectors.
        name: whose vectors these are, for the message.

    Raises:
        UsageError: names both.
    """
    if not 1 <= size <= width:
        raise UsageError(f"--truncate-dim {size} is out of range; the vectors of {name} have {width} numbers")


def require_matryoshka(sizes: Sequence[int], width: int, name: str) -> None:
    """Refuse sizes to train for that are no cut of a vector.

    Args:
        sizes: numbers of the cut vectors.
        width: numbers of a whole vector.
        name: of the backbone, for the message.

    Raises:
        UsageError: names the first.
    """
    wrong = [size for size in sizes if not 1 <= size < width]
    if wrong:
        raise UsageError(
            f"--matryoshka {wrong[0]} is out of range; the vectors of {name} have {width} numbers, and are trained "
            f"whole as well, so each size must be below {width}"
        )


def remark_on_size(config: RetrieverConfig, size: int, width: int, name: str) -> None:
    """Warn of a size that an encoder was not trained for, as far as it says."""
    trained = config.matryoshka
    if size in (width, *trained):
        return
    if trained:
        said = f"it was trained for {', '.join(map(str, trained))} (and {width})"
    else:
        said = "nothing says that it was trained for that, as `train bi-encoder --matryoshka` does"
    LOG.warning("the vectors of %s are cut to %d of %d numbers, and %s", name, size, width, said)
