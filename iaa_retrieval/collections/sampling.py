"""Random samples that depend on nothing but the ids and a seed."""

from __future__ import annotations

import random
from collections.abc import Iterable


def sample_ids(ids: Iterable[str], count: int | None, seed: int) -> list[str]:
    """``count`` of the ids, sorted; all of them when there are no more, or ``count`` is None."""
    everything = sorted(ids)
    if count is None or count >= len(everything):
        return everything
    return sorted(random.Random(seed).sample(everything, count))
