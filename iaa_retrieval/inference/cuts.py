"""Texts that are longer than a model reads: counted while they are tokenized, and said in one line."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from iaa_retrieval.inference.tokens import OnCut
from iaa_retrieval.models.cross_encoder import CrossEncoder
from iaa_retrieval.models.retriever import Retriever

LOG = logging.getLogger("iaa_retrieval")


class Cuts:
    """Counts the texts of one kind, and those of them that were cut.

    Args:
        kind: what the texts are, in the plural: ``queries``, ``documents``.
        limit: the most tokens that are read of one.
        advice: how another limit is set, in the words of the verb or class that says it, such as
            ``--max-length sets another length``.
        most: the most tokens that the model can read; at that limit nothing is advised.
    """

    def __init__(self, kind: str, limit: int, *, advice: str = "", most: int | None = None) -> None:
        self._kind = kind
        self._limit = limit
        self._reason = "the model reads no more" if most is not None and limit >= most else advice
        self._total = 0
        self._cut = 0
        self._names: set[str] = set()
        self._cut_names: set[str] = set()
        self._said = False

    def count(self, texts: int) -> OnCut:
        """Count so many other texts; what is returned is to be told of those that are cut."""
        self._total += texts
        return self._count_cut

    def among(self, names: Sequence[str]) -> OnCut:
        """The same for texts that may come again, and count once: ``names`` tells them apart."""
        self._names.update(names)
        return lambda position: self._cut_names.add(names[position])

    def warn(self) -> None:
        """Say how many were cut, if any were and it was not said before."""
        cut, total = self._cut + len(self._cut_names), self._total + len(self._names)
        if not cut or self._said:
            return
        self._said = True
        reason = f" ({self._reason})" if self._reason else ""
        LOG.warning("%d of %d %s are longer than %d tokens and were cut%s", cut, total, self._kind, self._limit, reason)

    def _count_cut(self, position: int) -> None:
        self._cut += 1


def query_cuts(model: Retriever, advice: str = "") -> Cuts:
    """For the queries of a model, under its settings."""
    limit = model.query_limit
    if isinstance(model, CrossEncoder) and limit == model.text_room // 2:
        return Cuts("queries", limit, advice=f"a query takes at most half of a pair, which has {model.text_room}")
    return Cuts("queries", limit, advice=advice, most=model.position_limit)


def document_cuts(model: Retriever, advice: str = "") -> Cuts:
    """For the documents of a bi-encoder or the pairs of a cross-encoder, under its settings."""
    return Cuts(model.document_inputs, model.config.document_max_length, advice=advice, most=model.position_limit)
