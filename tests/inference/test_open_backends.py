"""An encoding back end from elsewhere: the same bytes, resumed in the same way, and checked in what it gives."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from checkpoints import DOCUMENTS
from click.testing import CliRunner

from iaa_retrieval import registry
from iaa_retrieval.encode import main
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.inference import corpus_encoder
from iaa_retrieval.inference.backends import (
    BACKENDS,
    EncodingBackend,
    LocalBackend,
    Vectors,
    Window,
    backend_names,
    encode_window,
    get_backend,
    register_backend,
)
from iaa_retrieval.inference.corpus_encoder import CorpusEncoding, EncodeReport, encode_corpus
from iaa_retrieval.inference.corpus_reader import CorpusDocument
from iaa_retrieval.inference.vector_outputs import FaissOutput
from iaa_retrieval.models.bi_encoder import load_bi_encoder

if TYPE_CHECKING:
    from iaa_retrieval.models.bi_encoder import BiEncoder

CORPUS = [CorpusDocument(key, fields) for key, fields in DOCUMENTS.items()]
FIELDS = {"fields": ("title", "text"), "encode_title": True}


class Interrupted(Exception):
    """What stops an encoding in these tests."""


class Threads(EncodingBackend):
    """Two windows at a time, each in a thread; ``computed`` tells which by whom, ``closed`` whether it ended."""

    name = "threads"

    def __init__(self, fails_at: int | None = None) -> None:
        self.fails_at = fails_at
        self.computed: dict[int, str] = {}
        self.closed = False
        self.both = threading.Barrier(2)

    def encode(self, encoder: BiEncoder, windows: Iterator[Window], batch_size: int) -> Vectors:
        running: deque[tuple[Window, Future[np.ndarray]]] = deque()
        try:
            with ThreadPoolExecutor(2, "worker") as pool:
                for window in windows:
                    running.append((window, pool.submit(self._compute, encoder, window, batch_size)))
                    if len(running) == 2:
                        first, vectors = running.popleft()
                        yield first, vectors.result()
                for rest, vectors in running:
                    yield rest, vectors.result()
        finally:
            self.closed = True

    def _compute(self, encoder: BiEncoder, window: Window, batch_size: int) -> np.ndarray:
        if window.number < 2 and self.fails_at is None:
            self.both.wait(30)  # really two at once
        if window.number == self.fails_at:
            raise Interrupted
        self.computed[window.number] = threading.current_thread().name
        return encode_window(encoder, window, batch_size)


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four windows of two documents; and what these tests register is forgotten after them."""
    monkeypatch.setattr(corpus_encoder, "WINDOW", 2)
    monkeypatch.setattr(BACKENDS, "_entries", {name: get_backend(name) for name in backend_names()})


@pytest.fixture
def encoder(tiny_backbone: Callable[[str], Path]) -> BiEncoder:
    return load_bi_encoder(str(tiny_backbone("bert")), precision="fp32", device="cpu")


