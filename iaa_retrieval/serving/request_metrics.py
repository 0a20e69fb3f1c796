"""Counts and times of requests, in the text format of Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator

from iaa_retrieval.serving.search_queue import SearchQueue

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # upper bounds of the histogram's buckets


class RequestMetrics:
    """What was asked and how it was answered; for one thread.

    Args:
        queue: whose depth is reported.
    """

    def __init__(self, queue: SearchQueue) -> None:
        self._queue = queue
        self._answers: Counter[tuple[str, int]] = Counter()
        self._buckets: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(SECONDS) + 1))
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count an answer; ``route`` is one of a few names, and no path that a client can make up."""
        self._answers[route, status] += 1
        self._buckets[route][bisect_left(SECONDS, seconds)] += 1
        self._seconds[route] += seconds

    def text(self) -> str:
        """Everything, as Prometheus reads it."""
        return "\n".join([*self._requests(), *self._times(), *self._depths()]) + "\n"

    def _requests(self) -> Iterator[str]:
        yield "# HELP iaa_retrieval_requests_total Answers by route and status."
        yield "# TYPE iaa_retrieval_requests_total counter"
        for (route, status), count in sorted(self._answers.items()):
            yield f'iaa_retrieval_requests_total{{route="{route}",status="{status}"}} {count}'

    def _times(self) -> Iterator[str]:
        name = "iaa_retrieval_request_seconds"
        yield f"# HELP {name} Seconds from a request to the end of its answer, waiting included."
        yield f"# TYPE {name} histogram"
        for route, counts in sorted(self._buckets.items()):
            total = 0
            for bound, count in zip((*map(str, SECONDS), "+Inf"), counts, strict=True):
                total += count
                yield f'{name}_bucket{{route="{route}",le="{bound}"}} {total}'
            yield f'{name}_sum{{route="{route}"}} {self._seconds[route]:.6f}'
            yield f'{name}_count{{route="{route}"}} {total}'

    def _depths(self) -> Iterator[str]:
        for name, value in (("running", self._queue.running), ("waiting", self._queue.waiting)):
            yield f"# HELP iaa_retrieval_searches_{name} Searches that are {name} now."
            yield f"# TYPE iaa_retrieval_searches_{name} gauge"
            yield f"iaa_retrieval_searches_{name} {value}"
