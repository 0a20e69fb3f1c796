"""Index types: what is written is found again, by the searches that Pyserini does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import faiss
import numpy as np
import pytest

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.inference import faiss_index
from iaa_retrieval.inference.faiss_index import require_index, write_index

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
    inverted_file = faiss.read_index(str(tmp_path / "index"))
    assert inverted_file.nprobe > 64 // faiss_index.SHARE_OF_LISTS
    write_index(windows, COUNT, tmp_path, DIMENSION, "HNSW16,Flat")
    assert faiss.read_index(str(tmp_path / "index")).hnsw.efSearch == faiss_index.CANDIDATES


@pytest.mark.parametrize(
    "factory",
    [
        *("IVF16,Flat", "IVF1000_HNSW8,Flat", "IVF64(IVF8,Flat),Flat", "PCA8,IVF64,Flat", "IVF16,SQ8,RFlat"),
        *("HNSW8", "L2norm,HNSW16,RFlat", "SQ8"),
    ],
)
def test_any_query_gets_as_many_hits_as_pyserini_asks_for(tmp_path: Path, factory: str):
    # Clustered, so that the lists differ in size and a graph has dense parts.
    generator = np.random.default_rng(3)
    centres = generator.normal(size=(20, DIMENSION))
    rows = centres[generator.integers(0, 20, COUNT)] + 0.1 * generator.normal(size=(COUNT, DIMENSION))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    write_index(lambda: iter([(rows, [f"d{row}" for row in range(COUNT)])]), COUNT, tmp_path, DIMENSION, factory)
    queries = np.concatenate([rows[:50], -rows[:50]])
    _, found = faiss.read_index(str(tmp_path / "index")).search(queries, 1000)
    assert (found >= 0).all()


def test_a_small_inverted_file_is_searched_whole(tmp_path: Path):
    few = next(windows())[0][:100]
    write_index(lambda: iter([(few, [f"d{row}" for row in range(100)])]), 100, tmp_path, DIMENSION, "IVF8,Flat")
    _, found = faiss.read_index(str(tmp_path / "index")).search(few, 100)
    assert (found >= 0).all()


def test_documents_that_a_graph_loses_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    rows = np.repeat(np.eye(DIMENSION, dtype=np.float32), 100, axis=0)
    ids = [f"d{row}" for row in range(len(rows))]
    write_index(lambda: iter([(rows, ids)]), len(rows), tmp_path, DIMENSION, "HNSW4")
    index = faiss.read_index(str(tmp_path / "index"))
    index.hnsw.efSearch = len(rows)
    found = np.unique(index.search(np.eye(DIMENSION, dtype=np.float32), len(rows))[1])
    lost = int(caplog.records[0].getMessage().split()[0])
    assert len(caplog.records) == 1 and 0 < lost <= len(rows) - int((found >= 0).sum())
    assert "--index-factory" in caplog.text


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        ("IDMap,Flat", "leave it out"),
        ("IDMap2,IVF16,Flat", "leave it out"),
        ("HNSW8,PQ8", "Euclidean"),
        ("IVF16,ITQ8,SH", "Euclidean"),
        ("NSG16", "choose HNSW32"),
        ("PQ7", "multiple of the number of subquantizers"),
        ("IMI2x4,Flat", "not implemented for inner prod"),
        ("BFlat", "could not parse"),
        ("IVF16(RCQ2x4),Flat", "write IVF256"),
        ("IVF8(PQ4x4),Flat", "8 lists are too few"),
        ("IVF41,Flat", "40 vectors are too few"),
        ("PQ8", "at least 256"),
        ("PCA8,OPQ8,PQ8x4fs", "at least 256"),
        ("OPQ4_300,PQ4x4fs", "at least 300"),
        ("HNSW1,Flat", "choose HNSW32"),
        ("IVF4_HNSW1,Flat", "choose HNSW32"),
        ("PCA0,Flat", "no dimension is left"),
    ],
)
def test_an_index_that_cannot_be_made_is_refused_before_anything_is_encoded(factory: str, reason: str):
    with pytest.raises(IaaRetrievalError, match=reason) as caught:
        require_index(DIMENSION, factory, list(range(40)))
    assert "--index-factory" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("factory", ["IVF40,Flat", "PQ8x4fs", "RQ2x4", "PCA8,HNSW8,SQ8", "IVF16(PQ4x4),Flat,RFlat"])
def test_as_many_documents_as_an_index_must_learn_from_are_enough(tmp_path: Path, factory: str):
    few = next(windows())[0][:40]
    require_index(DIMENSION, factory, list(range(40)))
    write_index(lambda: iter([(few, [f"d{row}" for row in range(40)])]), 40, tmp_path, DIMENSION, factory)
    assert faiss.read_index(str(tmp_path / "index")).ntotal == 40


def test_documents_that_can_be_read_but_once_are_left_alone():
    once = iter(range(40))
    require_index(DIMENSION, "IVF41,Flat", once)
    assert next(once) == 0


def test_training_reads_an_even_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(faiss_index, "TRAINING_VECTORS", 1000)
    write_index(windows, COUNT, tmp_path, DIMENSION, "IVF4,Flat")
    assert faiss.read_index(str(tmp_path / "index")).ntotal == COUNT


def test_errors_are_clear(tmp_path: Path):
    with pytest.raises(UsageError, match="does not know the index 'Nonsense'"):
        write_index(windows, COUNT, tmp_path, DIMENSION, "Nonsense")
    with pytest.raises(IaaRetrievalError, match="3000 vectors are too few"):
        write_index(windows, COUNT, tmp_path, DIMENSION, "IVF5000,Flat")
