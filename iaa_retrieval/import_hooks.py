"""Doing something at the moment when another package's module is imported, without importing it sooner."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

# Given the module, still empty, and the function that fills it.
ImportHook = Callable[[ModuleType, Callable[[], None]], None]


def hook_import(name: str, hook: ImportHook) -> None:
    """Let ``hook`` fill a module whenever it is imported from now on; a second hook of that name replaces the first.

    Args:
        name: of the module, such as ``peft``; one that is imported already stays as it is.
        hook: called with the empty module and what fills it as usual.
    """
    for finder in sys.meta_path:
        if isinstance(finder, _HookFinder) and finder.name == name:
            finder.hook = hook
            return
    sys.meta_path.insert(0, _HookFinder(name, hook))


class _HookFinder(MetaPathFinder):
    """Answers for one module, each time it is asked: libraries also look for others without importing them."""

    def __init__(self, name: str, hook: ImportHook) -> None:
        self.name = name
        self.hook = hook
        self._searching = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name or self._searching:
            return None
        self._searching = True  # the search below asks every finder again, this one too
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._searching = False
        if spec is not None and spec.loader is not None:
            spec.loader = _HookedLoader(spec.loader, self.hook)
        return spec


class _HookedLoader(Loader):
    """A module's own loader, called by a hook."""

    def __init__(self, loader: Loader, hook: ImportHook) -> None:
        self._loader = loader
        self._hook = hook

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # Our part ends here: importlib.resources and others ask a loader for more than a wrapper has.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._hook(module, lambda: self._loader.exec_module(module))
