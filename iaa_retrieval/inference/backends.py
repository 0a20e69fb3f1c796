"""What turns a corpus's tokens into vectors: this process, or a back end from elsewhere that spreads the work.

Everything around it (reading, tokenising, resuming, writing) is ``corpus_encoder``'s. A back end is an object of a
class below ``EncodingBackend``. It is registered by ``register_backend``, or found by the entry point group
``iaa_retrieval.encoding_backends``, in which an installed package names it::

    [project.entry-points."iaa_retrieval.encoding_backends"]
    cluster = "its_package.cluster:BACKEND"
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.registry import Registry

if TYPE_CHECKING:
    import numpy as np

    from iaa_retrieval.inference.corpus_reader import CorpusDocument
    from iaa_retrieval.models.bi_encoder import BiEncoder

LOCAL = "local"


class Window(NamedTuple):
    """Documents that are encoded together, and stored together when that is done.

    Attributes:
        number: its place in the corpus, from 0.
        documents: what was read.
        token_ids: those of each document, unpadded, cut to the encoder's length.
        digest: a hash of the documents.
    """

    number: int
    documents: list[CorpusDocument]
    token_ids: list[list[int]]
    digest: str


Vectors = Generator[tuple[Window, "np.ndarray"], None, None]
"""Windows with their vectors, float32 [documents, d]."""


class EncodingBackend(ABC):
    """A way to compute the vectors of windows.

    Its module is imported before the command line is read, and so leaves heavy imports to its methods.

    Attributes:
        name: what ``--backend`` calls it.
    """

    name: str

    @abstractmethod
    def encode(self, encoder: BiEncoder, windows: Iterator[Window], batch_size: int) -> Vectors:
        """Yield every window with its vectors, in the order in which the windows come.

        A window is kept as soon as it is yielded, and not computed again when an interrupted encoding is resumed; so
        yield early, and take only as many windows ahead as there is work for: ``windows`` reads and tokenises the
        corpus. Only one thread at a time may ask it, and what it raises is to be let through. When the encoding ends
        early, this generator is closed, which runs its ``finally`` blocks and leaves its ``with`` blocks.

        Args:
            encoder: the model, as this process has loaded it. Another process loads ``encoder.source`` itself, with
                the settings in ``encoder.config``.
            batch_size: texts of full length per batch, as ``encode_window`` takes it.

        Raises:
            IaaRetrievalError: a vector is not finite, or a worker failed.
        """


class LocalBackend(EncodingBackend):
    """One window after the other, on the device that holds the encoder."""

    name = LOCAL

    def encode(self, encoder: BiEncoder, windows: Iterator[Window], batch_size: int) -> Vectors:
        for window in windows:
            yield window, encode_window(encoder, window, batch_size)


def encode_window(encoder: BiEncoder, window: Window, batch_size: int) -> np.ndarray:
    """The vectors of one window, float32 [documents, d]; they do not depend on the other windows.

    Raises:
        IaaRetrievalError: a vector is not finite; the document is named.
    """
    from iaa_retrieval.inference import text_encoder

    return text_encoder.encode_token_ids(
        encoder,
        window.token_ids,
        role="passage",
        batch_size=batch_size,
        max_length=encoder.config.document_max_length,
        names=[f"document {document.doc_id}" for document in window.documents],
    )


def checked_vectors(
    backend: EncodingBackend, encoder: BiEncoder, windows: Iterator[Window], batch_size: int
) -> Vectors:
    """What a back end gives for ``windows``: all of them, in order, with float32 [documents, d] finite numbers each.

    Raises:
        IaaRetrievalError: the back end gives anything else; the message names it and the document.
    """
    taken: deque[Window] = deque()

    def noted() -> Iterator[Window]:
        for window in windows:
            taken.append(window)
            yield window

    with closing(backend.encode(encoder, noted(), batch_size)) as computed:
        for window, vectors in computed:
            if not taken or window.number != taken[0].number:
                raise IaaRetrievalError(
                    f"encoding back end {backend.name} gives window {window.number} where "
                    + (f"window {taken[0].number} is next" if taken else "none is left")
                )
            _require_vectors(backend, encoder, taken[0], vectors)
            yield taken.popleft(), vectors
    missing = taken[0] if taken else next(windows, None)
    if missing is not None:
        first = missing.documents[0].doc_id
        raise IaaRetrievalError(f"encoding back end {backend.name} gives no vectors from document {first} on")


def _require_vectors(backend: EncodingBackend, encoder: BiEncoder, window: Window, vectors: np.ndarray) -> None:
    import numpy as np

    first = window.documents[0].doc_id
    shape = len(window.documents), encoder.dimension
    if vectors.shape != shape or vectors.dtype != np.float32:
        raise IaaRetrievalError(
            f"encoding back end {backend.name} gives {vectors.dtype} numbers {list(vectors.shape)} for the window of "
            f"document {first}; it takes float32 {list(shape)}"
        )
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        document = window.documents[int(np.flatnonzero(~finite)[0])].doc_id
        raise IaaRetrievalError(f"encoding back end {backend.name} gives a vector that is not finite for {document}")


BACKENDS: Registry[EncodingBackend] = Registry("encoding back end", "iaa_retrieval.encoding_backends")


def register_backend(backend: EncodingBackend) -> EncodingBackend:
    """Make a back end known to ``encode --backend`` and ``encode_corpus``.

    Args:
        backend: an object of a class below ``EncodingBackend``, under its ``name``.

    Returns:
        The back end itself.

    Raises:
        ValueError: another one has its name.
    """
    return BACKENDS.register(backend)


def get_backend(name: str) -> EncodingBackend:
    """The back end of that name.

    Raises:
        UsageError: there is none; the message lists those that there are.
    """
    return BACKENDS.get(name)


def backend_names() -> tuple[str, ...]:
    """What ``--backend`` takes."""
    return BACKENDS.names()


register_backend(LocalBackend())
