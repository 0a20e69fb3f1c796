"""All methods, both stages, from the command line on the embedded collection; with negatives and a teacher's scores."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from iaa_retrieval.collections.loading import load_collection
from iaa_retrieval.collections.sampling import sample_ids
from iaa_retrieval.inference.pair_scorer import score_pairs
from iaa_retrieval.inference.text_encoder import encode_queries
from iaa_retrieval.models.bi_encoder import load_bi_encoder
from iaa_retrieval.models.cross_encoder import load_cross_encoder
from iaa_retrieval.train import main
from iaa_retrieval.tuning.methods import get_method, method_names

TEXTS = ["read a line from a file", "sort"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every training query with its positive and four other documents, scored."""
    collection = load_collection("embedded", "train")
    qrels = collection.qrels()
    doc_ids = sorted(document.doc_id for document in collection.documents())
    path = tmp_path_factory.mktemp("run") / "first-stage.trec"
    with open(path, "w", encoding="utf-8") as stream:
        for number, query_id in enumerate(sample_ids(qrels, None, 0)):
            others = [doc_ids[(7 * number + step) % len(doc_ids)] for step in range(5)]
            hits = dict.fromkeys([others[0], min(qrels[query_id]), *others[1:]])
            for rank, doc_id in enumerate(hits, start=1):
                stream.write(f"{query_id} Q0 {doc_id} {rank} {10 - rank} made\n")
    return path


@pytest.mark.parametrize("kind", ["bi-encoder", "cross-encoder"])
@pytest.mark.parametrize("method", method_names())
def test_train(method: str, kind: str, run: Path, tiny_backbone: Callable[[str], Path], tmp_path: Path) -> None:
    backbone = str(tiny_backbone("bert"))
    dimensions = {"r": 3, "ar": 2, "prefix_length": 4}
    sizes = [f"--{name.replace('_', '-')}={dimensions[name]}" for name in get_method(method).dimension_names]
    arguments: list[Any] = [
        *(kind, "--collection", "embedded", "--split", "train", "--train-queries", 12, "--backbone", backbone),
        *("--method", method, *sizes, "--negatives", run, "--negatives-per-query", 2, "--teacher", run),
        *("--batch-size", 4, "--max-steps", 3, "--lr", 0.01, "--document-max-length", 32, "--precision", "fp32"),
        *("--device", "cpu", "--output", tmp_path / "out"),
    ]
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    config = json.loads((tmp_path / "out" / "retriever.json").read_text())
    assert (config["method"], config["kind"], config["training"]["steps"]) == (method, kind, 3)
    if kind == "bi-encoder":
        tuned = load_bi_encoder(str(tmp_path / "out"), precision="fp32", device="cpu")
        bare = load_bi_encoder(backbone, pooling="mean", normalize=True, precision="fp32", device="cpu")
        assert np.abs(encode_queries(tuned, TEXTS) - encode_queries(bare, TEXTS)).max() > 1e-4
    else:
        scores = score_pairs(
            load_cross_encoder(str(tmp_path / "out"), precision="fp32", device="cpu"),
            [tuple(TEXTS), (TEXTS[1], "sort")],
        )
        assert np.isfinite(scores).all() and scores[0] != scores[1]
