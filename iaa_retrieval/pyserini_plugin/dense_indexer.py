"""Anserini's indexers of vectors: the program of a child process.

Its arguments are the indexer's class, how to quantise (``int8`` or ``none``), and those of the class.
"""

from __future__ import annotations

import sys

# Anserini gathers so many megabytes of vectors before it writes a segment, whatever the JVM has.
_LARGEST_BUFFER = 4096


def main(words: list[str]) -> None:
    """Run an indexer with a buffer that the memory of this JVM has room for."""
    from iaa_retrieval.java import prepare_java

    prepare_java()
    from pyserini.pyclass import autoclass

    name, quantize, *arguments = words
    if quantize == "int8":
        # Anserini 2 calls by another name what Anserini 1 called int8.
        renamed = hasattr(autoclass(f"io.anserini.index.{name}$Args")(), "quantizeSQV")
        arguments.append("-quantize.sqv" if renamed else "-quantize.int8")
    megabytes = autoclass("java.lang.Runtime").getRuntime().maxMemory() >> 20
    buffer = max(16, min(_LARGEST_BUFFER, megabytes // 2))
    autoclass(f"io.anserini.index.{name}").main([*arguments, "-memoryBuffer", str(buffer)])


if __name__ == "__main__":
    main(sys.argv[1:])
