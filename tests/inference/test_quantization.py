"""Faiss indexes of shorter numbers: their size, what they find, and scores that are exact where they are said to be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from iaa_retrieval.errors import UsageError
from iaa_retrieval.inference.faiss_index import write_index
from iaa_retrieval.inference.quantization import quantized_factory
from iaa_retrieval.java import find_java, prepare_java
from iaa_retrieval.jobs.embeddings_options import EmbeddingsOptions, vector_output

COUNT, DIMENSION, HITS = 2000, 64, 10
needs_java = pytest.mark.skipif(find_java() is None, reason="no Java 21 or newer on this machine")


def vectors() -> np.ndarray:
    """Of unit length, in groups, so that there are near ones to find."""
    generator = np.random.default_rng(1)
    centres = generator.normal(size=(100, DIMENSION))
    rows = centres[generator.integers(0, 100, COUNT)] + generator.normal(size=(COUNT, DIMENSION))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def windows() -> Iterator[tuple[np.ndarray, list[str]]]:
    rows = vectors()
    for start in range(0, COUNT, 500):
        yield rows[start : start + 500], [f"d{number}" for number in range(start, start + 500)]


QUERIES = vectors()[:40] + 0.02
EXACT = QUERIES @ vectors().T


def of_bytes(rows: np.ndarray) -> np.ndarray:
    """What a byte a number leaves of the vectors: the middle of one of 256 steps between least and greatest value."""
    least, greatest = rows.min(axis=0), rows.max(axis=0)
    steps = np.clip(np.floor((rows - least) / (greatest - least) * 255), 0, 255)
    restored: np.ndarray = least + (steps + 0.5) / 255 * (greatest - least)
    return restored


@pytest.mark.parametrize(
    ("quantize", "rescore", "size", "recall"),
    [
        ("int8", None, DIMENSION, 0.97),
        ("int8", "float32", 5 * DIMENSION, 1.0),
        ("binary", None, DIMENSION / 8 + 8, 0.4),
        ("binary", "int8", DIMENSION / 8 + 8 + DIMENSION, 0.8),
        ("binary", "float32", DIMENSION / 8 + 8 + 4 * DIMENSION, 0.8),
    ],
)
@needs_java
@pytest.mark.usefixtures("same_environment")
def test_stock_pyserini_searches_it(tmp_path: Path, quantize: str, rescore: str | None, size: float, recall: float):
    form = vector_output(EmbeddingsOptions(embeddings="x", to_faiss=True, quantize=quantize, rescore=rescore))
    assert form is not None
    form.write(windows, COUNT, tmp_path, DIMENSION)
    assert (tmp_path / "index").stat().st_size / COUNT == pytest.approx(size, abs=1)
    prepare_java()
    from pyserini.search.faiss import FaissSearcher

    searcher = FaissSearcher(str(tmp_path), None)
    wanted = np.argsort(-EXACT, axis=1)[:, :HITS]
    exact = {"float32": EXACT, "int8": QUERIES @ of_bytes(vectors()).T}.get(rescore or quantize)
    shared = []
    for row, query in enumerate(QUERIES):
        hits = searcher.search(query[None], HITS)
        found = [int(hit.docid[1:]) for hit in hits]
        scores = [hit.score for hit in hits]
        assert scores == sorted(scores, reverse=True)
        if exact is not None:
            np.testing.assert_allclose(scores, exact[row, found], atol=1e-5)
        shared.append(len(set(found) & set(wanted[row])) / HITS)
    assert np.mean(shared) >= recall
    assert rescore or quantize == "int8" or np.mean(shared) < 0.8  # so that re-scoring has something to mend


def test_how_many_are_scored_anew_is_stored(tmp_path: Path):
    write_index(windows, COUNT, tmp_path, DIMENSION, quantized_factory("binary", "float32"))
    index = faiss.read_index(str(tmp_path / "index"))
    assert index.k_factor == 4
    base = faiss.downcast_index(index.base_index)
    _, candidates = base.search(QUERIES, 4 * HITS)
    _, found = index.search(QUERIES, HITS)
    for row in range(len(QUERIES)):
        best = candidates[row][np.argsort(-EXACT[row, candidates[row]])[:HITS]]
        assert set(found[row]) == set(best)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"quantize": "int8"}, "--quantize is about an index"),
        ({"quantize": "int8", "to_parquet": True}, "--quantize is about an index"),
        ({"quantize": "binary", "to_lucene": "flat"}, "--quantize binary makes a Faiss index"),
        ({"quantize": "int8", "to_faiss": True, "index_factory": "SQ8"}, "both describe the index"),
        ({"rescore": "int8", "to_faiss": True}, "add --to-faiss and --quantize"),
        ({"rescore": "float32", "quantize": "int8", "to_lucene": "flat"}, "add --to-faiss and --quantize"),
        ({"rescore": "int8", "quantize": "int8", "to_faiss": True}, "holds already"),
    ],
)
def test_what_means_nothing_is_refused(options: dict[str, Any], said: str):
    with pytest.raises(UsageError, match=said):
        vector_output(EmbeddingsOptions(embeddings="x", **options))
