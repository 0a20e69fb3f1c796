"""A hub's cache with models in it, so that hub ids can be tested without a hub."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


def use_hub(cache: Path, patch: pytest.MonkeyPatch) -> None:
    """Let everything look for hub ids in ``cache``, offline."""
    import transformers
    from huggingface_hub import constants

    for module in (constants, transformers.utils.hub.constants):
        patch.setattr(module, "HF_HUB_CACHE", str(cache))
        patch.setattr(module, "HF_HUB_OFFLINE", True)


def put_on_hub(cache: Path, hub_id: str, directory: Path) -> None:
    """Put a copy of ``directory`` where the cache keeps ``hub_id``."""
    home = cache / f"models--{hub_id.replace('/', '--')}"
    commit = "0" * 40
    shutil.copytree(directory, home / "snapshots" / commit)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commit)
