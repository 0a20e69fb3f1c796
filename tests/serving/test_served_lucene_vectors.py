"""Lucene's indexes of vectors, made by Anserini's own indexers: the order of Faiss, and scores of (1 + cos) / 2."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from checkpoints import DOCUMENTS, QUERIES
from served import World

from iaa_retrieval.serving.config_file import parse_config, with_paths
from iaa_retrieval.serving.engine import Engine, Search
from iaa_retrieval.serving.refusals import BadRequest

pytestmark = pytest.mark.usefixtures("same_environment")

# A process of its own, for the indexers end theirs.
INDEXER = """
import sys
from iaa_retrieval.java import prepare_java
prepare_java()
from pyserini.pyclass import autoclass
autoclass(f"io.anserini.index.{sys.argv[1]}").main(sys.argv[2:])
"""


@pytest.fixture(scope="module")
def lucene(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The vectors of the tuned checkpoint's Faiss directory, as Lucene keeps them."""
    import faiss

    folder = tmp_path_factory.mktemp("vectors")
    vectors = faiss.read_index(str(world.faiss("tuned") / "index")).reconstruct_n(0, len(DOCUMENTS))
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    ids = (world.faiss("tuned") / "docid").read_text().split()
    records = [{"docid": doc_id, "vector": row.tolist()} for doc_id, row in zip(ids, vectors, strict=True)]
    (folder / "input").mkdir()
    (folder / "input" / "vectors.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    found = {"lucene_hnsw": folder / "hnsw", "lucene_flat": folder / "flat"}
    words = ["-collection", "JsonDenseVectorCollection", "-generator", "DenseVectorDocumentGenerator", "-threads", "1"]
    for kind, name in (("lucene_hnsw", "IndexHnswDenseVectors"), ("lucene_flat", "IndexFlatDenseVectors")):
        where = ["-input", str(folder / "input"), "-index", str(found[kind])]
        subprocess.run([sys.executable, "-c", INDEXER, name, *words, *where], check=True, capture_output=True)
    return found


@pytest.mark.parametrize("kind", ["lucene_hnsw", "lucene_flat"])
def test_the_order_of_faiss(world: World, engine: Engine, lucene: dict[str, Path], kind: str) -> None:
    entry = {"path": str(lucene[kind]), "index_type": kind, "encoder": "tuned", "base_index": "bm25"}
    values = world.values(indexes={"vectors": entry, "bm25": str(world.lucene)}, systems={})
    served = Engine(with_paths(parse_config(values), world.folder), device="cpu")
    for text in QUERIES.values():
        expected = engine.search(Search(text, "tuned", len(DOCUMENTS)))
        found = served.search(Search(text, "vectors", len(DOCUMENTS)))
        assert [hit.docid for hit in found] == [hit.docid for hit in expected]
        assert [2 * hit.score - 1 for hit in found] == pytest.approx([hit.score for hit in expected], abs=1e-5)
        assert len(served.search(Search(text, "vectors", 2))) == 2
    del entry["index_type"]
    assert with_paths(parse_config(values), world.folder).indexes["vectors"].index_type == kind  # by its files
    assert served.search(Search("water", "vectors", 3, rerank="reranker"))
    assert served.document("vectors", "d1").contents
    with pytest.raises(BadRequest, match="BM25 index"):
        served.search(Search("water", "bm25", checkpoint="tuned"))
