"""Register our PEFT types at the moment PEFT is imported.

``import iaa_retrieval`` must be enough for PEFT to know our methods, yet ``--help`` must not pay the seconds
that importing PEFT costs. So registration waits for ``import peft`` and comes right after it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType

from iaa_retrieval.import_hooks import hook_import


def register_when_peft_is_imported() -> None:
    """Register now when PEFT is loaded already, else right after its import."""
    if "peft" in sys.modules:
        _register()
    else:
        hook_import("peft", _load_and_register)


def _load_and_register(module: ModuleType, load: Callable[[], None]) -> None:
    load()
    _register()


def _register() -> None:
    import iaa_retrieval.tuning.registration  # noqa: F401  (registers on import)
