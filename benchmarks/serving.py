"""A server on what the quickstart built, with 64 clients that ask without a pause."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import numpy as np

from benchmarks.processes import MEBIBYTE, run
from benchmarks.section import Ratio, Round, Section, Value

CLIENTS, SECONDS = 64, 60.0
LOOKS = (10.0, 30.0)  # seconds at which the server's memory is looked at, beside start and end
QUICKSTART = Path("runs/quickstart")
HITS = 10
HEAP = 256  # MiB


@dataclass
class Answers:
    """What came back: how often each status, and the seconds of each; status 0 is no answer at all."""

    seconds: dict[int, list[float]] = field(default_factory=dict)

    def add(self, status: int, seconds: float) -> None:
        self.seconds.setdefault(status, []).append(seconds)

    def counts(self) -> Counter[int]:
        return Counter({status: len(found) for status, found in self.seconds.items()})

    def milliseconds(self, status: int, percent: float) -> float:
        return 1000 * float(np.percentile(self.seconds.get(status, [float("nan")]), percent))


def measure(directory: Path) -> Round:
    """One minute of requests: dense search, BM25, and the page's comparison of three systems, in turns."""
    built = QUICKSTART
    if not (built / "results.json").is_file():
        built = directory / "quickstart"
        run(["-m", "iaa_retrieval.quickstart", "--output", built], directory / "quickstart.log")
    with server(["--quickstart", str(built)], directory / "serve.log") as (process, port):
        paths = _paths(built)
        answers, memory = asyncio.run(_ask_all(port, process.pid, paths, CLIENTS, SECONDS, LOOKS))
    counts = answers.counts()
    return {
        "answered": counts[200],
        "refused": counts[503],
        "errors": counts.total() - counts[200] - counts[503],
        "per_second": counts[200] / SECONDS,
        "answered_p50": answers.milliseconds(200, 50),
        "answered_p95": answers.milliseconds(200, 95),
        "refused_p95": answers.milliseconds(503, 95) if counts[503] else 0.0,
        **{f"memory_{name}": size / MEBIBYTE for name, size in zip(("start", "10", "30", "end"), memory, strict=True)},
    }


@contextmanager
def server(words: Sequence[str], log: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A ``serve`` process on a free port of this machine, ended by SIGTERM.

    Raises:
        RuntimeError: it did not start, or did not end well.
    """
    command = [sys.executable, "-m", "iaa_retrieval.serve", "--port", "0", *words]
    with open(log, "w", encoding="utf-8") as stream:
        environment = {**os.environ, "JAVA_TOOL_OPTIONS": f"-Xmx{HEAP}m"}
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, env=environment)
        try:
            while (found := re.search(r" at http://127\.0\.0\.1:(\d+)/ ", log.read_text(encoding="utf-8"))) is None:
                if process.poll() is not None:
                    raise RuntimeError(f"the server did not start; see {log}")
                time.sleep(0.2)
            yield process, int(found.group(1))
            process.send_signal(signal.SIGTERM)
            if process.wait(60) != 0:
                raise RuntimeError(f"the server ended with {process.returncode}; see {log}")
        finally:
            process.kill()
            process.wait()


def _paths(built: Path) -> list[str]:
    """Requests for every training query, so that few come while their vector is still kept."""
    from iaa_retrieval.collections.topics import read_topics

    collection = json.loads((built / "results.json").read_text(encoding="utf-8"))["collection"]
    paths = []
    for number, query in enumerate(read_topics(f"{collection}:train")):
        asked = {"query": query.text, "hits": HITS}
        if number % 3 == 0:
            paths.append("/api/compare?" + urlencode({**asked, "systems": "bm25,untuned,tuned"}))
        else:
            paths.append(f"/v1/{('bm25', 'tuned')[number % 3 - 1]}/search?{urlencode(asked)}")
    random.Random(42).shuffle(paths)
    return paths


async def _ask_all(
    port: int, pid: int, paths: Sequence[str], clients: int, seconds: float, looks: Sequence[float]
) -> tuple[Answers, list[int]]:
    answers, memory = Answers(), []
    for path in paths[:20]:  # every part of the server has worked once
        await _client(port, [path], time.perf_counter() + seconds, Answers(), once=True)
    memory.append(_resident(pid))
    began = time.perf_counter()
    end = began + seconds
    tasks = [
        asyncio.create_task(_client(port, paths[number::clients], end, answers))
        for number in range(min(clients, len(paths)))
    ]
    for look in looks:
        await asyncio.sleep(began + look - time.perf_counter())
        memory.append(_resident(pid))
    await asyncio.gather(*tasks)
    return answers, [*memory, _resident(pid)]


async def _client(port: int, paths: Sequence[str], end: float, answers: Answers, *, once: bool = False) -> None:
    """Ask one thing after the other on one connection; a refusal is obeyed, and then the same is asked again."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    number = 0
    while time.perf_counter() < end and not (once and number == len(paths)):
        began = time.perf_counter()
        try:
            status, wait = await _ask(reader, writer, paths[number % len(paths)])
        except (OSError, EOFError, ValueError):
            answers.add(0, time.perf_counter() - began)
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            continue
        answers.add(status, time.perf_counter() - began)
        if status == 503:
            await asyncio.sleep(wait)
        else:
            number += 1
    writer.close()


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> tuple[int, float]:
    """The status of an answer, which is read to its end, and after how many seconds it wants to be asked again."""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    await writer.drain()
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
    await reader.readexactly(int(headers["content-length"]))
    return int(head.split(" ", 2)[1]), float(headers.get("retry-after", 0))


def _resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


SECTION = Section(
    name="serving",
    title="A server under load",
    text=(
        f"`python -m iaa_retrieval.serve` on what the quickstart built, and {CLIENTS} clients in another process of "
        f"the same machine that ask for {SECONDS:.0f} seconds without a pause: a third of the requests is BM25, "
        "a third search with the tuned encoder, a third the page's comparison of three systems; other queries each "
        "time, 10 hits with their texts. As many searches run as there are cores, 32 more wait, and what comes then is "
        "refused at once with 503 and `Retry-After: 1`, which the clients obey. Resident memory includes Java's, whose "
        f"heap would grow to a quarter of the machine's memory before it is tidied up; here it has {HEAP} MiB."
    ),
    measure=measure,
    values=(
        Value("answered", "answered", "", 0),
        Value("per_second", "answered per second", "", 1),
        Value("refused", "refused, as promised", "", 0),
        Value("errors", "anything else", "", 0, limit=0.0),
        Value("answered_p50", "answered in, p50", "ms", 0),
        Value("answered_p95", "answered in, p95", "ms", 0),
        Value("refused_p95", "refused in, p95", "ms", 0),
        Value("memory_start", "memory, after 20 requests", "MiB", 0),
        Value("memory_10", "memory, after 10 s", "MiB", 0),
        Value("memory_30", "memory, after 30 s", "MiB", 0),
        Value("memory_end", "memory, at the end", "MiB", 0),
    ),
    ratios=(Ratio("memory at the end, against that after 10 s", "memory_end", "memory_10", 1.1, False),),
    rounds=1,
    findings=(
        "Two searches run and 32 wait, so that most of an answer's time is its wait in the queue; a shorter queue "
        "(`limits.queue`) refuses more and answers sooner. Give Java's heap a bound as here where memory counts "
        "(`JAVA_TOOL_OPTIONS=-Xmx256m`)."
    ),
)
