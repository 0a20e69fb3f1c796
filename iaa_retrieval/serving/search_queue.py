"""A fixed number of searches at a time, a fixed number that wait, and a refusal at once for all others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class QueueFull(Exception):
    """Nothing is searched: the queue is full, or what waited in it waited too long."""


class SearchQueue:
    """Places for searches, first come first served; for one event loop.

    Args:
        concurrent: searches at a time.
        queue: how many more may wait.
        timeout: seconds that one waits at most.

    Attributes:
        running, waiting: how many there are now.
    """

    def __init__(self, concurrent: int, queue: int, timeout: float) -> None:
        self.running = 0
        self.waiting = 0
        self._queue = queue
        self._timeout = timeout
        self._places = asyncio.Semaphore(concurrent)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a place, and hold it inside this.

        Raises:
            QueueFull: there is none, and will be none in time.
        """
        if self._places.locked() and self.waiting >= self._queue:
            raise QueueFull(f"{self.running} searches are running and {self.waiting} waiting; try again later")
        self.waiting += 1
        try:
            async with asyncio.timeout(self._timeout):
                await self._places.acquire()
        except TimeoutError:
            raise QueueFull(f"no search could be started in {self._timeout:g} seconds; try again later") from None
        finally:
            self.waiting -= 1
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._places.release()
