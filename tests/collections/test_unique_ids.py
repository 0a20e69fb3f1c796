"""Ids that come twice are noticed, however many came between."""

from __future__ import annotations

import random

import pytest

from iaa_retrieval.collections import unique_ids
from iaa_retrieval.collections.unique_ids import UniqueIds


@pytest.mark.parametrize("seed", range(3))
def test_it_agrees_with_a_set(seed: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(unique_ids, "RECENT", 10)
    rng = random.Random(seed)
    ids, known = UniqueIds(), set()
    for _ in range(2000):
        name = f"doc-{rng.randrange(1500)}"
        assert ids.add(name) == (name not in known)
        known.add(name)
