"""Vectors of fewer bits in a Faiss index, by short names. Stock Pyserini searches each of them. Light: no Faiss.

``int8`` keeps a number of a vector in a byte, between the least and the greatest that the number has in a sample.
``binary`` keeps the sign of its difference from the mean in a bit, and beside a vector's bits eight bytes by which its
inner product with a query, whose numbers stay whole, is estimated (RaBitQ; Gao and Long, SIGMOD 2024). A second, finer
copy beside them scores anew what the first one finds.
"""

from __future__ import annotations

FACTORIES = {"int8": "SQ8", "binary": "RaBitQ"}
RESCORING = {"float32": "RFlat", "int8": "Refine(SQ8)"}
# How many documents are scored anew for each hit that is asked for; Faiss stores it in the index.
RESCORED_PER_HIT = 4


def quantized_factory(quantize: str, rescore: str | None = None) -> str:
    """Faiss's description of an index of such vectors.

    Args:
        quantize: a name in ``FACTORIES``.
        rescore: what the hits are scored anew with, a name in ``RESCORING``; None leaves the scores.
    """
    factory = FACTORIES[quantize]
    return factory if rescore is None else f"{factory},{RESCORING[rescore]}"
