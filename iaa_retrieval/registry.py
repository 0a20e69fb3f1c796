"""Registries that are open: objects by name, ours first, then those that installed packages bring by entry points."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, Generic, Protocol, TypeVar

from iaa_retrieval.errors import UsageError

LOG = logging.getLogger("iaa_retrieval")


class EntryPoints:
    """What installed packages bring by the entry points of one group, loaded once, when somebody first asks for it.

    One that cannot be loaded or taken is left out, with a warning of one line that names it.

    Args:
        what: what one of them is called in the warning, such as ``format``.
        group: the group, such as ``iaa_retrieval.exports``.
        take: called with each object that an entry point names; by default importing it was all.
    """

    def __init__(self, what: str, group: str, take: Callable[[Any], object] = lambda loaded: None) -> None:
        self.what = what
        self.group = group
        self._take = take
        self._loaded = False

    def load(self) -> None:
        """Load them, unless that was done before."""
        if self._loaded:
            return
        self._loaded = True  # first: what is imported below may ask again
        for point in entry_points(group=self.group):
            try:
                self._take(point.load())
            except Exception as error:  # whatever a package of somebody else raises while it is imported
                reason = " ".join(str(error).split()) or type(error).__name__
                LOG.warning("%s %s (entry point %s) is left out: %s", self.what, point.name, point.value, reason)


class Named(Protocol):
    """Anything that says what it is called."""

    @property
    def name(self) -> str:
        """What ``get`` finds it by."""


T = TypeVar("T", bound=Named)


class Registry(Generic[T]):
    """Objects by their names, in the order of registration.

    The entry points of ``group`` are loaded when the registry is first asked; each refers to an object such as
    ``register`` takes.

    Args:
        what: what one of the objects is called in messages, such as ``format``.
        group: the group of entry points.
    """

    def __init__(self, what: str, group: str) -> None:
        self.what = what
        self.packages = EntryPoints(what, group, self.register)
        self._entries: dict[str, T] = {}

    def register(self, entry: T) -> T:
        """Add an object, and return it.

        Raises:
            ValueError: another one has its name.
        """
        if entry.name in self._entries:
            raise ValueError(f"{self.what} {entry.name!r} is registered already")
        self._entries[entry.name] = entry
        return entry

    def get(self, name: str) -> T:
        """The object of that name.

        Raises:
            UsageError: there is none; the message lists the names that there are.
        """
        found = self._all().get(name)
        if found is None:
            raise UsageError(f"unknown {self.what} {name!r}; one of {', '.join(self.names())}")
        return found

    def names(self) -> tuple[str, ...]:
        """All names, in order."""
        return tuple(self._all())

    def _all(self) -> dict[str, T]:
        self.packages.load()
        return self._entries
