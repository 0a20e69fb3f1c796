"""The vectors of a small corpus in memory, without a directory that remains."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from iaa_retrieval.inference.corpus_encoder import CorpusEncoding, encode_corpus

if TYPE_CHECKING:
    import numpy as np

    from iaa_retrieval.inference.corpus_reader import Corpus
    from iaa_retrieval.models.bi_encoder import BiEncoder


def encode_into_memory(
    encoder: BiEncoder, corpus: Corpus, encoding: CorpusEncoding, cut_advice: str
) -> tuple[list[str], np.ndarray]:
    """What a Faiss directory of full vectors holds; made as one, so that both are the same to the bit.

    Args:
        encoder, corpus, encoding, cut_advice: as for ``corpus_encoder.encode_corpus``; the output is a flat index.

    Returns:
        The documents' ids, and their vectors, float32 [n, d].
    """
    import faiss

    with tempfile.TemporaryDirectory(prefix="vectors-") as folder:
        made = Path(folder) / "index"
        encode_corpus(encoder, corpus, made, encoding, cut_advice=cut_advice)
        index = faiss.read_index(str(made / "index"))
        ids = (made / "docid").read_text(encoding="utf-8").split("\n")[:-1]  # an id may hold other line ends
        return ids, index.reconstruct_n(0, index.ntotal)
