"""Our bi-encoders as Pyserini's document and query encoders.

Importing this module imports Pyserini, which starts a JVM; Java is found first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from iaa_retrieval.inference.cuts import Cuts, document_cuts, query_cuts
from iaa_retrieval.inference.loading import load_for_inference
from iaa_retrieval.inference.text_encoder import encode_passages, encode_queries
from iaa_retrieval.java import prepare_java
from iaa_retrieval.pyserini_plugin.index_guard import guard_faiss_searcher
from iaa_retrieval.pyserini_plugin.threads import use_all_threads

prepare_java()
from pyserini.encode import DocumentEncoder, QueryEncoder  # noqa: E402

CUT_ADVICE = "the argument max_length sets another length"
STOCK_MAX_LENGTH = 256  # what pyserini.encode passes unless its --max-length says otherwise


class IaaDocumentEncoder(DocumentEncoder):  # type: ignore[misc]
    """A Pyserini document encoder over a checkpoint of ours, a plain directory, a hub id or all-MiniLM-L6-v2.

    Args:
        model_name: what to load.
        device: ``cpu``, ``cuda:0``, ... or ``auto``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        pooling, l2_norm, prefix, prompt, prompt_name, append_eos: overrides for a plain encoder, see
            ``load_bi_encoder``; a checkpoint says these itself.
        max_length: in tokens; default: the encoder's own.
        truncate_dim: numbers to keep of each vector; default: all, or what the encoder says.
        encoder_class: ``auto``, ``sentence-transformers``, ``contriever`` or ``qwen3`` for Pyserini's settings of
            that class instead of a plain encoder's own.

    Raises:
        UsageError: an override contradicts the checkpoint, or the encoder needs a class that only Pyserini has.
        IaaRetrievalError: it cannot be loaded, or is no bi-encoder.
    """

    def __init__(
        self,
        model_name: str,
        device: str = "cpu",
        precision: str = "auto",
        *,
        pooling: str | None = None,
        l2_norm: bool | None = None,
        prefix: str | None = None,
        prompt: str | None = None,
        prompt_name: str | None = None,
        append_eos: bool = False,
        max_length: int | None = None,
        truncate_dim: int | None = None,
        encoder_class: str | None = None,
    ) -> None:
        self.has_model = True
        self.bi_encoder = load_for_inference(
            model_name,
            kind="bi-encoder",
            pooling=pooling,
            normalize=l2_norm,
            document_prefix=prefix,
            document_prompt=prompt,
            document_prompt_name=prompt_name,
            append_eos=append_eos,
            document_max_length=max_length,
            truncate_dim=truncate_dim,
            encoder_class=encoder_class,
            precision=precision,
            device=device,
        )
        self._cuts = document_cuts(self.bi_encoder, CUT_ADVICE)

    @property
    def fingerprint(self) -> str:
        """Hash of all that a vector depends on."""
        return self.bi_encoder.fingerprint

    def encode(
        self,
        texts: Sequence[str],
        titles: Sequence[str] | None = None,
        max_length: int | None = None,
        add_sep: bool = False,
        fp16: bool | None = None,
        **kwargs: Any,
    ) -> np.ndarray:
        """Encode passages into float32 [len(texts), d].

        Args:
            texts, titles: the passages; a title is put before its text and a space, or with ``add_sep``
                becomes a segment of its own, as in Pyserini.
            max_length: in tokens; None is the encoder's own, and so is 256 with an ``fp16``: pyserini.encode always
                passes both, 256 where its user said nothing. Say it to the constructor to be sure.
            fp16: accepted as Pyserini passes it, and without effect: the constructor sets the precision.

        Raises:
            UsageError: a length that the encoder cannot take.
        """
        use_all_threads()
        encoder, cuts = self.bi_encoder, self._cuts
        if max_length is not None and not (max_length == STOCK_MAX_LENGTH and fp16 is not None):
            encoder = encoder.with_lengths(document=max_length)
            cuts = document_cuts(encoder)  # who says a length with every call knows what it cuts
        on_cut = cuts.count(len(texts))
        if titles is None:
            vectors = encode_passages(encoder, texts, on_cut=on_cut)
        elif add_sep:
            vectors = encode_passages(encoder, titles, text_pairs=texts, on_cut=on_cut)
        else:
            whole = [f"{title} {text}" for title, text in zip(titles, texts, strict=True)]
            vectors = encode_passages(encoder, whole, on_cut=on_cut)
        self._cuts.warn()
        return vectors


class IaaQueryEncoder(QueryEncoder):  # type: ignore[misc]
    """A Pyserini query encoder over a checkpoint of ours, a plain directory, a hub id or all-MiniLM-L6-v2.

    ``FaissSearcher(directory, IaaQueryEncoder(checkpoint))`` searches; its ``batch_search`` encodes the
    queries in batches, and refuses an index that another encoder made. Arguments and errors are those of
    ``IaaDocumentEncoder``; ``prefix`` and ``prompt`` go before queries, and ``max_length`` is theirs.
    Where the vectors of an index are cut, the searcher's queries are cut likewise.
    """

    def __init__(
        self,
        encoder_dir: str,
        device: str = "cpu",
        precision: str = "fp32",
        *,
        pooling: str | None = None,
        l2_norm: bool | None = None,
        prefix: str | None = None,
        prompt: str | None = None,
        prompt_name: str | None = None,
        append_eos: bool = False,
        max_length: int | None = None,
        truncate_dim: int | None = None,
        encoder_class: str | None = None,
    ) -> None:
        super().__init__()
        self.has_model = True
        self.bi_encoder = load_for_inference(
            encoder_dir,
            kind="bi-encoder",
            pooling=pooling,
            normalize=l2_norm,
            query_prefix=prefix,
            query_prompt=prompt,
            query_prompt_name=prompt_name,
            append_eos=append_eos,
            query_max_length=max_length,
            truncate_dim=truncate_dim,
            encoder_class=encoder_class,
            precision=precision,
            device=device,
        )
        guard_faiss_searcher(IaaQueryEncoder)
        self._cuts = query_cuts(self.bi_encoder, CUT_ADVICE)
        self._says_cuts = True

    @property
    def fingerprint(self) -> str:
        """Hash of all that a vector depends on."""
        return self.bi_encoder.fingerprint

    def count_cuts(self, advice: str) -> Cuts:
        """Count queries that are cut from now on without saying so; the caller says it, with its own ``advice``."""
        self._cuts, self._says_cuts = query_cuts(self.bi_encoder, advice), False
        return self._cuts

    def encode(self, query: str, **kwargs: Any) -> np.ndarray:
        """Encode one query into float32 [d]."""
        vector: np.ndarray = self.encode_batch([query])[0]
        return vector

    def encode_batch(self, queries: Sequence[str]) -> np.ndarray:
        """Encode queries into float32 [len(queries), d]; Pyserini's ``batch_search`` looks for this."""
        use_all_threads()
        vectors = encode_queries(self.bi_encoder, queries, on_cut=self._cuts.count(len(queries)))
        if self._says_cuts:
            self._cuts.warn()
        return vectors
