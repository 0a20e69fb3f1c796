"""The progress bar of everything that takes more than a few seconds."""

from __future__ import annotations

from typing import Any


def progress(iterable: Any = None, **options: Any) -> Any:
    """A tqdm bar on standard error, off when that is not a terminal."""
    from tqdm import tqdm

    return tqdm(iterable, disable=None, dynamic_ncols=True, **options)
