"""Java for the tests that compare with stock Pyserini."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture
def java() -> Iterator[None]:
    """The environment in which Pyserini can be imported, or a skip where there is no Java for it."""
    from iaa_retrieval.java import find_java, prepare_java

    if find_java() is None:
        pytest.skip("no Java 21 or newer on this machine")
    before = dict(os.environ)
    prepare_java()
    yield
    os.environ.clear()
    os.environ.update(before)
