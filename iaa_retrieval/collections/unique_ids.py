"""Noticing an id that comes twice among millions, in a few bytes an id."""

from __future__ import annotations

import hashlib

import numpy as np

# Ids are kept in a set until there are so many, or an eighth of the others; then they join the sorted ones.
RECENT = 65_536


class UniqueIds:
    """The 64-bit hashes of ids; about 16 bytes an id, where a set of strings takes more than a hundred."""

    def __init__(self) -> None:
        self._sorted = np.empty(0, dtype=np.uint64)
        self._recent: set[int] = set()

    def add(self, name: str) -> bool:
        """Remember ``name``; False when it is known already, or another with the same hash (one in 10^19) is."""
        number = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())
        if number in self._recent or self._holds(np.uint64(number)):
            return False
        self._recent.add(number)
        if len(self._recent) >= max(RECENT, len(self._sorted) // 8):
            recent = np.fromiter(self._recent, dtype=np.uint64, count=len(self._recent))
            self._sorted = np.concatenate([self._sorted, recent])
            self._sorted.sort()
            self._recent.clear()
        return True

    def _holds(self, number: np.uint64) -> bool:
        place = int(self._sorted.searchsorted(number))
        return place < len(self._sorted) and bool(self._sorted[place] == number)
