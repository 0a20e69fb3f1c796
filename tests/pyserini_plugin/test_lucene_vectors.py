"""Lucene indexes of vectors: made by Anserini, searched by stock Pyserini with our encoders, compared with Faiss."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from click.testing import CliRunner, Result
from pyarrow import parquet
from toy_collection import write_toy_collection

from iaa_retrieval import encode, search
from iaa_retrieval.collections.runs import read_run
from iaa_retrieval.java import find_java, prepare_java
from iaa_retrieval.models.retriever_config import read_retriever_config

pytestmark = pytest.mark.skipif(find_java() is None, reason="no Java 21 or newer on this machine")

COUNT, DIMENSION = 400, 24


def run(command: Any, *words: object) -> Result:
    return CliRunner().invoke(command, [str(word) for word in words])


def succeed(command: Any, *words: object) -> Result:
    result = run(command, *words)
    assert result.exit_code == 0, result.output
    assert "Traceback" not in result.output
    return result


def failure(code: int, command: Any, *words: object) -> str:
    result = run(command, *words)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


def plain(backbone: Path) -> list[object]:
    return ["--encoder", backbone, "--pooling", "mean", "--l2-norm"]


def write_vectors(path: Path, vectors: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = [f"d{number}" for number in range(len(vectors))]
    parquet.write_table(
        pyarrow.table({"docid": ids, "vector": pyarrow.array(list(vectors), pyarrow.list_(pyarrow.float32()))}), path
    )
    return path


def unit(shape: tuple[int, int], seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


VECTORS, QUERIES = unit((COUNT, DIMENSION), 1), unit((5, DIMENSION), 2)


class Indexes:
    """The random vectors in every kind of index that Lucene has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        source = write_vectors(folder / "vectors.parquet", VECTORS)
        for name, options in {
            "flat": ["flat"],
            "flat-int8": ["flat", "--quantize", "int8"],
            "hnsw": ["hnsw", "--hnsw-m", 8, "--hnsw-ef-construction", 50],
            "hnsw-int8": ["hnsw", "--quantize", "int8", "--threads", 2],
        }.items():
            target = ["output", "--embeddings", folder / name, "--to-lucene", *options]
            assert f"{COUNT} documents" in succeed(encode.main, "input", "--corpus", source, *target).output
        self.topics = folder / "vectors.tsv"
        self.topics.write_text("".join(f"q{n}\t{json.dumps(row.tolist())}\n" for n, row in enumerate(QUERIES)))

    def hits(self, name: str, *options: object) -> dict[str, dict[str, float]]:
        """What a search for the vectors finds, without any encoder."""
        words = ["--index", self.folder / name, "--topics", self.topics, "--output", self.folder / "run.trec"]
        succeed(search.main, "lucene", "--dense", f"--{name.partition('-')[0]}", *words, *options)
        return {query_id: dict(found) for query_id, found in read_run(self.folder / "run.trec").items()}


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> Indexes:
    prepare_java()
    return Indexes(tmp_path_factory.mktemp("lucene"))


def exact(query: int, count: int) -> list[str]:
    return [f"d{number}" for number in np.argsort(-(VECTORS @ QUERIES[query]))[:count]]


def test_a_flat_index_gives_the_cosines_of_all_documents(indexes: Indexes):
    found = indexes.hits("flat")
    for query, vector in enumerate(QUERIES):
        hits = found[f"q{query}"]
        assert list(hits)[:100] == exact(query, 100)
        expected = {f"d{n}": (1 + cosine) / 2 for n, cosine in enumerate((VECTORS @ vector).tolist())}
        assert hits == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize(("name", "least"), [("hnsw", 0.95), ("flat-int8", 0.75), ("hnsw-int8", 0.75)])
def test_other_indexes_find_most_of_the_nearest(name: str, least: float, indexes: Indexes):
    found = indexes.hits(name, "--hits", 20)
    recalls = [len({*found[f"q{query}"]} & {*exact(query, 20)}) / 20 for query in range(len(QUERIES))]
    assert np.mean(recalls) >= least


def test_a_graph_is_searched_for_as_many_documents_as_there_shall_be_hits(
    indexes: Indexes, caplog: pytest.LogCaptureFixture
):
    assert {len(hits) for hits in indexes.hits("hnsw", "--hits", 300).values()} == {300}
    few = indexes.hits("hnsw", "--hits", 300, "--ef-search", 30)
    assert {len(hits) for hits in few.values()} == {30}
    assert "5 of 5 queries have fewer than 300 hits; a graph is searched in part" in caplog.text


