"""Building a Lucene index of a collection with Pyserini's own indexer."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from iaa_retrieval.cli import progress
from iaa_retrieval.collections.collection import load_collection
from iaa_retrieval.collections.types import Document
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.files import atomic_directory, require_empty
from iaa_retrieval.pyserini_plugin.java import prepare_java


@dataclass(frozen=True)
class IndexOptions:
    """What to index: a collection as :func:`load_collection` takes it, into a new directory."""

    collection: str
    output: Path
    threads: int = 1


@dataclass(frozen=True)
class IndexReport:
    """What was indexed; Lucene leaves out documents that are entirely empty."""

    output: Path
    documents: int
    empty_documents: int


def build_index(options: IndexOptions) -> IndexReport:
    """Index ``contents`` (title and text) of every document, for BM25 with feedback and for re-ranking.

    The index keeps positions, term vectors and the raw documents. Memory stays constant; the collection is
    written once to a temporary directory (``TMPDIR``), and the index appears whole or not at all.

    Raises:
        UsageError: fewer than one thread, or an unknown collection.
        IaaRetrievalError: the output is not empty, no Java, damaged data, or the indexer failed or lost
            documents.
    """
    if options.threads < 1:
        raise UsageError(f"--threads {options.threads}: at least 1 is needed")
    require_empty(options.output)
    prepare_java()
    with tempfile.TemporaryDirectory(prefix="lucene-input-") as folder:
        collection = load_collection(options.collection)
        documents = progress(collection.documents(), desc="writing documents", unit="doc")
        written, empty = _write_pyserini_jsonl(documents, Path(folder), options.threads)
        if written == empty:
            raise IaaRetrievalError(f"collection {options.collection} holds no document with text")
        with atomic_directory(options.output) as index:
            indexed = _run_indexer(Path(folder), index, options.threads)
            if indexed != written - empty:
                raise IaaRetrievalError(
                    f"Lucene indexed {indexed} of the {written - empty} documents of {options.collection}"
                )
    return IndexReport(options.output, indexed, empty)


def _write_pyserini_jsonl(documents: Iterable[Document], folder: Path, files: int) -> tuple[int, int]:
    """Write ``{"id", "contents"}`` lines; returns how many documents there are and how many are empty.

    The documents go to ``files`` files in turn, because the indexer gives each of its threads a file.
    """
    written = empty = 0
    with ExitStack() as stack:
        names = [folder / f"documents-{number}.jsonl" for number in range(files)]
        streams = [stack.enter_context(open(name, "w", encoding="utf-8")) for name in names]
        for document in documents:
            line = json.dumps({"id": document.doc_id, "contents": document.contents}, ensure_ascii=False)
            streams[written % files].write(line + "\n")
            written += 1
            empty += not document.contents.strip()
    return written, empty


def _run_indexer(source: Path, index: Path, threads: int) -> int:
    """Run the stock indexer in a child process; the number of documents it says are in the index."""
    command = [
        sys.executable, "-m", "pyserini.index.lucene", "--collection", "JsonCollection",
        "--generator", "DefaultLuceneDocumentGenerator", "--input", str(source), "--index", str(index),
        "--threads", str(threads), "--storeRaw", "--storePositions", "--storeDocvectors",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    total = re.search(r"Total ([\d,]+) documents indexed", done.stdout)
    if done.returncode != 0 or total is None:
        output = (done.stdout + done.stderr).strip()
        raise IaaRetrievalError(f"Pyserini's indexer failed (exit code {done.returncode}):\n{output[-4000:]}")
    return int(total.group(1).replace(",", ""))
