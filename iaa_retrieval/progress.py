"""The progress of everything that takes more than a few seconds: a bar on a terminal, lines in a log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, Self

LOG = logging.getLogger("iaa_retrieval")

SECONDS_BETWEEN_LINES = 30.0


def progress(iterable: Iterable[Any] | None = None, **options: Any) -> Any:
    """A tqdm bar on standard error, or where that is no terminal a line every half minute (see ``LoggedProgress``).

    Args:
        iterable: what is gone through; without one, call ``update``.
        options: of tqdm. A log goes by ``desc``, ``total`` and ``unit``.
    """
    if sys.stderr.isatty():
        from tqdm import tqdm

        return tqdm(iterable, dynamic_ncols=True, **options)
    return LoggedProgress(iterable, **options)


class LoggedProgress:
    """What of a tqdm bar is used here, said in lines; work that is done within half a minute says nothing.

    Args:
        iterable: what is gone through; its length is the total if no other is named.
        desc: what is done, such as "encoding".
        total: how many things there are; None if nobody knows.
        unit: what one of them is called, in the singular.
        options: others of tqdm, which mean nothing here.
    """

    def __init__(
        self,
        iterable: Iterable[Any] | None = None,
        desc: str = "",
        total: int | None = None,
        unit: str = "it",
        **options: Any,
    ) -> None:
        self._iterable = iterable
        self._desc, self._unit = desc, unit
        self.total = len(iterable) if total is None and hasattr(iterable, "__len__") else total  # type: ignore[arg-type]
        self.n = 0
        self._begun = self._said = time.monotonic()

    def __iter__(self) -> Iterator[Any]:
        for item in self._iterable or ():
            yield item
            self.update()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def update(self, count: int = 1) -> None:
        """So many more are done."""
        self.n += count
        now = time.monotonic()
        if now - self._said >= SECONDS_BETWEEN_LINES:
            self._said = now
            LOG.info("%s", progress_line(self._desc, self.n, self.total, self._unit, now - self._begun))

    def close(self) -> None:
        """Nothing is left open."""


def progress_line(what: str, done: int, total: int | None, unit: str, seconds: float) -> str:
    """How far work is, how fast it goes and, where the total is known, how long it will go on.

    ``encoding: 1,200 of 5,000 docs (24 %), 20.0 docs/s, 3 min 10 s left``
    """
    rate = done / seconds if seconds > 0 else 0.0
    speed = f"{rate:,.1f} {unit}s/s" if rate >= 1 or not rate else f"{1 / rate:,.1f} s per {unit}"
    if total is None:
        return f"{what}: {done:,} {unit}s, {speed}"
    left = f", {duration((total - done) / rate)} left" if rate else ""
    return f"{what}: {done:,} of {total:,} {unit}s ({100 * done / max(1, total):.0f} %), {speed}{left}"


def duration(seconds: float) -> str:
    """``50 s``, ``3 min 10 s`` or ``2 h 5 min``."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
