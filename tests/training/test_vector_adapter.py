"""Vector adapters: from vectors and judgments to better vectors, without an encoder."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
import pandas
import pytest
import torch
from click.testing import CliRunner

from iaa_retrieval.encode import main as encode
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.inference.parquet_vectors import write_parquet
from iaa_retrieval.inference.query_vectors import read_query_vectors
from iaa_retrieval.java import find_java, prepare_java
from iaa_retrieval.jobs.adapt_queries import adapt_queries
from iaa_retrieval.jobs.evaluate import evaluate_run
from iaa_retrieval.jobs.train_vector_adapter import train_vector_adapter
from iaa_retrieval.models.bi_encoder import load_bi_encoder
from iaa_retrieval.models.retriever_config import RetrieverConfig, read_retriever_config
from iaa_retrieval.models.vector_adapter import VectorAdapter, load_vector_adapter
from iaa_retrieval.train import main as train

pytestmark = pytest.mark.usefixtures("same_environment")
D, DOCUMENTS, QUERIES = 24, 400, 240
CONFIG = RetrieverConfig(kind="bi-encoder", backbone="somewhere", fingerprint="f" * 64)


class Space(NamedTuple):
    """Where vectors and judgments are; the queries of an index are its documents, turned by one rotation."""

    root: Path
    documents: np.ndarray
    queries: np.ndarray

    def options(self, **changes: Any) -> dict[str, Any]:
        train_qrels = self.root / "train.qrels"
        values = {"queries": self.root / "queries", "index": self.root / "index", "qrels": train_qrels, "r": 24}
        return {
            **values,
            "lr": 0.02,
            "batch_size": 32,
            "temperature": 0.1,
            "epochs": 16,
            "output": self.root / "adapter",
            **changes,
        }


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def write_queries(directory: Path, vectors: np.ndarray) -> None:
    directory.mkdir()
    ids = [f"q{number}" for number in range(len(vectors))]
    frame = pandas.DataFrame({"id": ids, "text": [f"text {n}" for n in ids], "embedding": list(vectors)})
    frame.to_pickle(directory / "embedding.pkl")


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Space:
    root, rng = tmp_path_factory.mktemp("vectors"), np.random.default_rng(5)
    documents = unit(rng.normal(size=(DOCUMENTS, D)))
    turn, signs = np.linalg.qr(np.eye(D) + 0.3 * rng.normal(size=(D, D)))
    turn = turn * np.sign(np.diag(signs))
    queries = unit(documents[:QUERIES] @ turn + 0.02 * rng.normal(size=(QUERIES, D)))
    write_queries(root / "queries", queries)
    CONFIG.save(root / "queries")
    (root / "index").mkdir()
    index = faiss.IndexFlatIP(D)
    index.add(documents)
    faiss.write_index(index, str(root / "index" / "index"))
    (root / "index" / "docid").write_text("".join(f"d{number}\n" for number in range(DOCUMENTS)))
    CONFIG.save(root / "index")
    for name, numbers in (("train", range(200)), ("test", range(200, QUERIES))):
        (root / f"{name}.qrels").write_text("".join(f"q{n} 0 d{n} 1\n" for n in numbers))
    return Space(root, documents, queries)


@pytest.fixture(scope="module")
def adapter(space: Space) -> Path:
    return train_vector_adapter(**space.options()).output


def test_it_learns_what_turned_the_queries(space: Space, adapter: Path, tmp_path: Path) -> None:
    """Test queries, whose documents nothing was judged for in training, are found better: the map is general."""
    assert adapt_queries(space.root / "queries", adapter, tmp_path / "moved") == QUERIES
    moved = read_query_vectors(tmp_path / "moved")

    def score(vectors: np.ndarray) -> float:
        scores = vectors[200:] @ space.documents.T
        run = {f"q{200 + n}": {f"d{i}": float(s) for i, s in enumerate(row)} for n, row in enumerate(scores)}
        return evaluate_run(str(space.root / "test.qrels"), run, "nDCG@10")["nDCG@10"]

    before, after = score(space.queries), score(moved.vectors)
    assert before < 0.6 < 0.85 < after
    np.testing.assert_allclose(np.linalg.norm(moved.vectors, axis=1), 1, atol=1e-6)
    loaded, config = load_vector_adapter(adapter)
    weights = {name: tensor.numpy() for name, tensor in loaded.state_dict().items()}
    by_hand = space.queries + (space.queries @ weights["down.weight"].T + weights["down.bias"]) @ weights["up.weight"].T
    np.testing.assert_allclose(moved.vectors, unit(by_hand + weights["up.bias"]), atol=1e-5)
    assert list(moved.frame["text"]) == [f"text q{n}" for n in range(QUERIES)]
    assert config.dev_scores["nDCG@10"] > config.dev_scores["nDCG@10 before"]
    assert (config.dimension, config.r, config.normalize, config.encoder_fingerprint) == (D, 24, True, "f" * 64)
    history = json.loads((adapter / "history.json").read_text())
    assert config.dev_scores["nDCG@10"] == max(entry["nDCG@10"] for entry in history)
    assert config.training["epoch"] == max(range(17), key=lambda epoch: history[epoch]["nDCG@10"])

    # What is searched with them: an index of the encoder before, and no other.
    ours, theirs = read_retriever_config(tmp_path / "moved"), read_retriever_config(space.root / "index")
    assert ours is not None and theirs is not None
    assert ours.index_fingerprint == theirs.index_fingerprint and ours.fingerprint != theirs.fingerprint
    with pytest.raises(IaaRetrievalError, match="made by different encoders"):
        adapt_queries(tmp_path / "moved", adapter, tmp_path / "twice")


@pytest.mark.parametrize("activation", ["linear", "relu", "gelu"])
@pytest.mark.parametrize("normalize", [True, False])
def test_a_fresh_one_changes_nothing(activation: str, normalize: bool) -> None:
    vectors = unit(np.random.default_rng(1).normal(size=(9, 8)))
    fresh = VectorAdapter(8, 3, activation, normalize=normalize)
    np.testing.assert_allclose(fresh.map(vectors), vectors, atol=1e-7)
    assert sum(parameter.numel() for parameter in fresh.parameters()) == 2 * 3 * 8 + 3 + 8
    with torch.no_grad():
        fresh.up.weight.normal_()
        hidden = fresh.down(torch.from_numpy(vectors))
        hidden = {"linear": hidden, "relu": hidden.clamp(min=0), "gelu": torch.nn.functional.gelu(hidden)}[activation]
        expected = torch.from_numpy(vectors) + hidden @ fresh.up.weight.T
    expected = expected / expected.norm(dim=1, keepdim=True) if normalize else expected
    np.testing.assert_allclose(fresh.map(vectors), expected.numpy(), atol=1e-6)


def test_the_same_seed_gives_the_same_weights(space: Space, adapter: Path, tmp_path: Path) -> None:
    again = train_vector_adapter(**space.options(output=tmp_path / "again")).output
    other = train_vector_adapter(**space.options(output=tmp_path / "other", seed=1, epochs=1)).output
    prints = [load_vector_adapter(path)[1].fingerprint for path in (adapter, again, other)]
    assert prints[0] == prints[1] != prints[2]


def test_parquet_on_both_sides(space: Space, adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "q").mkdir()
    (tmp_path / "d").mkdir()
    write_parquet([(space.queries, [f"q{n}" for n in range(QUERIES)])], tmp_path / "q" / "queries.parquet")
    write_parquet([(space.documents, [f"d{n}" for n in range(DOCUMENTS)])], tmp_path / "d" / "documents.parquet")
    made = train_vector_adapter(**space.options(queries=tmp_path / "q", index=tmp_path / "d", output=tmp_path / "a"))
    left, right = load_vector_adapter(adapter)[0].state_dict(), load_vector_adapter(made.output)[0].state_dict()
    assert all(torch.equal(left[name], right[name]) for name in left)
    adapt_queries(tmp_path / "q", made.output, tmp_path / "moved")
    moved = read_query_vectors(tmp_path / "moved")
    np.testing.assert_allclose(moved.vectors, load_vector_adapter(adapter)[0].map(space.queries), atol=1e-7)
    assert moved.ids == [f"q{n}" for n in range(QUERIES)]


def test_what_it_does_to_other_documents_is_measured_and_said(
    space: Space, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two thirds of the queries are for ten documents, which noise leads to: only where these lie can be learnt."""
    rng = np.random.default_rng(2)
    queries = unit(space.documents[:QUERIES] + 0.15 * rng.normal(size=(QUERIES, D)))
    queries[:160] = unit(rng.normal(size=(160, D)) + 3)
    write_queries(tmp_path / "queries", queries)
    relevant = [n % 10 + 300 if n < 160 else n for n in range(200)]
    (tmp_path / "qrels").write_text("".join(f"q{n} 0 d{d} 1\n" for n, d in enumerate(relevant)))
    asked = space.options(queries=tmp_path / "queries", qrels=tmp_path / "qrels", dev_fraction=0.3, epochs=6)
    made = train_vector_adapter(**{**asked, "output": tmp_path / "all"})
    name = "nDCG@10 of unseen documents"
    assert made.dev_scores["nDCG@10"] > made.dev_scores_before["nDCG@10"]
    assert made.dev_scores[name] < made.dev_scores_before[name]
    assert f"{name.removesuffix(' of unseen documents')} fell from {made.dev_scores_before[name]:.4f}" in caplog.text
    by_unseen = train_vector_adapter(**{**asked, "output": tmp_path / "unseen", "select": "unseen"})
    assert by_unseen.dev_scores[name] >= by_unseen.dev_scores_before[name]


