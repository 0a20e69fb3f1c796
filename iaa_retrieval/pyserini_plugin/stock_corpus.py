"""A corpus for stock ``pyserini.encode``: the documents that every verb reads, in the one form that it takes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from iaa_retrieval.collections.loading import is_collection
from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.inference.corpus_reader import DELIMITER, Corpus
from iaa_retrieval.notices import warn_once

# Data sets that Pyserini knows by a word in the path, and reads by rules of their own.
_OF_PYSERINI = ("mbeir", "bright")


@contextmanager
def corpus_for_stock(
    source: str, fields: Sequence[str] = (), *, docid_field: str | None = None, delimiter: str = DELIMITER
) -> Iterator[str]:
    """The path of a file of JSON lines with ``id`` and ``fields`` (the text alone, as in Pyserini, unless named).

    What only Pyserini can read (images by their path, its own data sets) stays as it is.

    Raises:
        IaaRetrievalError: as ``Corpus``, before Pyserini loads anything.
    """
    known = Path(source).expanduser().exists() or is_collection(source)
    if not known or any(word in source for word in _OF_PYSERINI) or any("path" in field for field in fields):
        yield source
        return
    corpus = Corpus(source, fields or None, docid_field=docid_field, delimiter=delimiter)
    written = fields or ("text",)
    total = titled = 0
    with tempfile.TemporaryDirectory(prefix="corpus-") as folder:
        path = Path(folder) / "corpus.jsonl"
        with open(path, "w", encoding="utf-8") as stream:
            for document in corpus:
                values = dict(zip(corpus.fields, document.fields, strict=True))
                total += 1
                titled += bool(values.get("title"))
                # Pyserini makes null of an empty text, and then cannot encode it.
                record = {name: values[name] or " " for name in written}
                stream.write(json.dumps({**record, "id": document.doc_id}) + "\n")
        if not total:
            raise IaaRetrievalError("there is no document to encode")
        if titled and "title" not in written:
            warn_once(
                f"{source}: the titles of {titled} of {total} documents are not encoded, as in pyserini.encode; input "
                "--fields title text with encoder --fields title text encodes them too"
            )
        yield str(path)


def with_corpus(words: Sequence[str], path: str) -> list[str]:
    """A command line of ``pyserini.encode`` that reads ``path`` instead, whose ids are where it looks for them."""
    changed: list[str] = []
    position = 0
    while position < len(words):
        name, equals, _ = words[position].partition("=")
        if name in ("--corpus", "--docid-field"):
            changed += ["--corpus", path] if name == "--corpus" else []
            position += 1 if equals else 2
        else:
            changed.append(words[position])
            position += 1
    return changed
