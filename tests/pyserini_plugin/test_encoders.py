"""Our encoders give what Pyserini's own give for the same plain encoder, and obey Pyserini's interface."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from iaa_retrieval.java import find_java

pytestmark = pytest.mark.skipif(find_java() is None, reason="no Java 21 or newer on this machine")

TEXTS = ["water and air", "mother and father live in a large house with a good boy", "land"]
TITLES = ["world", "house", "earth"]


@pytest.mark.parametrize("model_type", ["bert", "distilbert"])
@pytest.mark.parametrize("prefix", [None, "read"])
def test_documents_equal_stock(tiny_backbone: Callable[[str], Path], model_type: str, prefix: str | None) -> None:
    from iaa_retrieval.pyserini_plugin.encoders import IaaDocumentEncoder

    from pyserini.encode import AutoDocumentEncoder, DocumentEncoder  # isort: skip

    backbone = str(tiny_backbone(model_type))
    ours = IaaDocumentEncoder(backbone, precision="fp32", pooling="mean", l2_norm=True, prefix=prefix)
    stock = AutoDocumentEncoder(backbone, device="cpu", pooling="mean", l2_norm=True, prefix=prefix)
    assert isinstance(ours, DocumentEncoder)
    vectors = ours.encode(TEXTS, fp16=False)
    assert vectors.dtype == np.float32 and vectors.shape == (3, 32)
    np.testing.assert_allclose(vectors, stock.encode(TEXTS), atol=1e-5)
    np.testing.assert_allclose(ours.encode(TEXTS, max_length=5), stock.encode(TEXTS, max_length=5), atol=1e-5)
    assert np.abs(ours.encode(TEXTS, max_length=5) - vectors).max() > 1e-3
    np.testing.assert_allclose(ours.encode(TEXTS), vectors)  # the shorter length was for that call only
    if prefix is None:  # stock puts the prefix between title and text, we put it first
        np.testing.assert_allclose(ours.encode(TEXTS, TITLES), stock.encode(TEXTS, TITLES), atol=1e-5)
        separated = ours.encode(TEXTS, TITLES, add_sep=True)
        np.testing.assert_allclose(separated, stock.encode(TEXTS, TITLES, add_sep=True), atol=1e-5)


def test_queries_equal_stock_alone_and_in_a_batch(tiny_backbone: Callable[[str], Path]) -> None:
    from iaa_retrieval.pyserini_plugin.encoders import IaaQueryEncoder

    from pyserini.encode import AutoQueryEncoder, QueryEncoder  # isort: skip

    backbone = str(tiny_backbone("bert"))
    ours = IaaQueryEncoder(backbone, precision="fp32", pooling="cls", prefix="find")
    stock = AutoQueryEncoder(backbone, pooling="cls", prefix="find")
    assert isinstance(ours, QueryEncoder)
    expected = np.stack([stock.encode(text) for text in TEXTS])
    np.testing.assert_allclose(np.stack([ours.encode(text) for text in TEXTS]), expected, atol=1e-5)
    np.testing.assert_allclose(ours.encode_batch(TEXTS), expected, atol=1e-5)
    assert ours.encode(TEXTS[0]).shape == (32,)


def test_fingerprint_follows_what_vectors_depend_on(tiny_backbone: Callable[[str], Path]) -> None:
    from iaa_retrieval.pyserini_plugin.encoders import IaaDocumentEncoder, IaaQueryEncoder

    backbone = str(tiny_backbone("bert"))
    assert IaaDocumentEncoder(backbone).fingerprint == IaaQueryEncoder(backbone, prefix="find").fingerprint
    assert IaaQueryEncoder(backbone).fingerprint != IaaQueryEncoder(backbone, pooling="mean").fingerprint
