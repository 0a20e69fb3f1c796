"""What the file of ``serve --config`` may say: every key, and the type of its value. Nothing else passes.

It is a superset of the file of Pyserini 2.x's own server: ``indexes`` and ``api_keys`` mean the same in both.
"""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

BACKBONE = "backbone"  # what requests and systems call the backbone without any checkpoint

BM25, FAISS, HNSW, FLAT = "tf", "faiss", "lucene_hnsw", "lucene_flat"
DENSE = (FAISS, HNSW, FLAT)


class Entry(BaseModel):
    """A mapping of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _as_mapping(value: Any) -> Any:
    """Pyserini lets an index be its path alone."""
    return {"path": value} if isinstance(value, str) else value


def _as_pyserini_calls_it(value: Any) -> Any:
    return BM25 if value == "bm25" else value


class IndexEntry(Entry):
    """An index on this machine.

    Attributes:
        path: its directory, relative to the file.
        index_type: ``tf`` (or ``bm25``), ``faiss``, ``lucene_hnsw`` or ``lucene_flat``; None is what its
            files say, and else ``tf``.
        encoder: of its queries: the name of a checkpoint, ``backbone``, or the path of either; None is the one that
            made the index, as the index says.
        base_index: the alias of the ``tf`` index that stores its documents.
        ef_search: how many candidates a search of an HNSW graph keeps.
    """

    path: str
    index_type: Annotated[
        Literal["tf", "faiss", "lucene_hnsw", "lucene_flat"] | None, BeforeValidator(_as_pyserini_calls_it)
    ] = None
    encoder: str | None = None
    base_index: str | None = None
    ef_search: int | None = Field(default=None, gt=0)


class SystemEntry(Entry):
    """One column of the page: a search of ``index``, with a checkpoint of its own and re-ranked where it says so."""

    label: str
    index: str
    description: str = ""
    checkpoint: str | None = None
    rerank: str | None = None


class LimitsEntry(Entry):
    """What a request may ask for, and how many of them are worked on.

    Attributes:
        hits: the most hits of a search.
        query_characters: the longest query.
        rerank_hits: how many hits of the first stage are re-ranked, or as many as are asked for where these are more.
        concurrent: searches at a time.
        queue: how many more may wait; what comes then is refused at once.
        timeout: seconds that one of them waits at most.
    """

    hits: int = Field(default=100, gt=0)
    query_characters: int = Field(default=1000, gt=0)
    rerank_hits: int = Field(default=30, gt=0)
    concurrent: int = Field(default_factory=lambda: min(8, os.cpu_count() or 1), gt=0)
    queue: int = Field(default=32, ge=0)
    timeout: float = Field(default=10.0, gt=0)


class ServeConfig(Entry):
    """The whole file.

    Attributes:
        title: what the page calls itself.
        indexes: by the alias that requests name.
        backbone: what all checkpoints were trained on; None is the one that they name themselves.
        checkpoints: their directories, by the name that requests give.
        systems: what the page can show side by side, by name.
        shown: those that it shows at first; None is the first three.
        collection: where titles and texts come from, and queries and judgments where it names a split.
        topics, qrels: queries and judgments, where they come from elsewhere.
        api_keys: one of them is asked for with every request; none asks for nothing.
        host_names: names by which the server may be addressed, beside those of this machine's own loopback.
    """

    title: str = "Search"
    indexes: dict[str, Annotated[IndexEntry, BeforeValidator(_as_mapping)]] = Field(min_length=1)
    backbone: str | None = None
    checkpoints: dict[str, str] = {}
    systems: dict[str, SystemEntry] = {}
    shown: list[str] | None = Field(default=None, min_length=1)
    collection: str | None = None
    topics: str | None = None
    qrels: str | None = None
    api_keys: list[Annotated[str, Field(min_length=1, pattern=r"^[\x21-\x7e]+$")]] = []
    host_names: list[str] = []
    limits: LimitsEntry = LimitsEntry()
