"""A tiny world to serve: one collection, one backbone, indexes of several kinds, and requests to an app."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGES = {"/": (b"<!doctype html><title>Search</title>", "text/html; charset=utf-8")}
KEY = "a-long-secret"


@dataclass(frozen=True)
class World:
    """Everything that a configuration names, tiny."""

    folder: Path
    collection: Path
    backbone: Path
    tuned: Path
    other: Path
    reranker: Path
    lucene: Path

    def faiss(self, name: str) -> Path:
        """The Faiss directory that ``tuned``, ``other`` or ``backbone`` made."""
        return self.folder / f"{name}-index"

    def values(self, **changes: Any) -> dict[str, Any]:
        """A configuration of all of it, as YAML would give it."""
        values: dict[str, Any] = {
            "indexes": {
                "bm25": str(self.lucene),
                "tuned": {"path": str(self.faiss("tuned")), "index_type": "faiss", "encoder": "tuned"},
                "other": {"path": str(self.faiss("other"))},
                "untuned": {"path": str(self.faiss("backbone"))},
            },
            "backbone": str(self.backbone),
            "checkpoints": {"tuned": str(self.tuned), "other": str(self.other), "reranker": str(self.reranker)},
            "systems": {
                "bm25": {"label": "BM25", "index": "bm25"},
                "untuned": {"label": "Untuned", "index": "untuned"},
                "tuned": {"label": "Tuned", "index": "tuned", "description": "Vectors."},
                "reranked": {"label": "Re-ranked", "index": "bm25", "rerank": "reranker"},
            },
            "collection": f"{self.collection}:train",
        }
        return {**values, **changes}
