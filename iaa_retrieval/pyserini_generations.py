"""What differs between Pyserini 1.6 and 2.x when it is imported, and which of them is installed.

From 2.1 on Pyserini always asks the JVM for the module ``jdk.incubator.vector``, whether the runtime has it or not;
from 2.4 on it fetches tables of prebuilt indexes from the network while it is imported. Both are mended at the moment
of the import, so that nothing is paid where Pyserini is not used.
"""

from __future__ import annotations

import collections.abc
import importlib.metadata
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

from iaa_retrieval.import_hooks import hook_import

VECTOR_MODULE = "--add-modules=jdk.incubator.vector"


def pyserini_version() -> tuple[int, int] | None:
    """Release of the installed Pyserini, such as (2, 4); None where it is not installed."""
    try:
        version = importlib.metadata.version("pyserini")
    except importlib.metadata.PackageNotFoundError:
        return None
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def is_second_generation() -> bool:
    """Whether the installed Pyserini is 2.x."""
    version = pyserini_version()
    return version is not None and version[0] >= 2


def prepare_import(*, has_vector_module: bool) -> None:
    """Let ``import pyserini...`` of 2.x work without network, and with a Java runtime that lacks the vector module.

    Args:
        has_vector_module: whether the runtime has ``jdk.incubator.vector``.
    """
    if not is_second_generation():
        return
    hook_import("pyserini.prebuilt_index_info", _load_without_network)
    hook_import("pyserini._jvm", _load_plain if has_vector_module else _load_without_vector_module)


def _load_plain(module: ModuleType, load: Callable[[], None]) -> None:
    load()


def _load_without_vector_module(module: ModuleType, load: Callable[[], None]) -> None:
    """Take back the option for the vector module as soon as Pyserini has set it."""
    load()
    configure: Callable[..., None] = module.configure_classpath

    def configure_classpath(*arguments: Any, **options: Any) -> None:
        import jnius_config

        configure(*arguments, **options)
        jnius_config.set_options(*(option for option in jnius_config.get_options() if option != VECTOR_MODULE))

    module.configure_classpath = configure_classpath  # type: ignore[attr-defined]


def _load_without_network(module: ModuleType, load: Callable[[], None]) -> None:
    """Look up in the tables of prebuilt indexes only what is used, not what is named while they are defined.

    The tables are mappings that download themselves at the first look-up, and two aliases look up while the module
    is imported. Until it is, a look-up gives an entry that waits.
    """
    importing = True

    class Table(Mapping[str, Any]):
        def __init_subclass__(cls) -> None:
            look_up = cls.__getitem__

            def get(self: Table, key: str) -> Any:
                return _WaitingEntry(self, key) if importing else look_up(self, key)

            cls.__getitem__ = get  # type: ignore[method-assign,assignment]

    stock = collections.abc.Mapping
    collections.abc.Mapping = Table  # type: ignore[misc,assignment]
    try:
        load()
    finally:
        collections.abc.Mapping = stock  # type: ignore[misc]
        importing = False


class _WaitingEntry(Mapping[str, Any]):
    """An entry of a table, looked up when something of it is asked for."""

    def __init__(self, table: Mapping[str, Any], key: str) -> None:
        self._table = table
        self._key = key

    def __getitem__(self, key: str) -> Any:
        return self._table[self._key][key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._table[self._key])

    def __len__(self) -> int:
        return len(self._table[self._key])