def test_the_same_hits_without_the_network(indexes: Indexes, monkeypatch: pytest.MonkeyPatch):
    """Pyserini 2.4's searchers ask the network first; ours, of the same classes, find what they find."""
    from iaa_retrieval.pyserini_plugin import lucene_searchers

    monkeypatch.setattr(lucene_searchers, "_ASKS_THE_NETWORK", (1, 0))
    lucene_searchers.open_directories_without_network()
    from pyserini.search.lucene import LuceneFlatDenseSearcher, LuceneHnswDenseSearcher

    flat = LuceneFlatDenseSearcher(str(indexes.folder / "flat"))
    graph = LuceneHnswDenseSearcher(str(indexes.folder / "hnsw"), ef_search=400)
    texts = [json.dumps(row.tolist()) for row in QUERIES]
    for searcher in (flat, graph):
        together = searcher.batch_search(texts, ["0", "1", "2", "3", "4"], k=50, threads=2)
        for query, vector in enumerate(QUERIES):
            hits = searcher.search(texts[query], k=50)
            assert [hit.docid for hit in hits] == exact(query, 50) == [hit.docid for hit in together[str(query)]]
            assert hits[0].score == pytest.approx((1 + float((VECTORS @ vector).max())) / 2, abs=2e-6)
        searcher.close()


def test_the_wrong_kind_of_search_is_refused(indexes: Indexes, tmp_path: Path):
    from iaa_retrieval.pyserini_plugin.lucene_index import build_index

    rest = ["--topics", indexes.topics, "--output", tmp_path / "run.trec"]
    dense = ["lucene", "--dense", "--index"]
    flat, graph = indexes.folder / "flat", indexes.folder / "hnsw"
    assert "--dense needs --hnsw" in failure(2, search.main, *dense, flat, *rest)
    message = failure(2, search.main, *dense, flat, "--hnsw", *rest)
    assert f"--index {flat} is flat: search it with --flat" in message
    message = failure(2, search.main, *dense, graph, "--flat", *rest)
    assert f"--index {graph} is a graph: search it with --hnsw" in message
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"id": "a", "contents": "water"}\n')
    build_index(str(corpus), tmp_path / "bm25")
    message = failure(1, search.main, *dense, tmp_path / "bm25", "--flat", *rest)
    assert f"{tmp_path / 'bm25'} is a Lucene index without vectors" in message
    (tmp_path / "texts.tsv").write_text("q0\twater in the world\n")
    words = [*dense, flat, "--flat", "--topics", tmp_path / "texts.tsv", "--output", tmp_path / "run.trec"]
    assert "query q0 is no vector (a JSON array); name the --encoder" in failure(2, search.main, *words)
    assert not (tmp_path / "run.trec").exists()


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_a_vector_that_has_not_unit_length_is_named_and_nothing_is_left(kind: str, tmp_path: Path):
    vectors = VECTORS[:10].copy()
    vectors[7] *= 1.01
    vectors[9] = 0
    source = write_vectors(tmp_path / "v.parquet", vectors)
    target = ["output", "--embeddings", tmp_path / "index", "--to-lucene", kind]
    message = failure(1, encode.main, "input", "--corpus", source, *target)
    assert "the vector of document d7 has length 1.01; Lucene compares vectors of unit length" in message
    assert [entry.name for entry in tmp_path.iterdir()] == ["v.parquet"]


def test_an_index_that_lacks_documents_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from iaa_retrieval.pyserini_plugin import lucene_dense

    monkeypatch.setattr(lucene_dense, "run_indexer", lambda *_: 9)
    source = write_vectors(tmp_path / "v.parquet", VECTORS[:10])
    target = ["output", "--embeddings", tmp_path / "index", "--to-lucene", "flat"]
    assert "Lucene indexed 9 of the 10 documents" in failure(1, encode.main, "input", "--corpus", source, *target)
    assert [entry.name for entry in tmp_path.iterdir()] == ["v.parquet"]


# With an encoder, from a collection.


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_collection(tmp_path_factory.mktemp("toy") / "collection")


def encode_toy(toy: Path, backbone: Path, output: Path, *options: object) -> list[object]:
    target = ["output", "--embeddings", output, *options]
    return ["input", "--corpus", toy, *target, "encoder", *plain(backbone), "--precision", "fp32"]


