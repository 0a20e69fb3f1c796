"""Warnings that a run says once, however often the same data is opened or read."""

from __future__ import annotations

import logging

_said: set[str] = set()


def warn_once(message: str) -> None:
    """Log a warning, unless this run has said the same before."""
    if message not in _said:
        _said.add(message)
        logging.getLogger("iaa_retrieval").warning("%s", message)


def begin_run() -> None:
    """A new command starts: what an earlier one in this process said may be said again."""
    _said.clear()
