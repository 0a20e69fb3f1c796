"""What the tests around Pyserini share: an unchanged environment, tiny collections, both Java runtimes."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def same_environment() -> Iterator[None]:
    """``prepare_java`` changes the environment; every test starts from the same one."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