@pytest.mark.skipif(find_java() is None, reason="no Java 21 or newer on this machine")
def test_behind_an_encoder_of_pyserini(space: Space, adapter: Path) -> None:
    prepare_java()  # before Pyserini
    from pyserini.search.faiss import FaissSearcher

    from iaa_retrieval.pyserini_plugin.adapted_query_encoder import AdaptedQueryEncoder

    class Api:
        def encode(self, text: str) -> np.ndarray:
            return space.queries[int(text)]

    encoder = AdaptedQueryEncoder(Api(), adapter)
    expected = load_vector_adapter(adapter)[0].map(space.queries)
    np.testing.assert_allclose(encoder.encode("7"), expected[7], atol=1e-6)
    np.testing.assert_allclose(encoder.encode_batch(["3", "230"]), expected[[3, 230]], atol=1e-6)
    searcher = FaissSearcher(str(space.root / "index"), encoder)
    scores = space.documents @ expected[230]
    assert [hit.docid for hit in searcher.search("230", k=5)] == [f"d{n}" for n in np.argsort(-scores)[:5]]
    hits = searcher.batch_search(["230"], ["it"], k=5, threads=1)["it"]
    assert [hit.docid for hit in hits] == [f"d{n}" for n in np.argsort(-scores)[:5]]


