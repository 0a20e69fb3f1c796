"""Texts that are nearly the same: copies with a few words changed, as generated and vendored code has them.

Two texts are near duplicates if their sets of shingles (runs of ``SHINGLE`` words) have a Jaccard similarity of
``THRESHOLD`` or more. Candidates are found by their smallest shingle hashes (Broder, On the resemblance and
containment of documents, 1997) and then compared exactly, so a pair below the threshold is never taken for one.
"""

from __future__ import annotations

import re
from collections import defaultdict
from zlib import crc32

SHINGLE = 3  # words
THRESHOLD = 0.7
KEYS = 8  # smallest hashes that are looked up; two texts at the threshold share one but for 1 in 10 ** 4


class NearDuplicates:
    """Remembers texts, and knows whether a new one is nearly one of them."""

    def __init__(self) -> None:
        self._shingles: list[frozenset[int]] = []
        self._by_key: dict[int, list[int]] = defaultdict(list)

    def add(self, text: str) -> bool:
        """Remember a text unless a near duplicate of it is there; whether it was new."""
        shingles = shingles_of(text)
        keys = sorted(shingles)[:KEYS]
        candidates = {number for key in keys for number in self._by_key[key]}
        if any(jaccard(shingles, self._shingles[number]) >= THRESHOLD for number in candidates):
            return False
        for key in keys:
            self._by_key[key].append(len(self._shingles))
        self._shingles.append(shingles)
        return True


def shingles_of(text: str) -> frozenset[int]:
    """Hashes of the runs of words of a text in lower case; a text of fewer words is one run."""
    words = re.findall(r"\w+", text.lower())
    runs = range(max(1, len(words) - SHINGLE + 1))
    return frozenset(crc32(" ".join(words[start : start + SHINGLE]).encode()) for start in runs)


def jaccard(a: frozenset[int], b: frozenset[int]) -> float:
    """Size of the intersection over that of the union; 1 for two empty sets."""
    union = len(a | b)
    return len(a & b) / union if union else 1.0
