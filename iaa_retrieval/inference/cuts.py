"""Texts that are longer than a model reads: counted while they are tokenized, and said in one line."""

from __future__ import annotations

import logging
from collections.abc import Iterable

LOG = logging.getLogger("iaa_retrieval")


class Cuts:
    """Counts the texts of one kind, each once, and those of them that were cut.

    Args:
        kind: what the texts are, in the plural: ``queries``, ``documents``.
        limit: the most tokens that are read of one.
        advice: how another limit is set, in the words of the verb or class that says it, such as
            ``--max-length sets another length``; nothing is advised where the limit is the model's own.
        model_limit: the most tokens that the model can read.
    """

    def __init__(self, kind: str, limit: int, *, advice: str = "", model_limit: int | None = None) -> None:
        self._kind = kind
        self._limit = limit
        self._reason = "the model reads no more" if model_limit is not None and limit >= model_limit else advice
        self._total = 0
        self._cut = 0
        self._seen: set[str] = set()
        self._named_cut: set[str] = set()
        self._said = False

    def count(self, texts: int) -> None:
        """So many texts more, each of them another one."""
        self._total += texts

    def on_cut(self, position: int) -> None:
        """One of the texts that are counted was cut (its position does not matter)."""
        self._cut += 1

    def see(self, names: Iterable[str]) -> None:
        """Texts by name, which may come again and count once."""
        self._seen.update(names)

    def see_cut(self, name: str) -> None:
        """One of the named texts was cut."""
        self._named_cut.add(name)

    def warn(self) -> None:
        """Say how many were cut, if any; a second call says nothing."""
        cut, total = self._cut + len(self._named_cut), self._total + len(self._seen)
        if not cut or self._said:
            return
        self._said = True
        LOG.warning(
            "%d of %d %s are longer than %d tokens and were cut%s",
            cut,
            total,
            self._kind,
            self._limit,
            f" ({self._reason})" if self._reason else "",
        )
