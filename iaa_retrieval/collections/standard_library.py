"""Documented definitions of the Python standard library, read from its source and never imported."""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from iaa_retrieval.collections.code_definitions import Definition, definitions_in, module_name

_SKIPPED_DIRECTORIES = {
    "__pycache__", "dist-packages", "idle_test", "lib-dynload", "site-packages", "test", "tests",
}  # fmt: skip
# These belong to an installation or a platform, not to a Python version.
_SKIPPED_MODULES = re.compile(r"(?:sitecustomize|usercustomize|_sysconfigdata.*)\.py")


def documented_definitions() -> Iterator[Definition]:
    """Every documented definition at module or class level, modules and definitions in a fixed order."""
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py"), key=lambda path: path.relative_to(root).parts):
        parts = path.relative_to(root).parts
        if _SKIPPED_DIRECTORIES.isdisjoint(parts) and not _SKIPPED_MODULES.fullmatch(path.name):
            yield from definitions_in(path.read_bytes(), module_name(parts))
