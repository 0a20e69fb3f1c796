"""``python -m iaa_retrieval.pyserini_plugin.stock MODULE ...``: any module of stock Pyserini, started as we start it.

It is ``python -m MODULE ...`` with Java found and, for Pyserini 2.x, with an import that needs no network and takes
any Java runtime (``iaa_retrieval.pyserini_generations``); the module does what it does alone.
"""

from __future__ import annotations

import runpy
import sys

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.java import prepare_java


def main(words: list[str]) -> None:
    """Run a module of Pyserini as ``__main__``.

    Args:
        words: its name, such as ``pyserini.search.faiss``, and its arguments.

    Raises:
        UsageError: it is no module of Pyserini.
        IaaRetrievalError: no Java.
    """
    if not words or words[0].split(".")[0] != "pyserini":
        raise UsageError("name a module of Pyserini and its arguments, such as: pyserini.search.faiss --help")
    prepare_java()
    sys.argv = words
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except IaaRetrievalError as error:
        sys.exit(f"Error: {error}")
