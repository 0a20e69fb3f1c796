"""Cut vectors from the encoder to the hits: an index says how it is cut, its queries follow, a mismatch is refused."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from checkpoints import DOCUMENTS, QUERIES, Trained, contents, trained, write_collection
from click.testing import CliRunner

from iaa_retrieval.collections.runs import read_run
from iaa_retrieval.encode import main as encode
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.inference.text_encoder import encode_passages, encode_queries
from iaa_retrieval.java import find_java, prepare_java
from iaa_retrieval.jobs.encode import encode_corpus
from iaa_retrieval.jobs.encode_queries import encode_queries as encode_queries_in_python
from iaa_retrieval.models.bi_encoder import load_bi_encoder
from iaa_retrieval.models.truncation import cut_array
from iaa_retrieval.search import main as search

SIZE = 8
TEXTS = [contents(doc_id) for doc_id in DOCUMENTS]

needs_java = pytest.mark.skipif(find_java() is None, reason="no Java 21 or newer on this machine")
pytestmark = pytest.mark.usefixtures("same_environment")


class World(NamedTuple):
    """A checkpoint, an index of its vectors cut to ``SIZE``, one of the whole ones, and both as Parquet."""

    checkpoint: Trained
    collection: Path
    cut: Path
    whole: Path
    parquet: Path


def run(verb: Any, *words: object) -> str:
    result = CliRunner().invoke(verb, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


def refusal(verb: Any, *words: object) -> str:
    result = CliRunner().invoke(verb, [str(word) for word in words])
    assert result.exit_code in (1, 2) and "Traceback" not in result.output
    return result.output


@pytest.fixture(scope="module")
def world(tiny_backbone: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("cut")
    checkpoint = trained("bi-encoder", "iaa-l", tiny_backbone("bert"))
    made = World(
        checkpoint, write_collection(folder / "toy"), folder / "cut-index", folder / "whole-index", folder / "vectors"
    )
    model = ("encoder", "--encoder", checkpoint.path, "--precision", "fp32")
    source = ("input", "--corpus", made.collection, "output", "--embeddings")
    run(encode, *source, made.cut, "--to-faiss", "--truncate-dim", SIZE, *model)
    run(encode, *source, made.whole, "--to-faiss", *model)
    run(encode, *source, made.parquet, "--to-parquet", *model)
    return made


def vectors_of(index: Path) -> np.ndarray:
    import faiss

    read = faiss.read_index(str(index / "index"))
    found: np.ndarray = read.reconstruct_n(0, read.ntotal)
    return found


def expected(world: World) -> dict[str, dict[str, float]]:
    """Cosines of the first numbers."""
    model = world.checkpoint.model
    passages, queries = encode_passages(model, TEXTS)[:, :SIZE], encode_queries(model, list(QUERIES.values()))[:, :SIZE]
    lengths = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(passages, axis=1)
    cosines = queries @ passages.T / lengths
    return {name: dict(zip(DOCUMENTS, row.tolist(), strict=True)) for name, row in zip(QUERIES, cosines, strict=True)}


def test_cut_in_the_encoder_of_its_vectors_or_of_parquet_is_the_same(world: World, tmp_path: Path):
    by_encoder = vectors_of(world.cut)
    assert by_encoder.shape == (len(DOCUMENTS), SIZE)
    np.testing.assert_allclose(np.linalg.norm(by_encoder, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(by_encoder, cut_array(vectors_of(world.whole), SIZE, normalize=True), atol=1e-6)
    run(encode, "input", "--corpus", world.parquet, "output", "--embeddings", tmp_path / "p", "--to-faiss",
        "--truncate-dim", SIZE)  # fmt: skip
    np.testing.assert_allclose(by_encoder, vectors_of(tmp_path / "p"), atol=1e-6)
    recorded = [json.loads((index / "retriever.json").read_text()) for index in (world.cut, tmp_path / "p")]
    assert recorded[0]["truncate_dim"] == SIZE and recorded[0] == recorded[1]
    assert "truncate_dim" not in json.loads((world.whole / "retriever.json").read_text())
    in_memory = encode_corpus(str(world.checkpoint.path), str(world.collection), truncate_dim=SIZE, precision="fp32")
    np.testing.assert_allclose(by_encoder, in_memory.vectors, atol=1e-6)


@needs_java
def test_queries_are_cut_as_the_index_is(world: World, tmp_path: Path):
    topics = ("--topics", world.collection / "queries.jsonl")
    searched = ("faiss", "--index", world.cut, *topics, "--hits", len(DOCUMENTS))
    run(search, *searched, "--encoder", world.checkpoint.path, "--output", tmp_path / "run")
    run(search, *searched, "--encoder", world.checkpoint.path, "--truncate-dim", SIZE, "--output", tmp_path / "said")
    run(encode, "queries", *topics, "--encoder", world.checkpoint.path, "--truncate-dim", SIZE, "--output",
        tmp_path / "queries")  # fmt: skip
    run(search, *searched, "--encoded-queries", tmp_path / "queries", "--output", tmp_path / "encoded")
    for name in ("run", "said", "encoded"):
        for query, scores in read_run(tmp_path / name).items():
            assert scores == pytest.approx(expected(world)[query], abs=1e-5), name
    short = encode_queries_in_python(str(world.checkpoint.path), QUERIES, truncate_dim=SIZE)
    assert short.shape == (len(QUERIES), SIZE)


@needs_java
def test_queries_are_cut_as_vectors_in_lucene_are(world: World, tmp_path: Path):
    index, topics = tmp_path / "lucene", ("--topics", world.collection / "queries.jsonl")
    run(encode, "input", "--corpus", world.parquet, "output", "--embeddings", index, "--to-lucene", "flat",
        "--truncate-dim", SIZE)  # fmt: skip
    searched = ("lucene", "--dense", "--flat", "--index", index, *topics, "--output", tmp_path / "run")
    run(search, *searched, "--encoder", world.checkpoint.path)
    for query, scores in read_run(tmp_path / "run").items():
        cosines = {doc_id: 2 * score - 1 for doc_id, score in scores.items()}
        assert cosines == pytest.approx(expected(world)[query], abs=1e-4)
    run(encode, "queries", *topics, "--encoder", world.checkpoint.path, "--output", tmp_path / "queries")
    said = refusal(search, *searched, "--encoded-queries", tmp_path / "queries")
    assert f"--index {index} are cut to 8 numbers" in said and "give the queries --truncate-dim 8" in said


@needs_java
def test_a_searcher_in_python_cuts_for_each_of_its_indexes(world: World):
    prepare_java()
    from pyserini.search.faiss import FaissSearcher

    from iaa_retrieval.pyserini_plugin.encoders import IaaQueryEncoder

    encoder = IaaQueryEncoder(str(world.checkpoint.path))
    for index in (world.cut, world.whole, world.cut):
        hits = FaissSearcher(str(index), encoder).search(QUERIES["q1"], len(DOCUMENTS))
        best = max(hits, key=lambda hit: hit.score)
        if index == world.cut:
            assert {hit.docid: hit.score for hit in hits} == pytest.approx(expected(world)["q1"], abs=1e-5)
        else:
            query = encode_queries(world.checkpoint.model, [QUERIES["q1"]])[0]
            assert best.score == pytest.approx(float((vectors_of(index) @ query).max()), abs=1e-5)
    with pytest.raises(IaaRetrievalError, match=r"are cut to 8 numbers, those of encoder .* cut to 4 numbers"):
        FaissSearcher(str(world.cut), IaaQueryEncoder(str(world.checkpoint.path), truncate_dim=4))


@needs_java
def test_another_size_is_refused_and_both_sides_named(world: World, tmp_path: Path):
    topics = ("--topics", world.collection / "queries.jsonl")
    rest = (*topics, "--output", tmp_path / "run")
    ours = ("--encoder", world.checkpoint.path)
    run(encode, "queries", *topics, *ours, "--output", tmp_path / "queries")
    said = refusal(search, "faiss", "--index", world.cut, "--encoded-queries", tmp_path / "queries", *rest)
    assert f"--index {world.cut} are cut to 8 numbers" in said and "give the queries --truncate-dim 8" in said
    assert f"--encoded-queries {tmp_path / 'queries'} not cut" in said
    said = refusal(search, "faiss", "--index", world.whole, *ours, "--truncate-dim", 8, *rest)
    assert "not cut, those of --encoder" in said and "give the queries no --truncate-dim" in said
    said = refusal(search, "faiss", "--index", world.cut, "--encoded-queries", tmp_path / "queries", *rest,
                   "--truncate-dim", 8)  # fmt: skip
    assert "--truncate-dim has no effect on queries that are encoded already" in said
    assert not (tmp_path / "run").exists()


def test_sizes_that_there_are_not_and_vectors_of_nobody_are_refused(world: World, tmp_path: Path):
    target = ("output", "--embeddings", tmp_path / "x", "--to-faiss", "--truncate-dim")
    model = ("encoder", "--encoder", world.checkpoint.path)
    said = refusal(encode, "input", "--corpus", world.collection, *target, 33, *model)
    assert "--truncate-dim 33 is out of range" in said and "32 numbers" in said
    assert "33 is out of range" in refusal(encode, "input", "--corpus", world.parquet, *target, 33)
    unknown = tmp_path / "unknown"
    unknown.mkdir()
    shutil.copy(world.parquet / "vectors.parquet", unknown)
    assert "put its retriever.json there" in refusal(encode, "input", "--corpus", unknown, *target, 8)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("trained_for", "size", "said"),
    [((), 8, "nothing says that it was trained for that"), ((16, 4), 8, "trained for 16, 4 (and 32)"), ((8,), 8, "")],
)
def test_a_size_that_was_not_trained_for_is_remarked(
    world: World, tmp_path: Path, trained_for: tuple[int, ...], size: int, said: str, caplog: pytest.LogCaptureFixture
):
    shutil.copytree(world.checkpoint.path, tmp_path / "copy")
    file = tmp_path / "copy" / "retriever.json"
    values = json.loads(file.read_text())
    file.write_text(json.dumps({**values, "training": {**values["training"], "matryoshka": list(trained_for)}}))
    with caplog.at_level(logging.WARNING, logger="iaa_retrieval"):
        assert load_bi_encoder(str(tmp_path / "copy"), truncate_dim=size).dimension == size
    remarks = [text for record in caplog.records if "are cut to" in (text := record.getMessage())]
    assert [said in text for text in remarks] == [True] * bool(said)
    with pytest.raises(UsageError, match="--truncate-dim 0"):
        load_bi_encoder(str(tmp_path / "copy"), truncate_dim=0)
