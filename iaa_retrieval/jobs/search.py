"""Pyserini's faiss, lucene and hybrid search with our encoders; its options are Pyserini's own."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from iaa_retrieval.errors import UsageError

KINDS = ("faiss", "lucene", "hybrid")


def search(kind: str, arguments: Sequence[str]) -> None:
    """Run ``python -m pyserini.search.KIND`` with these arguments in this process.

    Args:
        kind: one of ``KINDS``.
        arguments: the stock command's; ``--encoder``, ``--topics`` and ``--index`` take more than stock Pyserini's.

    Raises:
        UsageError: an unknown kind, an option that contradicts the checkpoint, or one that is missing.
        IaaRetrievalError: no Java, an unknown index or topics, an index made by another encoder, or the search
            failed; no output is left then.
        SystemExit: the stock command ended with an exit code other than 0; no output is left then either.
    """
    if kind not in KINDS:
        raise UsageError(f"unknown search {kind!r}; one of {', '.join(KINDS)}")
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # tqdm reads it when it is imported, as the next line does
    from iaa_retrieval.pyserini_plugin import launcher

    launcher.launch_search(kind, list(arguments))
