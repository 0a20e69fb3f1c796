"""docs/vector-sizes.md says what docs/vector-sizes.json holds, and its rows are measured as it says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.vector_sizes import FORMS, PAGE, RESULTS, Queries, measure
from benchmarks.vector_sizes_page import sizes_page
from iaa_retrieval.inference.parquet_vectors import write_parquet
from iaa_retrieval.models.retriever_config import RetrieverConfig

ROOT = Path(__file__).parents[1]
DOCUMENTS, WIDTH, SIZES = 600, 32, (32, 16)


def test_the_page_is_what_the_results_generate():
    results = json.loads((ROOT / RESULTS).read_text(encoding="utf-8"))
    assert (ROOT / PAGE).read_text(encoding="utf-8") == sizes_page(results)


def test_rows_of_a_collection_worked_out_by_hand(tmp_path: Path):
    generator = np.random.default_rng(4)
    rows = generator.normal(size=(DOCUMENTS, WIDTH)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    ids = [f"d{number}" for number in range(DOCUMENTS)]
    write_parquet([(rows, ids)], tmp_path / "vectors.parquet")
    RetrieverConfig(kind="bi-encoder", normalize=True).save(tmp_path)
    queries = Queries(["q1", "d5"], rows[[3, 5]])  # the second is a document itself, which is no hit
    qrels = {"q1": {"d3": 1}, "d5": {"d5": 1, "d9": 1}}
    found = measure(tmp_path, queries, qrels, SIZES)
    assert [(row["size"], row["vectors"]) for row in found] == [(size, form) for size in SIZES for form in FORMS]
    by_hand = {}
    for size in SIZES:
        short = rows[:, :size] / np.linalg.norm(rows[:, :size], axis=1, keepdims=True)
        place = [n for n in np.argsort(-(short @ short[5])) if n != 5].index(9)  # of d9, from 0
        ideal = 1 + 1 / np.log2(3)
        gain = 1 / np.log2(place + 2) / ideal if place < 10 else 0
        by_hand[size] = ((1 + gain) / 2, (1 + 0.5 * (place < 100)) / 2)
    for row in found:
        if row["vectors"] == "float32":
            assert (row["nDCG@10"], row["R@100"]) == pytest.approx(by_hand[row["size"]])
            assert row["bytes"] == pytest.approx(4 * row["size"], abs=1)
        assert row["milliseconds"] > 0
