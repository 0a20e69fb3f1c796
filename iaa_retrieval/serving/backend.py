"""The engine as Pyserini 2.x's routes and MCP tools ask it: what they call ``SharedSearchBackend``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Any, NamedTuple
from urllib.parse import unquote

from iaa_retrieval.serving.comparison import SCORE_DECIMALS
from iaa_retrieval.serving.documents import as_answer
from iaa_retrieval.serving.engine import Engine, Search
from iaa_retrieval.serving.refusals import BadRequest, UnknownIndex


class Extras(NamedTuple):
    """Parameters of a search that Pyserini's routes do not know; they travel beside these."""

    checkpoint: str | None = None
    rerank: str | None = None


EXTRAS: ContextVar[Extras] = ContextVar("EXTRAS", default=Extras())  # noqa: B039 (a tuple does not change)


class Backend:
    """Searches and documents in the form of Pyserini 2.x's own backend.

    Args:
        engine: answers.
        errors: around every answer, turns the engine's refusals into those that the routes know.
    """

    def __init__(self, engine: Engine, errors: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        self._engine = engine
        self._errors = errors

    def decode_path_segment(self, value: str) -> str:
        """A part of a path as it was meant."""
        return unquote(value)

    def search(
        self,
        query: str | dict[str, Any],
        index_name: str,
        hits: int = 10,
        qid: str = "",
        parse: bool = True,
        allow_local_index: bool = True,
        ef_search: int | None = None,
        encoder: str | None = None,
        query_generator: str | None = None,
        k1: float | None = None,
        b: float | None = None,
        max_doc_length: int | None = None,
    ) -> dict[str, Any]:
        """Search an index, and give the documents as they were indexed.

        Args:
            query: the text, or a mapping with it as ``query_txt``.
            index_name: an alias.
            hits: how many at most.
            qid: goes into the answer.
            parse, max_doc_length: see ``documents.as_answer``.
            allow_local_index, ef_search: without effect: there are no others, and a graph's candidates are set by
                the configuration.
            encoder: the same as the parameter ``checkpoint`` of a request.
            query_generator: refused.
            k1, b: of BM25.
        """
        extras = EXTRAS.get()
        with self._errors():
            if query_generator:
                raise BadRequest("query_generator is not supported by this server")
            text = str(query.get("query_txt") or "") if isinstance(query, dict) else query
            qid = str(query.get("qid") or qid) if isinstance(query, dict) else qid
            asked = Search(text, index_name, hits, extras.checkpoint or encoder or None, extras.rerank, k1, b)
            found = self._engine.search(asked)
            documents = self._engine.documents(index_name, [hit.docid for hit in found])
            return {
                "query": {"qid": qid, "query_txt": text},
                "candidates": [
                    {
                        "docid": hit.docid,
                        "score": round(hit.score, SCORE_DECIMALS),
                        "rank": place,
                        "doc": as_answer(documents[hit.docid].raw, parse=parse, longest=max_doc_length)
                        if hit.docid in documents
                        else None,
                    }
                    for place, hit in enumerate(found, start=1)
                ],
            }

    def get_document(
        self,
        docid: str,
        index_name: str,
        parse: bool = True,
        allow_local_index: bool = True,
        max_doc_length: int | None = None,
    ) -> Any:
        """A document as it was indexed; ``allow_local_index`` has no effect."""
        with self._errors():
            return as_answer(self._engine.document(index_name, docid).raw, parse=parse, longest=max_doc_length)

    def get_indexes(self, index_type: str) -> list[str]:
        """The aliases of one type of index."""
        indexes = self._engine.config.indexes
        types = sorted({str(index.index_type) for index in indexes.values()})
        with self._errors():
            if index_type not in types:
                raise BadRequest(f"Index type must be one of {types}")
        return [alias for alias, index in indexes.items() if index.index_type == index_type]

    def get_status(self, index_name: str) -> dict[str, Any]:
        """What the configuration says of an index, and which checkpoints there are; nothing of this machine's paths."""
        with self._errors():
            if index_name not in self._engine.config.indexes:
                raise UnknownIndex(f"Unknown index: {index_name}")
        index = self._engine.config.indexes[index_name]
        encoders = self._engine.encoders
        return {
            "name": index_name,
            "index_type": index.index_type,
            "base_index": index.base_index,
            "checkpoints": [] if encoders is None else list(encoders.names),
        }
