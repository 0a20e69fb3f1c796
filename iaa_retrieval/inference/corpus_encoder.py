"""Encode a corpus of any size: streamed in windows, restartable, written as Pyserini reads it."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from iaa_retrieval.collections.types import Document
from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.files import atomic_directory, atomic_file, read_json, require_empty, write_json
from iaa_retrieval.inference.backends import LOCAL, Window, checked_vectors, get_backend
from iaa_retrieval.inference.corpus_reader import CorpusDocument
from iaa_retrieval.inference.cuts import Cuts, document_cuts
from iaa_retrieval.inference.text_encoder import DEFAULT_BATCH_SIZE
from iaa_retrieval.inference.tokens import tokenize_texts, with_lead, with_prefix
from iaa_retrieval.inference.vector_outputs import FLAT, VectorOutput
from iaa_retrieval.models.bi_encoder import BiEncoder
from iaa_retrieval.models.prompts import require_one_segment
from iaa_retrieval.progress import progress
from iaa_retrieval.work_in_progress import work_in_progress

LOG = logging.getLogger("iaa_retrieval")

# Large enough that sorting by length leaves little padding, small enough to lose little when killed.
WINDOW = 2048
# The model waits for the first window's tokens, so that one is small.
FIRST_WINDOW = 256
# Settings that finished windows do not depend on.
_WITHOUT_INFLUENCE = ("output", "batch_size", "backend")


@dataclass(frozen=True)
class CorpusEncoding:
    """How documents become an index.

    Attributes:
        fields: the input fields, in the order of ``CorpusDocument``.
        encode_title: put the title before the text.
        separate_title: title and text as two segments instead of one.
        output: the form of the vectors; None is ``embeddings.jsonl``, which has the texts too.
        backend: what computes the vectors, by its name in ``backends``; the output is the same with any.
    """

    fields: tuple[str, ...]
    encode_title: bool
    separate_title: bool = False
    output: VectorOutput | None = FLAT
    batch_size: int = DEFAULT_BATCH_SIZE
    backend: str = LOCAL


class EncodeReport(NamedTuple):
    """What was encoded: documents in all, those resumed from an interrupted run, and those without any text."""

    documents: int
    resumed: int
    empty: int


def encode_corpus(
    encoder: BiEncoder,
    documents: Iterable[CorpusDocument],
    output: str | Path,
    encoding: CorpusEncoding,
    *,
    resume: bool = False,
    overwrite: bool = False,
    cut_advice: str = "",
) -> EncodeReport:
    """Encode ``documents`` into ``output``, whole or not at all.

    Finished windows lie in ``.OUTPUT.encoding`` beside the output until the end; with ``resume`` they are used
    again, after checking that the encoder, the settings and the documents are still the same. With ``overwrite`` they
    are discarded, and a finished output is replaced. One warning counts the documents that are longer than the encoder
    reads; ``cut_advice`` says how the caller's user sets another length.

    Raises:
        UsageError: there is interrupted work, and neither was said; or it was begun with other settings; or no back
            end has the name that is asked for.
        IaaRetrievalError: no documents, a vector that is not finite, work in progress that does not match, or another
            process that makes the same output.
    """
    output = Path(output)
    get_backend(encoding.backend)
    require_empty(output, overwrite=overwrite)
    if encoding.separate_title:
        require_one_segment(encoder.config)
    form = encoding.output
    if form is not None:
        form.require(encoder.dimension, documents, encoder.config)
    work = output.absolute().with_name(f".{output.name}.encoding")
    settings = _settings(encoder, encoding)
    with work_in_progress(work, settings, resume=resume, overwrite=overwrite):
        report = _encode_windows(encoder, documents, encoding, work, cut_advice)
        with atomic_directory(output, overwrite=overwrite) as directory:
            if form is not None:
                form.write(partial(_vectors_and_ids, work), report.documents, directory, encoder.dimension)
            else:
                _write_jsonl(work, directory)
            encoder.config.save(directory)
        shutil.rmtree(work)
    return report


@dataclass
class _Tally:
    """What has been read of the corpus so far."""

    windows: int = 0
    documents: int = 0
    resumed: int = 0
    empty: int = 0


def _encode_windows(
    encoder: BiEncoder, documents: Iterable[CorpusDocument], encoding: CorpusEncoding, work: Path, cut_advice: str
) -> EncodeReport:
    """Have every window finished in ``work``."""
    cuts = document_cuts(encoder, cut_advice)
    tally = _Tally()
    with (
        progress(desc="encoding", unit="doc") as bar,
        closing(_ahead(_windows(documents, encoder, encoding, cuts))) as windows,
        closing(
            checked_vectors(
                get_backend(encoding.backend),
                encoder,
                _unfinished(windows, work, tally, bar.update),
                encoding.batch_size,
            )
        ) as computed,
    ):
        for window, vectors in computed:
            _store(work, window, vectors, encoding)
            bar.update(len(window.documents))
    if tally.documents == 0:
        raise IaaRetrievalError("there is no document to encode")
    if tally.empty:
        LOG.warning("%d of %d documents have no text; they are encoded as such", tally.empty, tally.documents)
    for leftover in work.glob(f"{tally.windows:06d}.*"):  # of a longer corpus: what follows is no part of this one
        raise IaaRetrievalError(
            f"the corpus is shorter than when the interrupted work in {work} was begun ({leftover.name}); "
            "--overwrite instead of --resume starts anew"
        )
    cuts.warn()
    return EncodeReport(tally.documents, tally.resumed, tally.empty)


def _windows(
    documents: Iterable[CorpusDocument], encoder: BiEncoder, encoding: CorpusEncoding, cuts: Cuts
) -> Iterator[Window]:
    stream = iter(documents)
    size = min(FIRST_WINDOW, WINDOW)
    for number in count():
        batch = list(islice(stream, size))
        if not batch:
            return
        size = WINDOW
        digest = hashlib.sha256()
        for document in batch:
            digest.update(json.dumps(document).encode())
        texts, second_texts = _texts(encoder, batch, encoding)
        length = encoder.config.document_max_length
        suffix, on_cut = encoder.config.document_suffix, cuts.count(len(batch))
        token_ids = tokenize_texts(encoder.tokenizer, texts, length, second_texts, suffix=suffix, on_cut=on_cut)
        yield Window(number, batch, token_ids, digest.hexdigest())


def _ahead(windows: Iterator[Window]) -> Generator[Window, None, None]:
    """The same windows, each tokenised while the one before it is computed."""
    with ThreadPoolExecutor(max_workers=1) as executor:
        upcoming = executor.submit(next, windows, None)
        while (window := upcoming.result()) is not None:
            upcoming = executor.submit(next, windows, None)
            yield window


def _unfinished(
    windows: Iterable[Window], work: Path, tally: _Tally, skip: Callable[[int], object]
) -> Iterator[Window]:
    """The windows that are still to be computed; ``skip`` is told how many documents each of the others has."""
    for window in windows:
        done = _finished(work, window)
        tally.windows += 1
        tally.documents += len(window.documents)
        tally.resumed += len(window.documents) if done else 0
        tally.empty += sum(not any(document.fields) for document in window.documents)
        if done:
            skip(len(window.documents))
        else:
            yield window


def _texts(
    encoder: BiEncoder, documents: Sequence[CorpusDocument], encoding: CorpusEncoding
) -> tuple[Sequence[str], Sequence[str] | None]:
    """What is tokenized of each document, and its second segment where title and text are two."""
    column = {name: [document.fields[i] for document in documents] for i, name in enumerate(encoding.fields)}
    config = encoder.config
    if not encoding.encode_title:
        return with_lead(config.document_lead, column["text"]), None
    # A prefix goes before the text, as in Pyserini, a prompt before all that there is of a passage.
    texts = with_prefix(config.document_prefix, column["text"])
    if encoding.separate_title:
        return with_lead(config.document_prompt, column["title"]), texts
    if config.is_untuned:
        # A plain encoder is used as Pyserini uses it: the prefix between title and text.
        return with_lead(config.document_prompt, _passages(column["title"], texts)), None
    # Our own were trained on whole passages, the prefix before them.
    return with_lead(config.document_lead, _passages(column["title"], column["text"])), None


def _passages(titles: Sequence[str], texts: Sequence[str]) -> list[str]:
    return [Document("", title, text).contents for title, text in zip(titles, texts, strict=True)]


def _settings(encoder: BiEncoder, encoding: CorpusEncoding) -> dict[str, Any]:
    """What finished windows depend on."""
    suffix = encoder.config.document_suffix
    return {
        "encoder": encoder.fingerprint,
        "document_max_length": encoder.config.document_max_length,
        "document_prefix": encoder.config.document_prefix,
        "document_prompt": encoder.config.document_prompt,
        **({"document_suffix": suffix} if suffix else {}),
        "precision": str(encoder.dtype),
        **({"truncate_dim": encoder.config.truncate_dim} if encoder.config.truncate_dim else {}),
        **{key: value for key, value in asdict(encoding).items() if key not in _WITHOUT_INFLUENCE},
        # By this name: all forms but embeddings.jsonl keep the same of a window.
        "to_faiss": encoding.output is not None,
        "fields": list(encoding.fields),
    }


def _finished(work: Path, window: Window) -> bool:
    record = work / f"{window.number:06d}.json"
    if not record.is_file():
        return False
    if read_json(record)["digest"] != window.digest:
        raise IaaRetrievalError(
            f"the corpus changed since the interrupted work in {work}, near document {window.documents[0].doc_id}; "
            "--overwrite instead of --resume starts anew"
        )
    return True


def _store(work: Path, window: Window, vectors: np.ndarray, encoding: CorpusEncoding) -> None:
    """Keep a window: vectors, then ids (and contents), then the record that makes it count."""
    name = f"{window.number:06d}"
    with atomic_file(work / f"{name}.npy", "wb") as stream:
        np.save(stream, vectors)
    with atomic_file(work / f"{name}.jsonl") as stream:
        for document in window.documents:
            line = {"id": document.doc_id}
            if encoding.output is None:
                untitled = encoding.fields[0] == "title" and not document.fields[0]
                line["contents"] = "\n".join(document.fields[1:] if untitled else document.fields)
            stream.write(json.dumps(line) + "\n")
    write_json(work / f"{name}.json", {"digest": window.digest})


def _stored(work: Path) -> Iterator[tuple[np.ndarray, list[dict[str, str]]]]:
    for vectors in sorted(work.glob("*.npy")):
        with open(vectors.with_suffix(".jsonl"), encoding="utf-8") as stream:
            yield np.load(vectors), [json.loads(line) for line in stream]


def _vectors_and_ids(work: Path) -> Iterator[tuple[np.ndarray, list[str]]]:
    for vectors, lines in _stored(work):
        yield vectors, [line["id"] for line in lines]


def _write_jsonl(work: Path, directory: Path) -> None:
    with atomic_file(directory / "embeddings.jsonl") as stream:
        for vectors, lines in _stored(work):
            for vector, line in zip(vectors, lines, strict=True):
                stream.write(json.dumps({**line, "vector": vector.tolist()}) + "\n")
