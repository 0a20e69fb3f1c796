"""Queries by any name: a file, a collection's split, an ir_datasets id or a Pyserini topics name."""

from __future__ import annotations

from pathlib import Path

from iaa_retrieval.collections.lines import clean_text
from iaa_retrieval.collections.loading import is_collection, load_collection, looks_like_path
from iaa_retrieval.collections.topic_files import read_topics_file
from iaa_retrieval.collections.types import Query
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.notices import warn_once


def read_topics(spec: str | Path) -> list[Query]:
    """Queries from a file, a collection or Pyserini; one warning counts those without any text.

    Args:
        spec: a file (see ``topic_files.read_topics_file``), a collection or its split (``SPEC:SPLIT``,
            see ``loading.load_collection``), or the name of topics that Pyserini has (needs Java).

    Returns:
        In the order of the file or of the collection; no id comes twice.

    Raises:
        IaaRetrievalError: malformed data, named by file and line.
        UsageError: a name that none of these knows.
    """
    queries = _read(str(spec))
    empty = [query.query_id for query in queries if not query.text.strip()]
    if empty:
        warn_once(
            f"{spec}: {len(empty)} of {len(queries)} queries have no text (e.g. {empty[0]}); what is found for them, "
            "if anything, means nothing"
        )
    return queries


def _read(spec: str) -> list[Query]:
    if Path(spec).is_file():
        return read_topics_file(spec)
    if looks_like_path(spec) or is_collection(spec):
        return load_collection(spec).queries()
    return _pyserini_topics(spec)


def _pyserini_topics(name: str) -> list[Query]:
    from iaa_retrieval.java import prepare_java

    prepare_java()
    from pyserini.search import get_topics

    try:
        topics = get_topics(name)
    except ValueError:  # how Pyserini says that it does not know the name
        topics = {}
    except Exception as error:  # a download behind pyjnius fails with whatever Java threw
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise IaaRetrievalError(f"Pyserini cannot read topics {name!r}: {reason}") from error
    if not topics:
        raise UsageError(f"unknown topics {name!r}: not a file, a collection (SPEC:SPLIT) or topics that Pyserini has")
    return [Query(str(query_id), clean_text(str(topic["title"]))) for query_id, topic in topics.items()]
