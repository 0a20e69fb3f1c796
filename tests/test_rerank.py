"""The rerank verb: scores of the model itself, interpolation by the formula, and mistakes named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from checkpoints import (
    DOCUMENTS,
    QUERIES,
    contents,
    trained,
    with_other_settings,
    write_collection,
    write_first_stage,
)
from click.testing import CliRunner

from iaa_retrieval.collections.runs import rank, read_run
from iaa_retrieval.errors import UsageError
from iaa_retrieval.files import read_json, write_json
from iaa_retrieval.inference import interpolation, reranking
from iaa_retrieval.inference.pair_scorer import score_pairs
from iaa_retrieval.inference.text_encoder import encode_passages, encode_queries
from iaa_retrieval.java import find_java
from iaa_retrieval.jobs.rerank import rerank_run
from iaa_retrieval.models.retriever_config import Interpolation, read_retriever_config
from iaa_retrieval.rerank import main

Scores = dict[str, dict[str, float]]


pytestmark = pytest.mark.usefixtures("same_environment")


@dataclass(frozen=True)
class World:
    collection: Path
    run: Path
    cross: Path
    bi: Path
    cross_scores: Scores
    bi_scores: Scores


@pytest.fixture(scope="module")
def world(tiny_backbone: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> World:
    """Everything a re-ranking takes, and the scores straight from the trained models."""
    folder = tmp_path_factory.mktemp("rerank")
    cross = trained("cross-encoder", "iaa-l", tiny_backbone("bert"))
    bi = trained("bi-encoder", "iaa-l", tiny_backbone("bert"))
    passages = [contents(doc_id) for doc_id in DOCUMENTS]
    vectors = encode_passages(bi.model, passages)
    cross_scores, bi_scores = {}, {}
    for query_id, query in QUERIES.items():
        pairs = score_pairs(cross.model, [(query, passage) for passage in passages])
        cross_scores[query_id] = dict(zip(DOCUMENTS, pairs.tolist(), strict=True))
        similarities = vectors @ encode_queries(bi.model, [query])[0]
        bi_scores[query_id] = dict(zip(DOCUMENTS, similarities.tolist(), strict=True))
    collection, run = write_collection(folder / "collection"), write_first_stage(folder / "run.trec")
    return World(collection, run, cross.path, bi.path, cross_scores, bi_scores)


def call(
    world: World, output: Path, *words: object, texts: bool = True, encoder: Path | None = None
) -> tuple[int, str]:
    arguments = ["--run", world.run, "--topics", world.collection, "--encoder", encoder or world.cross]
    source = ["--collection", world.collection] if texts else []
    common = ["--output", output, "--precision", "fp32", "--device", "cpu"]
    result = CliRunner().invoke(main, [str(word) for word in [*arguments, *source, *common, *words]])
    assert "Traceback" not in result.output
    return result.exit_code, result.output


def reranked(world: World, output: Path, *words: object, **options: Path | bool | None) -> Scores:
    code, message = call(world, output, *words, **options)  # type: ignore[arg-type]
    assert code == 0, message
    assert message.strip() == f"{output}: 3 queries"
    return read_run(output)


def same(left: Scores, right: Scores) -> None:
    assert left.keys() == right.keys()
    for query_id in left:
        assert left[query_id] == pytest.approx(right[query_id], abs=2e-5)


def test_a_cross_encoder_scores_every_hit(world: World, tmp_path: Path):
    same(reranked(world, tmp_path / "out.trec"), world.cross_scores)
    lines = (tmp_path / "out.trec").read_text().splitlines()
    order = [line.split()[2] for line in lines if line.startswith("q2 ")]
    assert order == [doc_id for doc_id, _ in rank(world.cross_scores["q2"])]


def test_a_bi_encoder_scores_by_similarity(world: World, tmp_path: Path):
    same(reranked(world, tmp_path / "out.trec", encoder=world.bi), world.bi_scores)


def test_only_the_first_hits_are_scored_and_the_rest_left_out(world: World, tmp_path: Path):
    scores = reranked(world, tmp_path / "out.trec", "--hits", 3, "--tag", "mine")
    first = ("d0", "d1", "d2")  # of the first stage
    same(scores, {query_id: {doc_id: of[doc_id] for doc_id in first} for query_id, of in world.cross_scores.items()})
    assert all(line.endswith(" mine") for line in (tmp_path / "out.trec").read_text().splitlines())


@pytest.mark.parametrize("weight", (0.0, 0.25, 0.9))
def test_interpolation_by_the_formula(weight: float, world: World, tmp_path: Path):
    scores = reranked(world, tmp_path / "out.trec", "--interpolate", weight, "--hits", 5)
    for query_id in QUERIES:
        hits = list(DOCUMENTS)[:5]
        new = np.array([world.cross_scores[query_id][doc_id] for doc_id in hits])
        old = np.array([20.0, 19.0, 18.0, 17.0, 16.0])
        scaled_new = (new - new.min()) / (new.max() - new.min())
        scaled_old = (old - 16) / 4
        expected = weight * scaled_new + (1 - weight) * scaled_old
        assert scores[query_id] == pytest.approx(dict(zip(hits, expected.tolist(), strict=True)), abs=2e-4)


def learnt(world: World, to: Path, weight: float) -> Path:
    """A copy of the cross-encoder whose training chose a weight."""
    chosen = Interpolation(weight, "dev-bm25.trec", "bm25", 40, 50, "nDCG@10", 0.5, 0.7, 0.6)
    copy = with_other_settings(world.cross, to, interpolation=chosen)
    config = read_retriever_config(copy)
    assert config is not None and config.interpolation == chosen
    return copy


def test_what_training_chose_is_the_default_and_is_said(world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO", "iaa_retrieval")
    encoder = learnt(world, tmp_path / "learnt", 0.25)
    chosen = reranked(world, tmp_path / "out.trec", encoder=encoder)
    same(chosen, reranked(world, tmp_path / "quarter.trec", "--interpolate", 0.25))

    def said() -> list[str]:
        messages = [record.getMessage() for record in caplog.records]
        return [message for message in messages if message.startswith("interpolating")]

    assert said() == [
        "interpolating: 0.25 of the re-ranker's score and 0.75 of the first stage's, as learnt on 40 dev queries of "
        "the run dev-bm25.trec, tagged bm25; --interpolate none, or the argument interpolate=1, gives the bare score"
    ]
    for bare in ("none", 1):
        same(reranked(world, tmp_path / "bare.trec", "--interpolate", bare, encoder=encoder), world.cross_scores)
    same(
        reranked(world, tmp_path / "half.trec", "--interpolate", 0.5, encoder=encoder),
        reranked(world, tmp_path / "other.trec", "--interpolate", 0.5),
    )
    assert len(said()) == 1  # what was asked for needs no word


def test_the_first_stage_alone_keeps_its_order(world: World, tmp_path: Path):
    scores = reranked(world, tmp_path / "out.trec", encoder=learnt(world, tmp_path / "learnt", 0.0))
    assert all([doc_id for doc_id, _ in rank(hits)] == list(DOCUMENTS) for hits in scores.values())


def test_python_goes_by_it_too(world: World, tmp_path: Path):
    encoder = learnt(world, tmp_path / "learnt", 0.25)
    where = (world.run, world.collection, world.collection)
    found = {
        asked: rerank_run(encoder, *where, interpolate=asked, precision="fp32", device="cpu")
        for asked in (None, 0.25, 1.0)
    }
    same(found[None], found[0.25])
    same(found[1.0], world.cross_scores)
    with pytest.raises(UsageError, match=r"interpolate 1.5 lie between 0 and 1"):
        rerank_run(encoder, *where, interpolate=1.5)


@pytest.mark.parametrize("damage", ({"weight": 2.0}, {"strength": 1.0}))
def test_a_damaged_interpolation_is_refused(damage: dict[str, float], world: World, tmp_path: Path):
    encoder = learnt(world, tmp_path / "learnt", 0.25)
    values = read_json(encoder / "retriever.json")
    values["interpolation"] |= damage
    write_json(encoder / "retriever.json", values)
    code, message = call(world, tmp_path / "out.trec", encoder=encoder)
    assert code == 1 and "its interpolation is not that of a checkpoint of this version" in message


def test_equal_scores_count_as_the_best_when_interpolated():
    assert interpolation.interpolated({"a": 2.0, "b": 2.0}, {"a": 1.0, "b": 3.0}, 0.5) == {"a": 0.5, "b": 1.0}
    assert interpolation.interpolated({"a": -2.0}, {"a": 7.0}, 0.5) == {"a": 1.0}


def test_the_size_of_chunks_does_not_matter(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reranking, "CHUNK_TEXTS", 1)
    same(reranked(world, tmp_path / "cross.trec"), world.cross_scores)
    same(reranked(world, tmp_path / "bi.trec", encoder=world.bi), world.bi_scores)


def test_a_chunk_counts_pairs_or_distinct_documents(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reranking, "CHUNK_TEXTS", 3)
    top = {"q1": {"a": 2.0, "b": 1.0}, "q2": {"b": 2.0, "c": 1.0}, "q3": {"d": 1.0}}
    assert list(reranking._chunks(top, count_once=False)) == [["q1"], ["q2", "q3"]]
    assert list(reranking._chunks(top, count_once=True)) == [["q1", "q2"], ["q3"]]
    assert list(reranking._chunks({}, count_once=True)) == []


@pytest.mark.skipif(find_java() is None, reason="no Java 21 or newer on this machine")
def test_a_lucene_index_gives_the_scores_of_the_collection(world: World, tmp_path: Path):
    from iaa_retrieval.pyserini_plugin.lucene_index import build_index

    build_index(str(world.collection), tmp_path / "lucene")
    same(reranked(world, tmp_path / "out.trec", "--index", tmp_path / "lucene", texts=False), world.cross_scores)
    other = tmp_path / "other.trec"
    other.write_text("q1 Q0 nowhere 1 1.0 first\n")
    code, message = call(world, tmp_path / "no.trec", "--index", tmp_path / "lucene", "--run", other, texts=False)
    assert code == 1
    assert "document nowhere of the run is not in the index" in message


@pytest.mark.skipif(find_java() is None, reason="no Java 21 or newer on this machine")
def test_an_index_without_texts_is_told_from_a_document_without_one(world: World, tmp_path: Path):
    from iaa_retrieval.java import prepare_java

    prepare_java()
    from pyserini.pyclass import autoclass

    source = tmp_path / "documents"
    source.mkdir()
    (source / "d.jsonl").write_text('{"id": "d0", "contents": "water"}\n')
    words = ["-collection", "JsonCollection", "-generator", "DefaultLuceneDocumentGenerator"]
    words += ["-input", str(source), "-index", str(tmp_path / "bare"), "-threads", "1"]
    autoclass("io.anserini.index.IndexCollection").main(words)
    run = tmp_path / "run.trec"
    run.write_text("q1 Q0 d0 1 1.0 first\n")
    code, message = call(world, tmp_path / "out.trec", "--index", tmp_path / "bare", "--run", run, texts=False)
    assert code == 1
    assert "bare stores no text of its documents (such as d0); give --collection" in message
    assert "text_of" not in message


def test_a_folder_that_is_no_index_is_one_line(world: World, tmp_path: Path):
    for folder in (tmp_path, tmp_path / "missing"):
        code, message = call(world, tmp_path / "out.trec", "--index", folder, texts=False)
        assert code == 1
        assert message.startswith(f"Error: {folder}: no such Lucene index")


def test_unknown_documents_and_queries_are_named(world: World, tmp_path: Path):
    output, other = tmp_path / "out.trec", tmp_path / "other.trec"
    other.write_text("q1 Q0 d1 1 2.0 first\nq1 Q0 nowhere 2 1.0 first\n")
    code, message = call(world, output, "--run", other)
    assert code == 1 and f"{other}: document 'nowhere' is not in collection" in message
    other.write_text("q1 Q0 d1 1 2.0 first\nq9 Q0 d1 1 1.0 first\n")
    code, message = call(world, output, "--run", other)
    assert code == 1 and f"{other} has query q9, which {world.collection} does not have (1 such queries)" in message
    assert not output.exists()


def test_a_document_that_is_not_there_is_missed_before_anything_is_scored(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = tmp_path / "run.trec"
    run.write_text("q1 Q0 d1 1 2.0 first\nq2 Q0 d2 1 2.0 first\nq3 Q0 nowhere 1 1.0 first\n")

    def never(*_: object, **__: object) -> None:
        raise AssertionError("scored before all documents were looked for")

    monkeypatch.setattr(reranking, "CHUNK_TEXTS", 1)  # each query's documents are looked up in their turn
    monkeypatch.setattr(reranking, "score_pairs", never)
    code, message = call(world, tmp_path / "out.trec", "--run", run)
    assert code == 1 and f"{run}: document 'nowhere' is not in collection {world.collection}" in message


@pytest.mark.parametrize("both", (True, False))
def test_the_texts_come_from_exactly_one_place(both: bool, world: World, tmp_path: Path):
    code, message = call(world, tmp_path / "out.trec", *(["--index", tmp_path] if both else []), texts=both)
    assert code == 2
    assert "--collection or from --index; give one of them" in message


@pytest.mark.parametrize(
    "words",
    (
        ["--hits", 0],
        ["--interpolate", 1.5],
        ["--interpolate", "half"],
        ["--max-length", 500],
        ["--max-length", 4],
        ["--precision", "int8"],
        ["--run", "missing.trec"],
    ),
)
def test_what_cannot_be_meant_is_a_usage_error(words: list[object], world: World, tmp_path: Path):
    code, message = call(world, tmp_path / "out.trec", *words)
    assert code == 2 and "Error:" in message
    assert not (tmp_path / "out.trec").exists()


def test_a_tag_that_a_run_cannot_hold_is_refused_before_anything_is_scored(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reranking, "rerank_run", lambda *args, **options: pytest.fail("scored first"))
    code, message = call(world, tmp_path / "out.trec", "--tag", "two words")
    assert code == 1 and "--tag: 'two words'" in message
