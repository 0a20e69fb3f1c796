"""Building a Lucene index of a collection with Pyserini's own indexer."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from iaa_retrieval.collections.base import Collection
from iaa_retrieval.collections.loading import load_collection
from iaa_retrieval.collections.types import Document
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.files import atomic_directory, require_empty
from iaa_retrieval.java import prepare_java, require_java_can_open
from iaa_retrieval.progress import progress
from iaa_retrieval.pyserini_plugin.indexer_process import LOG_NAME, keep_log, require_all_indexed, run_indexer
from iaa_retrieval.pyserini_plugin.lucene_analysis import Analysis, write_analysis

# Lucene keeps an id as one term, and takes no longer ones.
LONGEST_ID = 32_766
# What Java's trim() takes away; Anserini leaves a document out when nothing else is there.
_BLANK = "".join(map(chr, range(0x21)))

logger = logging.getLogger("iaa_retrieval")


@dataclass(frozen=True)
class IndexReport:
    """What was indexed; Lucene leaves out documents that are entirely empty, ``skip_bad`` those it cannot take."""

    output: Path
    documents: int
    empty_documents: int
    skipped_documents: int = 0


@dataclass
class _Written:
    """How many documents were read, and how many of these are empty or were skipped."""

    read: int = 0
    empty: int = 0
    skipped: int = 0

    @property
    def indexable(self) -> int:
        return self.read - self.empty - self.skipped


def build_index(
    collection: str | Collection,
    output: Path,
    *,
    threads: int = 1,
    analysis: Analysis | None = None,
    skip_bad: bool = False,
) -> IndexReport:
    """Index ``contents`` (title and text) of every document, for BM25 with feedback and for re-ranking.

    The index keeps positions, term vectors and the raw documents. Memory stays constant; the collection is
    written once to a temporary directory (``TMPDIR``), and the index appears whole or not at all.

    Args:
        collection: an open one, or its name as ``load_collection`` takes it.
        output: a new directory.
        analysis: how the text is cut into terms; searches of the index follow it. None is English.
        skip_bad: leave out documents that Lucene cannot take, with a warning, instead of failing.

    Raises:
        UsageError: fewer than one thread, an unknown language or an unknown collection.
        IaaRetrievalError: the output is not empty, no Java, damaged data, a document that Lucene cannot take, or the
            indexer failed or lost documents; its log is kept beside the output then.
    """
    if threads < 1:
        raise UsageError(f"--threads {threads}: at least 1 is needed")
    analysis = analysis or Analysis()
    analysis.check()
    require_empty(output)
    prepare_java()
    with tempfile.TemporaryDirectory(prefix="lucene-input-") as folder:
        for path in (output, folder):
            require_java_can_open(path)
        source, log = Path(folder) / "documents", Path(folder) / LOG_NAME
        source.mkdir()
        opened = load_collection(collection) if isinstance(collection, str) else collection
        name = collection if isinstance(collection, str) else collection.name
        documents = progress(opened.documents(), desc="writing documents", unit="doc")
        written = _write_pyserini_jsonl(documents, source, threads, skip_bad)
        if written.indexable == 0:
            raise IaaRetrievalError(f"collection {name} holds no document with text")
        with atomic_directory(output) as index:
            try:
                indexed = _run_indexer(source, index, threads, analysis, log)
                require_all_indexed(indexed, written.indexable, name, log)
            except IaaRetrievalError as error:
                raise IaaRetrievalError(f"{error}{keep_log(log, output)}") from error
            write_analysis(index, analysis)
    return IndexReport(output, indexed, written.empty, written.skipped)


def _write_pyserini_jsonl(documents: Iterable[Document], folder: Path, files: int, skip_bad: bool) -> _Written:
    """Write ``{"id", "contents"}`` lines, all documents that Lucene can take.

    The documents go to ``files`` files in turn, because the indexer gives each of its threads a file.

    Raises:
        IaaRetrievalError: a document that Lucene cannot take, unless ``skip_bad``.
    """
    written = _Written()
    first_bad = ""
    with ExitStack() as stack:
        names = [folder / f"documents-{number}.jsonl" for number in range(files)]
        streams = [stack.enter_context(open(name, "w", encoding="utf-8", errors="replace")) for name in names]
        for document in documents:
            length = len(document.doc_id.encode("utf-8", errors="replace"))
            if length > LONGEST_ID:
                bad = f"document {written.read + 1}, {document.doc_id[:40]}..., has an id of {length} bytes"
                if not skip_bad:
                    raise IaaRetrievalError(
                        f"{bad}, and Lucene takes {LONGEST_ID}; shorten it, or leave such documents out with --skip-bad"
                    )
                first_bad = first_bad or bad
                written.skipped += 1
            else:
                line = json.dumps({"id": document.doc_id, "contents": document.contents}, ensure_ascii=False)
                streams[written.read % files].write(line + "\n")
                written.empty += not document.contents.strip(_BLANK)
            written.read += 1
    if written.skipped:
        logger.warning(
            "%d of %d documents left out, which Lucene cannot take (%s; it takes %d)",
            *(written.skipped, written.read, first_bad, LONGEST_ID),
        )
    return written


def _run_indexer(source: Path, index: Path, threads: int, analysis: Analysis, log: Path) -> int:
    """Run Anserini's indexer in a child process; the number of documents it says are in the index.

    What it printed goes to ``log``.
    """
    arguments = [
        "-collection", "JsonCollection", "-generator", "DefaultLuceneDocumentGenerator", "-input", str(source),
        "-index", str(index), "-threads", str(threads), *analysis.indexer_options(),
        "-storeRaw", "-storePositions", "-storeDocvectors",
    ]  # fmt: skip
    return run_indexer("iaa_retrieval.pyserini_plugin.indexer", arguments, log)