def test_on_the_command_line(space: Space, tmp_path: Path) -> None:
    words = [f"--{name}={value}" for name, value in space.options(output=tmp_path / "a", epochs=2).items()]
    result = CliRunner().invoke(
        train, ["vector-adapter", *[word.replace("batch_size", "batch-size") for word in words]]
    )
    assert result.exit_code == 0, result.output
    assert "is kept, dev nDCG@10" in result.output
    words = ["--vectors", space.root / "queries", "--adapter", tmp_path / "a", "--output", tmp_path / "moved"]
    result = CliRunner().invoke(encode, ["query-vectors", *map(str, words)])
    assert result.exit_code == 0 and f"{QUERIES} queries" in result.output


def test_what_does_not_fit_is_refused(space: Space, adapter: Path, tmp_path: Path) -> None:
    write_queries(tmp_path / "long", np.ones((3, 30), dtype=np.float32))
    with pytest.raises(IaaRetrievalError, match=r"vectors of 30 numbers, and .* of 24"):
        train_vector_adapter(**space.options(queries=tmp_path / "long", output=tmp_path / "x"))
    with pytest.raises(IaaRetrievalError, match="takes vectors of 24 numbers, and these have 30"):
        adapt_queries(tmp_path / "long", adapter, tmp_path / "x")
    write_queries(tmp_path / "other", space.queries)
    RetrieverConfig(kind="bi-encoder", fingerprint="a" * 64).save(tmp_path / "other")
    with pytest.raises(IaaRetrievalError, match="made by different encoders"):
        train_vector_adapter(**space.options(queries=tmp_path / "other", output=tmp_path / "x"))
    with pytest.raises(IaaRetrievalError, match="judges none of the queries"):
        (tmp_path / "none.qrels").write_text("z1 0 d1 1\nz2 0 d2 1\n")
        train_vector_adapter(**space.options(qrels=tmp_path / "none.qrels", output=tmp_path / "x"))
    with pytest.raises(IaaRetrievalError, match=r"neither embedding\.pkl"):
        train_vector_adapter(**space.options(queries=tmp_path / "nowhere", output=tmp_path / "x"))
    with pytest.raises(UsageError, match=r"--temperature 0\.0 is out of range"):
        train_vector_adapter(**space.options(temperature=0.0))
    with pytest.raises(IaaRetrievalError, match="is a vector adapter, which maps vectors of queries"):
        load_bi_encoder(str(adapter))
    assert not (tmp_path / "x").exists()


def test_a_damaged_adapter_is_refused(adapter: Path, space: Space, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.mkdir()
    with pytest.raises(IaaRetrievalError, match="is no vector adapter"):
        load_vector_adapter(path)
    for name in ("retriever.json", "vector_adapter.safetensors"):
        (path / name).write_bytes((adapter / name).read_bytes())
    load_vector_adapter(path)
    values = json.loads((path / "retriever.json").read_text())
    (path / "retriever.json").write_text(json.dumps({**values, "r": 12}))
    with pytest.raises(IaaRetrievalError, match="its weights are not those that"):
        load_vector_adapter(path)
    with pytest.raises(IaaRetrievalError, match="a vector adapter is needed here"):
        load_vector_adapter(space.root / "index")


def test_epoch_zero_is_kept_where_nothing_is_better(
    space: Space, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_queries(tmp_path / "exact", space.documents[:QUERIES])
    with caplog.at_level(logging.WARNING):
        made = train_vector_adapter(**space.options(queries=tmp_path / "exact", output=tmp_path / "a", epochs=2))
    assert made.epoch == 0 and "so the adapter changes nothing" in caplog.text
    np.testing.assert_allclose(load_vector_adapter(made.output)[0].map(space.queries), space.queries, atol=1e-6)
