"""A method that a checkpoint names and nothing here knows: that of a package which is not installed."""

from __future__ import annotations

from dataclasses import dataclass

from iaa_retrieval.tuning.methods.base import Method, Place


@dataclass(frozen=True, kw_only=True)
class NotInstalled(Method):
    """What can be said without the method: a network it was merged into works, and nothing is taken for granted."""

    packable: bool = False


def not_installed(name: str) -> NotInstalled:
    """The method of that name."""
    return NotInstalled(
        name=name,
        title=name,
        paper="",
        place=Place("unknown", "unknown", "unknown", "unknown", "unknown", "unknown", True),
        formula="unknown",
        initialisation="unknown",
    )
