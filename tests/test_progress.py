import logging
import sys
from collections.abc import Iterator

import pytest

from iaa_retrieval import progress as module
from iaa_retrieval.progress import LoggedProgress, duration, progress, progress_line


class Clock:
    """A clock that goes on by so many seconds each time it is looked at."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def monotonic(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    monkeypatch.setattr(module, "time", Clock(10))
    with caplog.at_level(logging.INFO, "iaa_retrieval"):
        yield caplog


def test_a_line_every_half_minute(log: pytest.LogCaptureFixture) -> None:
    assert list(progress(range(6), desc="encoding", unit="doc")) == [0, 1, 2, 3, 4, 5]
    assert log.messages == [
        "encoding: 3 of 6 docs (50 %), 10.0 s per doc, 30 s left",
        "encoding: 6 of 6 docs (100 %), 10.0 s per doc, 0 s left",
    ]


def test_without_an_iterable(log: pytest.LogCaptureFixture) -> None:
    with progress(total=900, desc="re-ranking", unit="pair") as bar:
        for _ in range(3):
            bar.update(100)
    assert log.messages == ["re-ranking: 300 of 900 pairs (33 %), 10.0 pairs/s, 1 min 0 s left"]
    with progress(desc="encoding", unit="doc") as bar:
        for _ in range(3):
            bar.update(5)
    assert log.messages[1:] == ["encoding: 15 docs, 2.0 s per doc"]


def test_short_work_says_nothing(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(module, "time", Clock(0.01))
    with caplog.at_level(logging.INFO, "iaa_retrieval"):
        assert sum(progress(range(100))) == 4950
    assert not caplog.messages


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    bar = progress(range(3), desc="encoding", unit="doc")
    assert not isinstance(bar, LoggedProgress)
    assert list(bar) == [0, 1, 2]


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (50, "50 s"), (190, "3 min 10 s"), (7500, "2 h 5 min"), (-3, "0 s")]
)
def test_duration(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_nothing_done_yet_has_no_speed() -> None:
    assert progress_line("encoding", 0, 10, "doc", 5.0) == "encoding: 0 of 10 docs (0 %), 0.0 docs/s"
