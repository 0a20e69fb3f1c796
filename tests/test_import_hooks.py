"""Hooks into the import of other packages' modules."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from iaa_retrieval.import_hooks import hook_import


@pytest.fixture
def module_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty module called ``hooked_module``, importable and forgotten afterwards."""
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "hooked_module", raising=False)
    return tmp_path / "hooked_module.py"


def test_a_hook_runs_around_the_import_and_at_no_other_time(module_file: Path) -> None:
    module_file.write_text("value = 1\n")
    seen = []

    def hook(module: ModuleType, load: Callable[[], None]) -> None:
        seen.append(hasattr(module, "value"))
        load()
        seen.append(hasattr(module, "value"))

    hook_import("hooked_module", hook)
    assert importlib.util.find_spec("hooked_module") is not None and seen == []
    module = importlib.import_module("hooked_module")
    assert seen == [False, True]
    assert type(module.__loader__).__name__ == "SourceFileLoader" == type(module.__spec__.loader).__name__
    sys.modules.pop("hooked_module")


def test_a_second_hook_of_the_same_name_replaces_the_first(module_file: Path) -> None:
    module_file.write_text("")
    seen = []

    def hook(number: int) -> Callable[[ModuleType, Callable[[], None]], None]:
        return lambda module, load: (seen.append(number), load())[1]

    hook_import("hooked_module", hook(1))
    hook_import("hooked_module", hook(2))
    importlib.import_module("hooked_module")
    assert seen == [2]
    sys.modules.pop("hooked_module")


def test_what_the_module_raises_is_raised(module_file: Path) -> None:
    module_file.write_text("raise ValueError('broken')\n")
    hook_import("hooked_module", lambda module, load: load())
    with pytest.raises(ValueError, match="broken"):
        importlib.import_module("hooked_module")
    assert "hooked_module" not in sys.modules