def test_lucene_flat_ranks_as_faiss_flat(toy: Path, tiny_backbone: Callable[..., Path], tmp_path: Path):
    backbone = tiny_backbone("bert")
    succeed(encode.main, *encode_toy(toy, backbone, tmp_path / "faiss", "--to-faiss"))
    topics = ["--topics", f"{toy}:test"]
    words = ["--index", tmp_path / "faiss", *plain(backbone), *topics, "--output", tmp_path / "faiss.trec"]
    succeed(search.main, "faiss", *words)
    expected = read_run(tmp_path / "faiss.trec")
    succeed(encode.main, "queries", *topics, *plain(backbone), "--output", tmp_path / "queries")
    for kind in ("flat", "hnsw"):
        index = tmp_path / kind
        succeed(encode.main, *encode_toy(toy, backbone, index, "--to-lucene", kind))
        assert read_retriever_config(index) == read_retriever_config(tmp_path / "faiss")
        for queries in (plain(backbone), ["--encoded-queries", tmp_path / "queries"]):
            output = tmp_path / "lucene.trec"
            words = ["--dense", f"--{kind}", "--index", index, *queries, *topics, "--output", output]
            succeed(search.main, "lucene", *words)
            found = read_run(output)
            assert list(found) == list(expected)
            for query_id, hits in expected.items():
                cosines = {doc_id: (1 + score) / 2 for doc_id, score in hits.items()}
                assert found[query_id] == pytest.approx(cosines, abs=2e-6)
                assert list(found[query_id])[:5] == list(hits)[:5]


def test_another_encoder_than_that_of_the_index_is_refused(
    toy: Path, tiny_backbone: Callable[..., Path], tmp_path: Path
):
    backbone, other, index = tiny_backbone("bert"), tiny_backbone("distilbert"), tmp_path / "index"
    succeed(encode.main, *encode_toy(toy, backbone, index, "--to-lucene", "flat"))
    rest = ["--topics", f"{toy}:test", "--output", tmp_path / "run.trec"]
    dense = ["lucene", "--dense", "--flat", "--index", index, *rest]
    message = failure(1, search.main, *dense, *plain(other))
    assert f"--index {index}" in message and f"--encoder {other}" in message and "different encoders" in message
    succeed(encode.main, "queries", "--topics", f"{toy}:test", *plain(other), "--output", tmp_path / "queries")
    message = failure(1, search.main, *dense, "--encoded-queries", tmp_path / "queries")
    assert f"--index {index}" in message and f"--encoded-queries {tmp_path / 'queries'}" in message
    message = failure(2, search.main, *dense, *plain(backbone), "--encoded-queries", tmp_path / "queries")
    assert "--encoder and --encoded-queries: one of them" in message
    assert not (tmp_path / "run.trec").exists()


def test_encoded_queries_must_be_those_of_the_topics(toy: Path, tiny_backbone: Callable[..., Path], tmp_path: Path):
    backbone, index = tiny_backbone("bert"), tmp_path / "index"
    succeed(encode.main, *encode_toy(toy, backbone, index, "--to-lucene", "flat"))
    succeed(encode.main, "queries", "--topics", f"{toy}:dev", *plain(backbone), "--output", tmp_path / "queries")
    rest = ["--topics", f"{toy}:test", "--output", tmp_path / "run.trec"]
    words = ["lucene", "--dense", "--flat", "--index", index, *rest, "--encoded-queries"]
    assert "query q32 (" in failure(1, search.main, *words, tmp_path / "queries")
    assert "there is no such directory" in failure(2, search.main, *words, tmp_path / "absent")


def test_an_encoder_that_does_not_normalise_is_refused_before_it_encodes(
    toy: Path, tiny_backbone: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from iaa_retrieval.inference import text_encoder

    monkeypatch.setattr(text_encoder, "encode_token_ids", lambda *_, **__: pytest.fail("it began to encode"))
    words = [word for word in encode_toy(toy, tiny_backbone("bert"), tmp_path / "i", "--to-lucene", "flat")]
    words.remove("--l2-norm")
    assert "--to-lucene needs vectors of unit length" in failure(2, encode.main, *words)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_index_leaves_nothing_but_the_encoded_windows(
    toy: Path, tiny_backbone: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from iaa_retrieval.inference import text_encoder
    from iaa_retrieval.pyserini_plugin import lucene_dense

    class Interrupted(Exception):
        pass

    def stop(*_: Any) -> int:
        raise Interrupted

    words = encode_toy(toy, tiny_backbone("bert"), tmp_path / "index", "--to-lucene", "hnsw")
    with monkeypatch.context() as patch:
        patch.setattr(lucene_dense, "run_indexer", stop)
        assert isinstance(run(encode.main, *words).exception, Interrupted)
    assert [entry.name for entry in tmp_path.iterdir()] == [".index.encoding"]
    monkeypatch.setattr(text_encoder, "encode_token_ids", lambda *_, **__: pytest.fail("it encodes again"))
    words.insert(words.index("--to-lucene"), "--resume")
    assert "40 documents" in succeed(encode.main, *words).output
    assert [entry.name for entry in tmp_path.iterdir()] == ["index"]
