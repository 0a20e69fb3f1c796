"""The engine: the rankings and scores of ``search`` and ``rerank``, whatever the checkpoint, and clear refusals."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from checkpoints import DOCUMENTS, QUERIES, contents, with_other_settings
from click.testing import CliRunner
from served import World

from iaa_retrieval.collections.runs import rank, read_run
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.jobs.search import search as run_search
from iaa_retrieval.models.retriever_config import Interpolation
from iaa_retrieval.rerank import main as rerank
from iaa_retrieval.serving.config_file import parse_config, with_paths
from iaa_retrieval.serving.engine import Engine, Search
from iaa_retrieval.serving.indexes import Found
from iaa_retrieval.serving.refusals import BadRequest, QueryTooLong, UnknownDocument, UnknownIndex

ALL = len(DOCUMENTS)
TOPICS = "queries.jsonl"

pytestmark = pytest.mark.usefixtures("same_environment")


def of_run(run: Path, query_id: str) -> list[tuple[str, float]]:
    return rank(read_run(run)[query_id])


def assert_same(found: list[Found], expected: list[tuple[str, float]]) -> None:
    assert [hit.docid for hit in found] == [doc_id for doc_id, _ in expected]
    assert [hit.score for hit in found] == pytest.approx([score for _, score in expected], abs=2e-5)


@pytest.mark.parametrize("name", ["tuned", "other", "untuned"])
def test_dense_search_is_that_of_the_verb(world: World, engine: Engine, tmp_path: Path, name: str) -> None:
    """Checkpoints with mean and with CLS pooling, with and without normalisation and prefix, and the bare backbone."""
    encoder = {"tuned": world.tuned, "other": world.other, "untuned": world.backbone}[name]
    index = engine.config.indexes[name].path
    run = tmp_path / "run.trec"
    words = ["--index", index, "--encoder", str(encoder), "--topics", str(world.collection / TOPICS)]
    run_search("faiss", [*words, "--output", str(run), "--hits", str(ALL)])
    for query_id, text in QUERIES.items():
        assert_same(engine.search(Search(text, name, ALL)), of_run(run, query_id))


def test_queries_are_cut_for_each_index(world: World, engine: Engine, tmp_path: Path) -> None:
    """One checkpoint with an index of its whole vectors and two of cut ones."""
    from iaa_retrieval.jobs.encode import encode_corpus

    folders = {"tuned": world.faiss("tuned"), "eight": tmp_path / "eight", "twelve": tmp_path / "twelve"}
    for name, size in (("eight", 8), ("twelve", 12)):
        encode_corpus(str(world.tuned), str(world.collection), folders[name], truncate_dim=size, precision="fp32")
    indexes = {name: {"path": str(path), "index_type": "faiss"} for name, path in folders.items()}
    served = Engine(with_paths(parse_config(world.values(indexes=indexes, systems={})), world.folder), device="cpu")
    for query_id, text in QUERIES.items():
        for name, path in folders.items():
            run = tmp_path / f"{name}-{query_id}.trec"
            words = ["--index", str(path), "--encoder", str(world.tuned), "--topics", str(world.collection / TOPICS)]
            run_search("faiss", [*words, "--output", str(run), "--hits", str(ALL)])
            assert_same(served.search(Search(text, name, ALL)), of_run(run, query_id))


def test_bm25_is_that_of_the_verb(world: World, engine: Engine, tmp_path: Path) -> None:
    for number, words in enumerate(([], ["--k1", "0.5", "--b", "0.1"])):
        run = tmp_path / f"{number}.trec"
        topics = ["--topics", str(world.collection / TOPICS), "--output", str(run)]
        run_search("lucene", ["--bm25", *words, "--index", str(world.lucene), *topics])
        k1, b = (0.5, 0.1) if words else (None, None)
        for query_id, text in QUERIES.items():
            assert_same(engine.search(Search(text, "bm25", ALL, k1=k1, b=b)), of_run(run, query_id))
    assert of_run(tmp_path / "0.trec", "q1") != of_run(tmp_path / "1.trec", "q1")


def test_reranking_is_that_of_the_verb(world: World, engine: Engine, tmp_path: Path) -> None:
    first, run = tmp_path / "first.trec", tmp_path / "reranked.trec"
    topics = ["--topics", str(world.collection / TOPICS)]
    run_search("lucene", ["--bm25", "--index", str(world.lucene), *topics, "--output", str(first)])
    words = ["--run", first, *topics, "--collection", world.collection, "--encoder", world.reranker, "--output", run]
    done = CliRunner().invoke(rerank, [*map(str, words), "--precision", "fp32", "--device", "cpu"])
    assert done.exit_code == 0, done.output
    for query_id, text in QUERIES.items():
        assert_same(engine.search(Search(text, "bm25", ALL, rerank="reranker")), of_run(run, query_id))
    assert len(engine.search(Search(QUERIES["q1"], "tuned", 2, rerank="reranker"))) == 2


def test_reranking_keeps_as_much_of_the_first_stage_as_training_chose(
    world: World, engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "iaa_retrieval")
    chosen = Interpolation(0.25, "dev.trec", "bm25", 40, 50, "nDCG@10", 0.5, 0.7, 0.6)
    learnt = with_other_settings(world.reranker, tmp_path / "learnt", interpolation=chosen)
    values = world.values()
    values["checkpoints"] |= {"reranker": str(learnt)}
    keeping = Engine(with_paths(parse_config(values), world.folder), device="cpu")
    assert "interpolating: 0.25 of the re-ranker's score" in caplog.text

    def scaled(found: list[Found]) -> dict[str, float]:
        scores = [hit.score for hit in found]
        return {hit.docid: (hit.score - min(scores)) / (max(scores) - min(scores)) for hit in found}

    for text in QUERIES.values():
        old = scaled(engine.search(Search(text, "bm25", ALL)))
        new = scaled(engine.search(Search(text, "bm25", ALL, rerank="reranker")))
        expected = {doc_id: 0.25 * new[doc_id] + 0.75 * old[doc_id] for doc_id in old}
        found = keeping.search(Search(text, "bm25", ALL, rerank="reranker"))
        assert {hit.docid: hit.score for hit in found} == pytest.approx(expected, abs=1e-5)


def test_what_is_below_the_reranked_depth_cannot_win(world: World) -> None:
    """With a depth of one, the first hit of BM25 is all that is scored."""
    limits = {"rerank_hits": 1}
    shallow = Engine(with_paths(parse_config(world.values(limits=limits)), world.folder), device="cpu")
    first = shallow.search(Search(QUERIES["q1"], "bm25", 1))
    assert [hit.docid for hit in shallow.search(Search(QUERIES["q1"], "bm25", 1, rerank="reranker"))] == [
        first[0].docid
    ]
    assert len(shallow.search(Search(QUERIES["q1"], "bm25", 3, rerank="reranker"))) == 3


def test_a_checkpoint_that_did_not_make_the_index_is_refused(engine: Engine) -> None:
    """Same dimension, same backbone: only the fingerprint tells them apart."""
    with pytest.raises(
        BadRequest, match=r"index tuned, mean pooling.*checkpoint other, cls pooling.*different encoders"
    ):
        engine.search(Search("water", "tuned", checkpoint="other"))
    same = engine.search(Search("water", "tuned", checkpoint="tuned"))
    assert same == engine.search(Search("water", "tuned"))
    assert same != engine.search(Search("water", "other"))


def test_an_index_without_a_record_takes_any_checkpoint_of_its_dimension(world: World, tmp_path: Path) -> None:
    """Two adapters on one backbone answer from one index, each with its own vectors."""
    bare = tmp_path / "bare"
    shutil.copytree(world.faiss("tuned"), bare)
    (bare / "retriever.json").unlink()
    indexes = {"bare": {"path": str(bare), "encoder": "tuned"}}
    engine = Engine(with_paths(parse_config(world.values(indexes=indexes, systems={})), tmp_path), device="cpu")
    import faiss

    vectors = faiss.read_index(str(bare / "index")).reconstruct_n(0, ALL)
    ids = (bare / "docid").read_text().split()
    from iaa_retrieval.inference.text_encoder import encode_queries
    from iaa_retrieval.models.bi_encoder import load_bi_encoder

    for name, path in (("tuned", world.tuned), ("other", world.other)):
        encoder = load_bi_encoder(str(path), precision="fp32", device="cpu")
        scores = vectors @ encode_queries(encoder, ["water in the world"])[0]
        order = np.argsort(-scores)
        found = engine.search(Search("water in the world", "bare", ALL, checkpoint=name))
        assert_same(found, [(ids[place], float(scores[place])) for place in order])


@pytest.mark.parametrize(
    ("search", "error", "message"),
    [
        (Search("water", "bm26"), UnknownIndex, "bm26; there are .*; did you mean bm25"),
        (Search("water", "tuned", checkpoint="tund"), BadRequest, "no checkpoint 'tund'.*did you mean tuned"),
        (Search("water", "tuned", checkpoint="reranker"), BadRequest, "reranker is a cross-encoder, which re-ranks"),
        (Search("water", "bm25", rerank="tuned"), BadRequest, "tuned is a bi-encoder, which does not re-rank"),
        (Search("water", "bm25", rerank="backbone"), BadRequest, "does not re-rank"),
        (Search("water", "bm25", checkpoint="tuned"), BadRequest, "a BM25 index, which needs no encoder"),
        (Search("water", "tuned", k1=0.9, b=0.4), BadRequest, "only to sparse"),
        (Search("water", "bm25", k1=0.9), BadRequest, "set together"),
        (Search("water", "bm25", k1=0.9, b=2), BadRequest, "between 0 and 1"),
        (Search("water", "bm25", k1=float("nan"), b=0.4), BadRequest, "non-negative"),
        (Search(" \n", "bm25"), BadRequest, "required"),
        (Search("x" * 1001, "bm25"), QueryTooLong, "1001 characters; this server takes 1000"),
        (Search("water", "bm25", hits=101), BadRequest, "between 1 and 100"),
        (Search("water", "bm25", hits=0), BadRequest, "between 1 and 100"),
    ],
)
def test_refusals(engine: Engine, search: Search, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        engine.search(search)


def test_documents(world: World, engine: Engine) -> None:
    stored = engine.document("tuned", "d2")
    assert stored.contents == contents("d2") and '"contents"' in stored.raw
    apart = engine.texts("tuned", ["d2", "d3", "nothing"])
    assert {key: (of.title, of.text) for key, of in apart.items()} == {
        "d2": DOCUMENTS["d2"],
        "d3": (None, DOCUMENTS["d3"][1]),
    }
    with pytest.raises(UnknownDocument, match="d99 not found in index bm25"):
        engine.document("bm25", "d99")


def test_without_any_text_nothing_is_reranked(world: World) -> None:
    indexes = {"tuned": str(world.faiss("tuned"))}
    values = world.values(indexes=indexes, systems={}, collection=None)
    engine = Engine(with_paths(parse_config(values), world.folder), device="cpu")
    assert engine.documents("tuned", ["d1"]) == {}
    with pytest.raises(BadRequest, match=r"no text of document .* must name a collection, or a base_index of tuned"):
        engine.search(Search("water", "tuned", rerank="reranker"))


def test_an_index_of_no_known_checkpoint_is_refused_at_once(world: World, tmp_path: Path) -> None:
    values = world.values(checkpoints={"tuned": str(world.tuned)}, systems={})
    with pytest.raises(UsageError, match=r"indexes.other: .* was made by none of backbone, tuned"):
        Engine(with_paths(parse_config(values), tmp_path), device="cpu")
    values["indexes"] = {"other": {"path": str(world.faiss("other")), "encoder": "tuned"}}
    with pytest.raises(IaaRetrievalError, match=r"index other, cls pooling .* different encoders"):
        Engine(with_paths(parse_config(values), tmp_path), device="cpu")


def test_a_system_that_could_only_fail_is_refused_at_once(world: World) -> None:
    systems = {"wrong": {"label": "Wrong", "index": "bm25", "rerank": "tuned"}}
    with pytest.raises(UsageError, match=r"systems.wrong: tuned is a bi-encoder"):
        Engine(with_paths(parse_config(world.values(systems=systems)), world.folder), device="cpu")


@pytest.mark.parametrize("query", ["zzzz", "?!", "\N{SNOWMAN}", "a AND (b", "x" * 1000, "\0"])
def test_queries_that_match_nothing_or_look_like_syntax(engine: Engine, query: str) -> None:
    for index, reranker in (("bm25", None), ("bm25", "reranker"), ("tuned", None), ("tuned", "reranker")):
        found = engine.search(Search(query, index, ALL, rerank=reranker))
        assert len(found) == ALL if index == "tuned" else found == []
    engine.try_out()


def test_many_threads_get_what_one_gets(engine: Engine) -> None:
    """Checkpoints, indexes and re-ranking in turns, so that nothing of one search can be another's."""
    searches = [
        Search(f"{text} {word}", index, ALL, rerank=rerank)
        for word in ("water", "house", "light")
        for text in QUERIES.values()
        for index, rerank in (("tuned", None), ("other", None), ("untuned", None), ("bm25", None), ("bm25", "reranker"))
    ]
    alone = [engine.search(search) for search in searches]
    assert engine.encoders is not None
    engine.encoders._vectors.clear()
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(engine.search, searches))
    for found, expected in zip(together, alone, strict=True):
        assert_same(found, list(expected))


def test_vectors_are_kept_apart_by_checkpoint_and_bounded(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from iaa_retrieval.serving import encoders

    monkeypatch.setattr(encoders, "VECTORS", 3)
    assert engine.encoders is not None
    first = engine.encoders.query_vector("tuned", "water")
    assert engine.encoders.query_vector("tuned", "water") is first
    assert not np.allclose(first, engine.encoders.query_vector("other", "water"))
    for number in range(5):
        engine.encoders.query_vector("tuned", f"water {number}")
    assert len(engine.encoders._vectors) == 3
