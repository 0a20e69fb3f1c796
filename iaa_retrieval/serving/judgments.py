"""The queries that a server knows, and what is judged relevant to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from iaa_retrieval.collections.qrels import read_qrels
from iaa_retrieval.collections.topics import read_topics
from iaa_retrieval.collections.types import Qrels, Query
from iaa_retrieval.errors import UsageError
from iaa_retrieval.serving.config import ServeConfig

EXAMPLES = 20


class Judgments:
    """Queries by their text, with the grades of documents.

    Args:
        queries: of two with the same text, the judged one counts.
        qrels: of these queries, and perhaps of others.
    """

    def __init__(self, queries: Iterable[Query] = (), qrels: Qrels | None = None) -> None:
        self._qrels = qrels or {}
        self._by_text: dict[str, Query] = {}
        for query in queries:
            text = query.text.strip()
            known = self._by_text.get(text)
            if text and (known is None or known.query_id not in self._qrels):
                self._by_text[text] = query

    @property
    def known(self) -> bool:
        """Whether any query that can be asked has judgments."""
        return any(query.query_id in self._qrels for query in self._by_text.values())

    def query(self, text: str) -> str | None:
        """The id of the query with this text."""
        found = self._by_text.get(text.strip())
        return None if found is None else found.query_id

    def of(self, query_id: str | None) -> Mapping[str, int] | None:
        """Document id -> grade, or None where the query has no judgments."""
        return None if query_id is None else self._qrels.get(query_id)

    def examples(self) -> list[Query]:
        """Some of the queries, from all parts of their list; of the judged ones, where there are any."""
        queries = list(self._by_text.values())
        queries = [query for query in queries if query.query_id in self._qrels] or queries
        return queries[:: -(-len(queries) // EXAMPLES)] if queries else []


def load_judgments(config: ServeConfig) -> Judgments:
    """What ``topics`` and ``qrels`` name, or else the collection has.

    Raises:
        UsageError: ``topics`` or ``qrels`` names nothing.
        IaaRetrievalError: damaged data.
    """
    queries: list[Query] = []
    qrels: Qrels = {}
    if config.topics is not None:
        queries = read_topics(config.topics)
    elif config.collection is not None:
        try:
            queries = read_topics(config.collection)
        except UsageError:  # a collection of documents alone
            return Judgments()
    if config.qrels is not None:
        qrels = read_qrels(config.qrels)
    elif config.collection is not None:
        try:
            qrels = read_qrels(config.collection)
        except UsageError:  # no split was named
            qrels = {}
    return Judgments(queries, qrels)
