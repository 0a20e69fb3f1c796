"""Encoding, re-ranking and scoring from Python: the same as the verbs, in memory too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from checkpoints import DOCUMENTS, QUERIES, contents, trained, write_collection, write_first_stage
from click.testing import CliRunner

from iaa_retrieval.collections.in_memory import InMemoryCollection, as_collection
from iaa_retrieval.collections.loading import load_collection
from iaa_retrieval.collections.runs import read_run
from iaa_retrieval.encode import main as encode
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.evaluate import main as evaluate
from iaa_retrieval.inference.backends import (
    BACKENDS,
    LocalBackend,
    Vectors,
    Window,
    backend_names,
    get_backend,
    register_backend,
)
from iaa_retrieval.inference.text_encoder import encode_passages
from iaa_retrieval.jobs.encode import encode_corpus
from iaa_retrieval.jobs.encode_queries import encode_queries
from iaa_retrieval.jobs.evaluate import evaluate_run
from iaa_retrieval.jobs.rerank import rerank_run
from iaa_retrieval.models.bi_encoder import BiEncoder, load_bi_encoder
from iaa_retrieval.rerank import main as rerank

Backbone = Callable[[str], Path]
TEXTS = {doc_id: contents(doc_id) for doc_id in DOCUMENTS}


@pytest.fixture
def bi_encoder(tiny_backbone: Backbone) -> Path:
    return trained("bi-encoder", "iaa-l", tiny_backbone("bert")).path


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    return write_collection(tmp_path / "collection")


def call(verb: object, *words: object) -> str:
    result = CliRunner().invoke(verb, [str(word) for word in words])  # type: ignore[arg-type]
    assert result.exit_code == 0, result.output
    return result.output


def test_a_corpus_in_memory_has_a_vector_of_every_document_in_order(bi_encoder: Path, collection: Path) -> None:
    model = load_bi_encoder(str(bi_encoder), precision="fp32", device="cpu")
    expected = encode_passages(model, list(TEXTS.values()))
    for documents in (collection, str(collection), load_collection(str(collection)), TEXTS):
        made = encode_corpus(model, documents)
        assert made.ids == list(TEXTS)
        assert made.vectors.dtype == np.float32 and made.vectors.shape == expected.shape
        np.testing.assert_allclose(made.vectors, expected, atol=1e-6)


def test_a_directory_is_what_the_verb_writes(bi_encoder: Path, collection: Path, tmp_path: Path) -> None:
    report = encode_corpus(bi_encoder, collection, tmp_path / "ours", precision="fp32", device="cpu")
    assert report == (8, 0, 0)
    section = ["encoder", "--encoder", bi_encoder, "--precision", "fp32", "--device", "cpu"]
    call(encode, "input", "--corpus", collection, "output", "--to-faiss", "--embeddings", tmp_path / "verb", *section)
    for name in ("index", "docid"):
        assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / "verb" / name).read_bytes()
    lines = encode_corpus(bi_encoder, TEXTS, tmp_path / "lines", to_faiss=False)
    assert lines.documents == 8 and (tmp_path / "lines" / "embeddings.jsonl").is_file()


def test_queries_by_text_by_id_and_by_name_are_the_same(bi_encoder: Path, collection: Path, tmp_path: Path) -> None:
    import pandas

    vectors = encode_queries(bi_encoder, list(QUERIES.values()), device="cpu")
    assert vectors.dtype == np.float32 and len(vectors) == 3
    np.testing.assert_array_equal(vectors, encode_queries(bi_encoder, QUERIES, tmp_path / "by-id", device="cpu"))
    np.testing.assert_array_equal(vectors, encode_queries(bi_encoder, collection, device="cpu"))
    frame = pandas.read_pickle(tmp_path / "by-id" / "embedding.pkl")
    assert list(frame["id"]) == list(QUERIES) and list(frame["text"]) == list(QUERIES.values())
    np.testing.assert_array_equal(np.stack(frame["embedding"]), vectors)
    encode_queries(bi_encoder, ["a", "b"], tmp_path / "by-text", device="cpu")
    assert list(pandas.read_pickle(tmp_path / "by-text" / "embedding.pkl")["id"]) == ["1", "2"]


@pytest.mark.parametrize("loaded", (True, False))
def test_another_length_is_that_of_the_verb(
    loaded: bool, bi_encoder: Path, collection: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import pandas

    model = load_bi_encoder(str(bi_encoder), precision="fp32", device="cpu") if loaded else bi_encoder
    section = ["--encoder", bi_encoder, "--max-length", 5, "--precision", "fp32", "--device", "cpu"]
    verb = tmp_path / "verb"
    call(encode, "input", "--corpus", collection, "output", "--to-faiss", "--embeddings", verb, "encoder", *section)
    call(encode, "queries", "--topics", collection, "--output", tmp_path / "queries", *section)
    caplog.clear()
    report = encode_corpus(model, collection, tmp_path / "ours", max_length=5, precision="fp32", device="cpu")
    assert report.documents == 8
    assert (tmp_path / "ours" / "index").read_bytes() == (verb / "index").read_bytes()
    assert "7 of 8 documents are longer than 5 tokens and were cut (the argument max_length sets another length)" in (
        caplog.text
    )
    vectors = encode_queries(model, collection, max_length=5, device="cpu")
    written = pandas.read_pickle(tmp_path / "queries" / "embedding.pkl")
    np.testing.assert_array_equal(vectors, np.stack(written["embedding"]))
    assert not np.allclose(vectors, encode_queries(model, collection, device="cpu"))


def test_a_corpus_is_encoded_by_the_back_end_that_is_named(bi_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting(LocalBackend):
        name = "counting"
        windows = 0

        def encode(self, encoder: BiEncoder, windows: Iterator[Window], batch_size: int) -> Vectors:
            for window, vectors in super().encode(encoder, windows, batch_size):
                self.windows += 1
                yield window, vectors

    monkeypatch.setattr(BACKENDS, "_entries", {name: get_backend(name) for name in backend_names()})
    backend = Counting()
    assert register_backend(backend) is backend
    made = encode_corpus(bi_encoder, TEXTS, backend="counting", device="cpu")
    np.testing.assert_array_equal(made.vectors, encode_corpus(bi_encoder, TEXTS, device="cpu").vectors)
    assert backend.windows == 1


def test_a_bi_encoder_re_ranks_by_the_products_of_those_vectors(bi_encoder: Path, tmp_path: Path) -> None:
    first_stage = read_run(write_first_stage(tmp_path / "run.trec"))
    model = load_bi_encoder(str(bi_encoder), precision="fp32", device="cpu")
    scores = encode_queries(model, QUERIES) @ encode_corpus(model, TEXTS).vectors.T
    reranked = rerank_run(model, first_stage, QUERIES, TEXTS)
    for row, query_id in zip(scores, QUERIES, strict=True):
        assert reranked[query_id] == pytest.approx(dict(zip(TEXTS, row, strict=True)), abs=1e-5)
    assert {len(hits) for hits in rerank_run(model, first_stage, QUERIES, TEXTS, hits=3).values()} == {3}


@pytest.mark.parametrize("interpolate", [1.0, 0.25])
def test_re_ranking_is_what_the_verb_writes(
    tiny_backbone: Backbone, collection: Path, tmp_path: Path, interpolate: float
) -> None:
    checkpoint = trained("cross-encoder", "iaa-l", tiny_backbone("bert")).path
    run = write_first_stage(tmp_path / "run.trec")
    where = ["--topics", collection, "--collection", collection, "--encoder", checkpoint, "--precision", "fp32"]
    asked = ["--run", run, "--output", tmp_path / "out.trec", "--interpolate", interpolate, "--device", "cpu"]
    call(rerank, *where, *asked, "--max-length", 18, "--query-max-length", 4)
    settings = {"interpolate": interpolate, "max_length": 18, "query_max_length": 4}
    found = rerank_run(checkpoint, run, collection, collection, **settings, precision="fp32", device="cpu")
    assert found != rerank_run(checkpoint, run, collection, collection, interpolate=interpolate, precision="fp32")
    written = read_run(tmp_path / "out.trec")
    assert found.keys() == written.keys()
    for query_id, hits in found.items():
        assert hits == pytest.approx(written[query_id], abs=1e-6)


def test_scores_are_those_that_the_verb_prints(collection: Path, tmp_path: Path) -> None:
    run = write_first_stage(tmp_path / "run.trec")
    # d1, d2 and d3, of which each is a query's only relevant document, are at ranks 2, 3 and 4 everywhere.
    values = evaluate_run(f"{collection}:train", run, "MRR R@2", per_query=True)
    assert values == {
        "MRR": pytest.approx({"q1": 1 / 2, "q2": 1 / 3, "q3": 1 / 4}),
        "R@2": {"q1": 1.0, "q2": 0.0, "q3": 0.0},
    }
    means = evaluate_run({"q1": {"d1": 1}, "q2": {"d2": 1}}, read_run(run), "MRR")
    assert means == {"MRR": pytest.approx((1 / 2 + 1 / 3) / 2)}
    printed = call(evaluate, "--qrels", f"{collection}:train", "--run", run)
    for name, value in evaluate_run(f"{collection}:train", run).items():
        assert name in printed and f"{value:.4f}" in printed


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size 0: at least 1 is needed"),
        ({"index_factory": "HNSW32,Flat"}, "are about an output; name one"),
        ({"resume": True}, "are about an output; name one"),
        ({"backend": "cluster"}, "unknown encoding back end 'cluster'; one of local"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_loaded(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        encode_corpus("no such encoder", TEXTS, **settings)  # type: ignore[call-overload]


def test_what_is_no_bi_encoder_makes_no_vectors(tiny_backbone: Backbone) -> None:
    from iaa_retrieval.models.cross_encoder import load_cross_encoder

    checkpoint = trained("cross-encoder", "iaa-l", tiny_backbone("bert")).path
    for cross_encoder in (checkpoint, load_cross_encoder(str(checkpoint))):
        with pytest.raises(IaaRetrievalError, match="a bi-encoder is needed here"):
            encode_corpus(cross_encoder, TEXTS)  # type: ignore[arg-type]
        with pytest.raises(IaaRetrievalError, match="a bi-encoder is needed here"):
            encode_queries(cross_encoder, ["a"])  # type: ignore[arg-type]


def test_re_ranking_names_what_is_missing(bi_encoder: Path) -> None:
    with pytest.raises(IaaRetrievalError, match=r"the run has query q9, which the mapping of queries does not have"):
        rerank_run(bi_encoder, {"q9": {"d1": 1.0}}, QUERIES, TEXTS)
    with pytest.raises(IaaRetrievalError, match=r"document 'd9' is not in collection \(in memory\)"):
        rerank_run(bi_encoder, {"q1": {"d9": 1.0}}, QUERIES, TEXTS)
    with pytest.raises(UsageError, match="hits 0"):
        rerank_run(bi_encoder, {"q1": {"d1": 1.0}}, QUERIES, TEXTS, hits=0)
    with pytest.raises(IaaRetrievalError, match="there is no query to encode"):
        encode_queries(bi_encoder, [])


def test_a_collection_in_memory_has_documents_and_nothing_else() -> None:
    held = as_collection({"a": "red", "b": ""})
    assert isinstance(held, InMemoryCollection) and as_collection(held) is held
    assert [tuple(document) for document in held.documents()] == [("a", "", "red"), ("b", "", "")]
    assert held.document_count() == 2 and held.queries() == [] and held.splits() == []
    assert list(held.find_documents(["b", "z"])) == ["b"]
    with pytest.raises(UsageError, match="without judgments"):
        held.qrels()
    with pytest.raises(IaaRetrievalError, match="has white space"):
        as_collection({"a b": "red"})
