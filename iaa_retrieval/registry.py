"""Registries that are open: objects by name, ours first, then those that installed packages bring by entry points."""

from __future__ import annotations

import logging
from importlib.metadata import entry_points
from typing import Generic, Protocol, TypeVar

from iaa_retrieval.errors import UsageError

LOG = logging.getLogger("iaa_retrieval")


class Named(Protocol):
    """Anything that says what it is called."""

    name: str


T = TypeVar("T", bound=Named)


class Registry(Generic[T]):
    """Objects by their names, in the order of registration.

    The entry points of ``group`` are loaded when the registry is first asked; each refers to an object such as
    :meth:`register` takes. One that cannot be loaded is left out, with a warning of one line that names it.

    Args:
        what: what one of the objects is called in messages, such as ``format``.
        group: the group of entry points.
    """

    def __init__(self, what: str, group: str) -> None:
        self.what = what
        self.group = group
        self._entries: dict[str, T] = {}
        self._searched = False

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
        if not self._searched:
            self._searched = True
            for point in entry_points(group=self.group):
                try:
                    self.register(point.load())
                except Exception as error:  # whatever a package of somebody else raises while it is imported
                    reason = str(error).partition("\n")[0] or type(error).__name__
                    LOG.warning("%s %s (entry point %s) is left out: %s", self.what, point.name, point.value, reason)
        return self._entries
