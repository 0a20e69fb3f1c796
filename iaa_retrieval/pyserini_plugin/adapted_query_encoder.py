"""A vector adapter behind any query encoder of Pyserini's, or behind anything else that makes vectors of queries.

Importing this module imports Pyserini, which starts a JVM; Java is found first.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from iaa_retrieval.java import prepare_java
from iaa_retrieval.models.retriever_config import require_same_encoder
from iaa_retrieval.models.vector_adapter import load_vector_adapter

prepare_java()
from pyserini.encode import QueryEncoder  # noqa: E402


class AdaptedQueryEncoder(QueryEncoder):  # type: ignore[misc]
    """A Pyserini query encoder whose vectors a vector adapter maps::

        searcher = FaissSearcher("INDEX", AdaptedQueryEncoder(OpenAiQueryEncoder(), "ADAPTER"))

    Args:
        encoder: has ``encode(text)``, which gives a vector [d], such as Pyserini's query encoders; its
            ``encode_batch(texts)``, giving [n, d], is used where it has one.
        adapter: directory of a vector adapter.

    Raises:
        IaaRetrievalError: the adapter cannot be read, or was trained on vectors of another encoder.
    """

    def __init__(self, encoder: Any, adapter: str | Path) -> None:
        super().__init__()
        self.has_model = True
        self.encoder = encoder
        self.adapter, self.config = load_vector_adapter(adapter)
        own = getattr(encoder, "fingerprint", "")  # this package's encoders say which they are
        require_same_encoder(f"vector adapter {adapter}", self.config.encoder_fingerprint, "the query encoder", own)

    def encode(self, query: str, **kwargs: Any) -> np.ndarray:
        """Encode one query into float32 [d].

        Raises:
            IaaRetrievalError: the encoder's vectors have another length than the adapter was trained on.
        """
        vector: np.ndarray = self.adapter.map(np.asarray(self.encoder.encode(query, **kwargs)).reshape(1, -1))[0]
        return vector

    def encode_batch(self, queries: Sequence[str]) -> np.ndarray:
        """Encode queries into float32 [n, d]; Pyserini's ``batch_search`` looks for this. Errors as for ``encode``."""
        if hasattr(self.encoder, "encode_batch"):
            return self.adapter.map(np.asarray(self.encoder.encode_batch(queries)))
        return self.adapter.map(np.stack([np.asarray(self.encoder.encode(query)).reshape(-1) for query in queries]))