def encode(encoder: BiEncoder, output: Path, backend: str, *, faiss: bool = True, resume: bool = False) -> EncodeReport:
    encoding = CorpusEncoding(**FIELDS, output=FaissOutput() if faiss else None, backend=backend)  # type: ignore[arg-type]
    return encode_corpus(encoder, CORPUS, output, encoding, resume=resume)


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.mark.parametrize("faiss", (True, False))
def test_another_back_end_gives_the_same_bytes(faiss: bool, encoder: BiEncoder, tmp_path: Path):
    backend = Threads()
    register_backend(backend)
    expected = encode(encoder, tmp_path / "local", "local", faiss=faiss)
    assert encode(encoder, tmp_path / "threads", "threads", faiss=faiss) == expected == EncodeReport(8, 0, 0)
    assert contents(tmp_path / "threads") == contents(tmp_path / "local")
    assert sorted(backend.computed) == [0, 1, 2, 3] and backend.closed
    assert {backend.computed[0], backend.computed[1]} == {"worker_0", "worker_1"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["local", "threads"]


@pytest.mark.parametrize("then", ("local", "threads"))
def test_what_a_back_end_finished_is_kept_and_any_goes_on_from_it(then: str, encoder: BiEncoder, tmp_path: Path):
    failing = Threads(fails_at=2)
    register_backend(failing)
    with pytest.raises(Interrupted):
        encode(encoder, tmp_path / "index", "threads")
    assert failing.closed and not (tmp_path / "index").exists()
    kept = sorted(path.name for path in (tmp_path / ".index.encoding").glob("*.npy"))
    assert kept == ["000000.npy", "000001.npy"]

    failing.fails_at = 0  # it would not get far with a window that is kept
    failing.computed.clear()
    failing.closed = False
    assert encode(encoder, tmp_path / "index", then, resume=True) == EncodeReport(8, 4, 0)
    assert sorted(failing.computed) == ([2, 3] if then == "threads" else [])
    encode(encoder, tmp_path / "whole", "local")
    assert contents(tmp_path / "index") == contents(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index", "whole"]


def test_a_changed_corpus_is_noticed_through_any_back_end(encoder: BiEncoder, tmp_path: Path):
    failing = Threads(fails_at=2)
    register_backend(failing)
    with pytest.raises(Interrupted):
        encode(encoder, tmp_path / "index", "threads")
    failing.fails_at, failing.closed = -1, False
    changed = [*CORPUS[:3], CorpusDocument("d3", ("", "other")), *CORPUS[4:]]
    encoding = CorpusEncoding(**FIELDS, backend="threads")  # type: ignore[arg-type]
    with pytest.raises(
        IaaRetrievalError, match=r"the corpus changed since the interrupted work in .* near document d2"
    ):
        encode_corpus(encoder, changed, tmp_path / "index", encoding, resume=True)
    assert failing.closed


def command(corpus: Path, output: Path, backbone: Path, *words: str) -> Any:
    source = ["input", "--corpus", str(corpus), "output", "--embeddings", str(output)]
    return CliRunner().invoke(main, [*source, "encoder", "--encoder", str(backbone), "--device", "cpu", *words])


def test_the_command_line_takes_it_by_name(tiny_backbone: Callable[[str], Path], tmp_path: Path):
    backbone, corpus = tiny_backbone("bert"), tmp_path / "corpus.tsv"
    corpus.write_text("".join(f"{key}\t{text}\n" for key, (_, text) in DOCUMENTS.items()))
    refused = command(corpus, tmp_path / "threads", backbone, "--backend", "threads")
    assert refused.exit_code == 2
    assert "Invalid value for '--backend': 'threads' is not 'local'" in refused.output
    backend = Threads()
    register_backend(backend)
    assert "'local', 'threads'" in command(corpus, tmp_path / "threads", backbone, "--backend", "no").output
    assert not (tmp_path / "threads").exists()
    for name in backend_names():
        done = command(corpus, tmp_path / name, backbone, "--backend", name)
        assert done.exit_code == 0, done.output
    assert contents(tmp_path / "threads") == contents(tmp_path / "local")
    assert len(backend.computed) == 4
    stock = command(corpus, tmp_path / "stock", backbone, "--encoder-class", "dpr", "--backend", "threads")
    assert stock.exit_code == 2 and "--backend is not known to stock Pyserini" in stock.output


def test_an_unknown_back_end_is_refused_by_name_before_anything_is_read(encoder: BiEncoder, tmp_path: Path):
    with pytest.raises(UsageError, match=r"^unknown encoding back end 'cluster'; one of local$"):
        encode(encoder, tmp_path / "index", "cluster")
    assert not any(tmp_path.iterdir())
    with pytest.raises(ValueError, match="encoding back end 'local' is registered already"):
        register_backend(LocalBackend())


class Wrong(LocalBackend):
    """Something of what it gives is changed."""

    name = "wrong"

    def __init__(self, change: Callable[[list[tuple[Window, np.ndarray]]], Any]) -> None:
        self.change = change

    def encode(self, encoder: BiEncoder, windows: Iterator[Window], batch_size: int) -> Vectors:
        done = list(super().encode(encoder, windows, batch_size))
        yield from self.change(done)


def not_a_number(done: list[tuple[Window, np.ndarray]]) -> list[tuple[Window, np.ndarray]]:
    done[2][1][1, 5] = np.nan
    return done


@pytest.mark.parametrize(
    ("change", "message"),
    (
        (lambda done: [done[0], done[2], done[1], done[3]], "gives window 2 where window 1 is next"),
        (lambda done: [*done, done[3]], "gives window 3 where none is left"),
        (lambda done: done[:3], "gives no vectors from document d6 on"),
        (lambda done: [], "gives no vectors from document d0 on"),
        (lambda done: [(done[0][0], done[0][1][:1])], r"gives float32 numbers \[1, 32\] for the window of document d0"),
        (lambda done: [(done[0][0], done[0][1].astype(np.float64))], r"float64 numbers .* it takes float32 \[2, 32\]"),
        (not_a_number, "gives a vector that is not finite for d5"),
    ),
)
def test_what_a_back_end_gives_is_checked(change: Any, message: str, encoder: BiEncoder, tmp_path: Path):
    register_backend(Wrong(change))
    with pytest.raises(IaaRetrievalError, match=f"encoding back end wrong .*{message}"):
        encode(encoder, tmp_path / "index", "wrong")
    assert not (tmp_path / "index").exists()


def test_one_that_leaves_windows_untaken_is_noticed(encoder: BiEncoder, tmp_path: Path):
    class First(LocalBackend):
        name = "first"

        def encode(self, encoder: BiEncoder, windows: Iterator[Window], batch_size: int) -> Vectors:
            window = next(windows)
            yield window, encode_window(encoder, window, batch_size)

    register_backend(First())
    with pytest.raises(IaaRetrievalError, match="encoding back end first gives no vectors from document d2 on"):
        encode(encoder, tmp_path / "index", "first")


BACKEND = Threads()


def test_back_ends_of_installed_packages_are_found(
    encoder: BiEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    group = "iaa_retrieval.encoding_backends"
    points = (EntryPoint("gone", "no_such_module:BACKEND", group), EntryPoint("t", f"{__name__}:BACKEND", group))
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group.endswith("encoding_backends") else ())
    monkeypatch.setattr(BACKENDS.packages, "_loaded", False)
    assert encode(encoder, tmp_path / "index", "threads").documents == 8
    assert sorted(BACKEND.computed) == [0, 1, 2, 3]
    assert "encoding back end gone (entry point no_such_module:BACKEND) is left out" in caplog.text
