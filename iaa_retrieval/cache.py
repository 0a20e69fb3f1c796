"""Where what was fetched or made once is kept for all later runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_directory() -> Path:
    """``$IAA_RETRIEVAL_CACHE``, else ``iaa_retrieval`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    own = os.environ.get("IAA_RETRIEVAL_CACHE")
    if own:
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "iaa_retrieval"
