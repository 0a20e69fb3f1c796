"""Index types: what is written is found again, by the searches that Pyserini does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import faiss
import numpy as np
import pytest

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.inference import faiss_index
from iaa_retrieval.inference.faiss_index import write_index

COUNT, DIMENSION = 3000, 16


def windows() -> Iterator[tuple[np.ndarray, list[str]]]:
    generator = np.random.default_rng(1)
    for start in range(0, COUNT, 500):
        rows = generator.normal(size=(500, DIMENSION)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        yield rows, [f"d{number}" for number in range(start, start + 500)]


@pytest.mark.parametrize(("factory", "least"), [("Flat", 1.0), ("HNSW16,Flat", 0.99), ("IVF64,SQ8", 0.55)])
def test_the_nearest_are_found(tmp_path: Path, factory: str, least: float):
    write_index(windows, COUNT, tmp_path, DIMENSION, factory)
    vectors = np.concatenate([rows for rows, _ in windows()])
    queries = vectors[:50] + 0.05
    wanted = np.argsort(-queries @ vectors.T, axis=1)[:, :10]
    _, found = faiss.read_index(str(tmp_path / "index")).search(queries, 10)
    shared = [len(set(mine) & set(best)) / 10 for mine, best in zip(found, wanted, strict=True)]
    assert np.mean(shared) >= least
    assert (tmp_path / "docid").read_text().split() == [f"d{number}" for number in range(COUNT)]


def test_the_effort_of_a_search_is_stored(tmp_path: Path):
    write_index(windows, COUNT, tmp_path, DIMENSION, "IVF64,Flat")
    assert faiss.read_index(str(tmp_path / "index")).nprobe == 4
    write_index(windows, COUNT, tmp_path, DIMENSION, "HNSW16,Flat")
    assert faiss.read_index(str(tmp_path / "index")).hnsw.efSearch == faiss_index.CANDIDATES


def test_training_reads_an_even_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(faiss_index, "TRAINING_VECTORS", 1000)
    write_index(windows, COUNT, tmp_path, DIMENSION, "IVF4,Flat")
    assert faiss.read_index(str(tmp_path / "index")).ntotal == COUNT


def test_errors_are_clear(tmp_path: Path):
    with pytest.raises(UsageError, match="does not know the index 'Nonsense'"):
        write_index(windows, COUNT, tmp_path, DIMENSION, "Nonsense")
    with pytest.raises(IaaRetrievalError, match="3000 vectors are too few"):
        write_index(windows, COUNT, tmp_path, DIMENSION, "IVF5000,Flat")
