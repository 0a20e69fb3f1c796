"""What the tests around Pyserini share: an unchanged environment, tiny collections, both Java runtimes."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def every_test_leaves_the_environment(same_environment: None) -> None:
    """Nearly all tests here call ``prepare_java``."""
