"""Register our PEFT types at the moment PEFT is imported.

``import iaa_retrieval`` must be enough for PEFT to know our methods, yet ``--help`` must not pay the seconds
that importing PEFT costs. So a one-shot finder waits for ``import peft`` and registers right after it.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


def register_when_peft_is_imported() -> None:
    """Register now when PEFT is loaded already, else right after its import."""
    if "peft" in sys.modules:
        _register()
    elif not any(isinstance(finder, _PeftFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _PeftFinder())


def _register() -> None:
    import iaa_retrieval.tuning.registration  # noqa: F401  (registers on import)


class _PeftFinder(MetaPathFinder):
    """Answers for "peft" only, each time it is asked: libraries also look for PEFT without importing it."""

    def __init__(self) -> None:
        self._searching = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "peft" or self._searching:
            return None
        self._searching = True  # the search below asks every finder again, this one too
        try:
            spec = importlib.util.find_spec("peft")
        finally:
            self._searching = False
        if spec is not None and spec.loader is not None:
            spec.loader = _RegisteringLoader(spec.loader)
        return spec


class _RegisteringLoader(Loader):
    """PEFT's own loader, followed by our registration."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # Our part ends here: importlib.resources and others ask a loader for more than a wrapper has.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        _register()
