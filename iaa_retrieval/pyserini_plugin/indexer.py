"""What ``python -m pyserini.index.lucene`` does, for documents of any length: the program of a child process.

Its arguments are those of Anserini's ``IndexCollection``.
"""

from __future__ import annotations

import sys


def main(words: list[str]) -> None:
    """Run Anserini's indexer, whose JSON reader refuses texts of more than 20 million characters by itself."""
    from iaa_retrieval.java import prepare_java

    prepare_java()
    from pyserini.pyclass import autoclass

    limits = autoclass("com.fasterxml.jackson.core.StreamReadConstraints")
    limits.overrideDefaultStreamReadConstraints(limits.builder().maxStringLength(2**31 - 1).build())
    autoclass("io.anserini.index.IndexCollection").main(words)


if __name__ == "__main__":
    main(sys.argv[1:])
