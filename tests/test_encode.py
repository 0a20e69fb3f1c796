"""The encode verb: the files of stock Pyserini, whole or not at all, taken up again where they were interrupted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import DOCUMENTS, QUERIES, contents, trained, write_collection, write_jsonl
from click.testing import CliRunner, Result

from iaa_retrieval.encode import main
from iaa_retrieval.inference import corpus_encoder, text_encoder
from iaa_retrieval.inference.text_encoder import encode_passages, encode_queries
from iaa_retrieval.java import find_java, prepare_java
from iaa_retrieval.models.bi_encoder import load_bi_encoder
from iaa_retrieval.work_in_progress import locked

Backbone = Callable[[str], Path]
needs_java = pytest.mark.skipif(find_java() is None, reason="no Java 21 or newer on this machine")


pytestmark = pytest.mark.usefixtures("same_environment")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Pyserini JSONL with title and text inside contents."""
    records = [{"id": key, "contents": f"{title}\n{text}"} for key, (title, text) in DOCUMENTS.items()]
    return write_jsonl(tmp_path / "corpus" / "documents.jsonl", records)


def encode(source: list[object], target: list[object], model: list[object]) -> Result:
    words = ["input", *source, "output", *target, "encoder", *model]
    return CliRunner().invoke(main, [str(word) for word in words])


def succeed(*sections: list[object]) -> None:
    result = encode(*sections)
    assert result.exit_code == 0, result.output


def failure(code: int, *sections: list[object]) -> str:
    result = encode(*sections)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


def read_embeddings(directory: Path) -> tuple[list[str], list[str], np.ndarray]:
    records = [json.loads(line) for line in (directory / "embeddings.jsonl").read_text().splitlines()]
    vectors = np.array([record["vector"] for record in records], dtype=np.float32)
    return [record["id"] for record in records], [record["contents"] for record in records], vectors


def read_faiss(directory: Path) -> tuple[list[str], np.ndarray]:
    import faiss

    index = faiss.read_index(str(directory / "index"))
    return (directory / "docid").read_text().splitlines(), index.reconstruct_n(0, index.ntotal)


def plain(backbone: Path, *more: object) -> list[object]:
    fp32 = ["--precision", "fp32", "--device", "cpu", "--batch-size", 4]
    return ["--encoder", backbone, "--encoder-class", "auto", "--pooling", "mean", "--l2-norm", *fp32, *more]


# Against stock Pyserini, run once for several command lines in one process.

VARIANTS: dict[str, tuple[list[str], list[str], list[str]]] = {
    "title-and-text": (["--fields", "title", "text"], [], ["--fields", "title", "text"]),
    "faiss": (["--fields", "title", "text"], ["--to-faiss"], ["--fields", "title", "text"]),
    "text-only": (["--fields", "title", "text"], [], ["--max-length", "9"]),
    "two-segments": (
        ["--fields", "title", "text"],
        [],
        ["--fields", "title", "text", "--add-sep", "--max-length", "12"],
    ),
    "prefix": (["--fields", "title", "text"], [], ["--fields", "title", "text", "--prefix", "read"]),
    "shard": (["--fields", "title", "text", "--shard-id", "2", "--shard-num", "3"], [], ["--fields", "text"]),
    "delimiter": (["--delimiter", "##"], [], []),
}
STOCK = """
import json, runpy, sys
from iaa_retrieval.java import prepare_java
prepare_java()
for arguments in json.load(open(sys.argv[1])):
    sys.argv = ["pyserini.encode", *arguments]
    runpy.run_module("pyserini.encode", run_name="__main__", alter_sys=True)
"""


def sections_of(variant: str, corpus: Path, output: Path) -> tuple[list[object], list[object], list[object]]:
    source, target, model = VARIANTS[variant]
    length = [] if "--max-length" in model else ["--max-length", 64]
    return ["--corpus", corpus, *source], ["--embeddings", output, *target], [*length, "--dimension", 32, *model]


@pytest.fixture(scope="module")
def stock(tiny_backbone: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``corpus.jsonl`` and what stock Pyserini makes of it for every variant."""
    folder = tmp_path_factory.mktemp("stock")
    # Stock Pyserini encodes a missing title as the word None, so this corpus has none.
    records = [{"id": key, "contents": f"{title or 'air'}\n{text}"} for key, (title, text) in DOCUMENTS.items()]
    corpus = write_jsonl(folder / "corpus.jsonl", records)
    commands = []
    for variant in VARIANTS:
        source, target, model = sections_of(variant, corpus, folder / variant)
        named = ["--encoder", tiny_backbone("bert"), "--encoder-class", "auto", "--pooling", "mean", "--l2-norm"]
        words = ["input", *source, "output", *target, "encoder", *named, "--device", "cpu", *model]
        commands.append([str(word) for word in words])
    (folder / "commands.json").write_text(json.dumps(commands))
    before = dict(os.environ)
    prepare_java()
    environment = dict(os.environ)
    os.environ.clear()
    os.environ.update(before)
    subprocess.run(
        [sys.executable, "-c", STOCK, folder / "commands.json"], env=environment, check=True, capture_output=True
    )
    return folder


@needs_java
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_output_is_that_of_stock_pyserini(variant: str, stock: Path, tiny_backbone: Backbone, tmp_path: Path):
    source, target, model = sections_of(variant, stock / "corpus.jsonl", tmp_path / "ours")
    succeed(source, target, plain(tiny_backbone("bert"), *model))
    if "--to-faiss" in target:
        (ids, vectors), (stock_ids, stock_vectors) = read_faiss(tmp_path / "ours"), read_faiss(stock / variant)
    else:
        ids, texts, vectors = read_embeddings(tmp_path / "ours")
        stock_ids, stock_texts, stock_vectors = read_embeddings(stock / variant)
        assert texts == stock_texts
    assert ids == stock_ids
    np.testing.assert_allclose(vectors, stock_vectors, atol=1e-5)


@needs_java
def test_stock_pyserini_searches_the_faiss_directory(corpus: Path, tiny_backbone: Backbone, tmp_path: Path):
    checkpoint = trained("bi-encoder", "iaa-l", tiny_backbone("bert")).path
    fields = ["--fields", "title", "text"]
    model = ["--encoder", checkpoint, "--precision", "fp32", *fields]
    succeed(["--corpus", corpus, *fields], ["--embeddings", tmp_path / "index", "--to-faiss"], model)
    topics = tmp_path / "topics.tsv"
    topics.write_text("".join(f"{key}\t{text}\n" for key, text in QUERIES.items()))
    arguments = ["queries", "--topics", topics, "--encoder", checkpoint, "--output", tmp_path / "queries"]
    result = CliRunner().invoke(main, [*map(str, arguments), "--precision", "fp32"])
    assert result.exit_code == 0, result.output
    assert "3 queries" in result.output

    prepare_java()
    from pyserini.encode import QueryEncoder
    from pyserini.search.faiss import FaissSearcher

    encoder = load_bi_encoder(str(checkpoint), precision="fp32")
    encoded = QueryEncoder(str(tmp_path / "queries"))
    passages = encode_passages(encoder, [contents(doc_id) for doc_id in DOCUMENTS])
    searcher = FaissSearcher(str(tmp_path / "index"), encoded)
    for query in QUERIES.values():
        vector = encode_queries(encoder, [query])[0]
        np.testing.assert_allclose(encoded.encode(query), vector, atol=1e-6)
        scores = dict(zip(DOCUMENTS, (passages @ vector).tolist(), strict=True))
        hits = searcher.search(query, k=8)
        assert {hit.docid: float(hit.score) for hit in hits} == pytest.approx(scores, abs=1e-5)
        assert hits[0].docid == max(scores, key=lambda doc_id: scores[doc_id])


def test_encoded_queries_hold_id_text_and_embedding(tiny_backbone: Backbone, tmp_path: Path):
    import pandas

    write_collection(tmp_path / "collection")
    arguments = ["--topics", f"{tmp_path / 'collection'}:train", "--encoder", tiny_backbone("bert")]
    result = CliRunner().invoke(main, ["queries", *map(str, arguments), "--output", str(tmp_path / "queries")])
    assert result.exit_code == 0, result.output
    frame = pandas.read_pickle(tmp_path / "queries" / "embedding.pkl")
    assert list(frame.columns) == ["id", "text", "embedding"]
    assert dict(zip(frame["id"], frame["text"], strict=True)) == QUERIES
    assert frame["embedding"][0].shape == (32,)
    again = CliRunner().invoke(main, ["queries", *map(str, arguments), "--output", str(tmp_path / "queries")])
    assert again.exit_code == 1
    assert f"output directory {tmp_path / 'queries'} is not empty" in again.output


def test_a_collection_is_encoded_by_title_and_text(tiny_backbone: Backbone, tmp_path: Path):
    checkpoint = trained("bi-encoder", "iaa-l", tiny_backbone("bert"))
    collection = write_collection(tmp_path / "collection")
    model = ["--encoder", checkpoint.path, "--precision", "fp32"]
    succeed(["--corpus", collection], ["--embeddings", tmp_path / "index", "--to-faiss"], model)
    ids, vectors = read_faiss(tmp_path / "index")
    assert ids == list(DOCUMENTS)
    expected = encode_passages(checkpoint.model, [contents(doc_id) for doc_id in DOCUMENTS])
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    recorded = json.loads((tmp_path / "index" / "retriever.json").read_text())["fingerprint"]
    assert recorded == json.loads((checkpoint.path / "retriever.json").read_text())["fingerprint"]


def test_the_prefix_of_a_checkpoint_goes_where_it_went_in_training(tiny_backbone: Backbone, tmp_path: Path):
    from dataclasses import replace

    from iaa_retrieval.models.retriever_config import read_retriever_config

    path = Path(shutil.copytree(trained("bi-encoder", "iaa-l", tiny_backbone("bert")).path, tmp_path / "checkpoint"))
    config = read_retriever_config(path)
    assert config is not None
    replace(config, document_prefix="read").save(path)
    collection = write_collection(tmp_path / "collection")
    model = ["--encoder", path, "--precision", "fp32"]
    succeed(["--corpus", collection], ["--embeddings", tmp_path / "index", "--to-faiss"], model)
    encoder = load_bi_encoder(str(path), precision="fp32")
    expected = encode_passages(encoder, [contents(doc_id) for doc_id in DOCUMENTS])
    np.testing.assert_allclose(read_faiss(tmp_path / "index")[1], expected, atol=1e-6)


def test_shards_make_the_whole(corpus: Path, tiny_backbone: Backbone, tmp_path: Path):
    fields = ["--fields", "title", "text"]
    model = plain(tiny_backbone("bert"), *fields)
    succeed(["--corpus", corpus, *fields], ["--embeddings", tmp_path / "whole", "--to-faiss"], model)
    parts = []
    for shard in range(3):
        source = ["--corpus", corpus, *fields, "--shard-id", shard, "--shard-num", 3]
        succeed(source, ["--embeddings", tmp_path / f"{shard}", "--to-faiss"], model)
        parts.append(read_faiss(tmp_path / f"{shard}"))
    ids, vectors = read_faiss(tmp_path / "whole")
    assert [doc_id for part, _ in parts for doc_id in part] == ids
    np.testing.assert_allclose(np.concatenate([part for _, part in parts]), vectors, atol=1e-6)


def test_other_indexes(corpus: Path, tiny_backbone: Backbone, tmp_path: Path):
    import faiss

    fields, backbone = ["--fields", "title", "text"], tiny_backbone("bert")
    for factory in ("HNSW8,Flat", "IVF2,Flat"):
        target = ["--embeddings", tmp_path / factory, "--to-faiss", "--index-factory", factory]
        succeed(["--corpus", corpus, *fields], target, plain(backbone))
        index = faiss.read_index(str(tmp_path / factory / "index"))
        assert index.ntotal == len(DOCUMENTS) and index.metric_type == faiss.METRIC_INNER_PRODUCT
    assert isinstance(faiss.read_index(str(tmp_path / "HNSW8,Flat" / "index")), faiss.IndexHNSW)
    target = ["--embeddings", tmp_path / "large", "--to-faiss", "--index-factory", "IVF99,Flat"]
    message = failure(1, ["--corpus", corpus, *fields], target, plain(backbone))
    assert "8 vectors are too few to train this index" in message
    assert not (tmp_path / "large").exists()


def test_an_unknown_index_is_noticed_before_anything_is_encoded(
    corpus: Path, tiny_backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(text_encoder, "encode_token_ids", lambda *_, **__: pytest.fail("it began to encode"))
    target = ["--embeddings", tmp_path / "index", "--to-faiss", "--index-factory", "Round"]
    message = failure(2, ["--corpus", corpus, "--fields", "title", "text"], target, plain(tiny_backbone("bert")))
    assert "Faiss does not know the index 'Round' for 32 dimensions" in message


# Interrupted and taken up again.


class Interrupted(Exception):
    """What stops an encoding in these tests."""


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Windows of three documents; the list holds how many texts each call of the model got."""
    calls: list[int] = []
    compute = text_encoder.encode_token_ids

    def count(encoder: Any, token_ids: Any, **options: Any) -> np.ndarray:
        calls.append(len(token_ids))
        return compute(encoder, token_ids, **options)

    monkeypatch.setattr(corpus_encoder, "WINDOW", 3)
    monkeypatch.setattr(text_encoder, "encode_token_ids", count)
    yield calls


def interrupt(monkeypatch: pytest.MonkeyPatch, *sections: list[object]) -> None:
    """Encode the first window, then stop in the second."""
    compute = text_encoder.encode_token_ids
    done: list[int] = []

    def stop(*arguments: Any, **options: Any) -> np.ndarray:
        if done:
            raise Interrupted
        done.append(1)
        return compute(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(text_encoder, "encode_token_ids", stop)
        assert isinstance(encode(*sections).exception, Interrupted)


@pytest.mark.parametrize("form", ("index", "embeddings.jsonl", "vectors.parquet"))
def test_an_interrupted_encoding_is_resumed_to_the_same_bytes(
    form: str,
    corpus: Path,
    tiny_backbone: Backbone,
    tmp_path: Path,
    counted: list[int],
    monkeypatch: pytest.MonkeyPatch,
):
    source: list[object] = ["--corpus", corpus, "--fields", "title", "text"]
    model = plain(tiny_backbone("bert"), "--fields", "title", "text")
    flags: list[object] = {"index": ["--to-faiss"], "vectors.parquet": ["--to-parquet"]}.get(form, [])
    succeed(source, ["--embeddings", tmp_path / "whole", *flags], model)
    assert counted == [3, 3, 2]

    target: list[object] = ["--embeddings", tmp_path / "resumed", *flags]
    interrupt(monkeypatch, source, target, model)
    assert not (tmp_path / "resumed").exists()
    assert (tmp_path / ".resumed.encoding").is_dir()
    counted.clear()
    succeed(source, [*target, "--resume"], model)
    assert counted == [3, 2]  # the first window is not encoded again
    for name in (form, "retriever.json", *(["docid"] if form == "index" else [])):
        assert (tmp_path / "resumed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "resumed", "whole"]


def test_interrupted_work_is_only_discarded_when_that_is_said(
    corpus: Path, tiny_backbone: Backbone, tmp_path: Path, counted: list[int], monkeypatch: pytest.MonkeyPatch
):
    source: list[object] = ["--corpus", corpus, "--fields", "title", "text"]
    target: list[object] = ["--embeddings", tmp_path / "index"]
    model = plain(tiny_backbone("bert"))
    interrupt(monkeypatch, source, target, model)
    work = tmp_path / ".index.encoding"
    begun = sorted(path.name for path in work.iterdir())
    message = failure(2, source, target, model)
    assert f"{work} holds interrupted work; --resume continues it, --overwrite discards it" in message
    assert "give one of them" in failure(2, source, [*target, "--resume", "--overwrite"], model)
    assert sorted(path.name for path in work.iterdir()) == begun
    counted.clear()
    succeed(source, [*target, "--overwrite"], model)
    assert counted == [3, 3, 2]


def test_a_finished_index_is_replaced_only_when_that_is_said(corpus: Path, tiny_backbone: Backbone, tmp_path: Path):
    source: list[object] = ["--corpus", corpus, "--fields", "title", "text"]
    target: list[object] = ["--embeddings", tmp_path / "index"]
    succeed(source, target, plain(tiny_backbone("bert")))
    assert "is not empty" in failure(1, source, target, plain(tiny_backbone("distilbert")))
    succeed(source, [*target, "--overwrite"], plain(tiny_backbone("distilbert")))
    assert "distilbert" in (tmp_path / "index" / "retriever.json").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "index"]
    (tmp_path / "index" / "retriever.json").unlink()
    message = failure(1, source, [*target, "--overwrite"], plain(tiny_backbone("bert")))
    assert "holds no retriever.json, so that it is not replaced" in message


def test_a_second_process_on_the_same_output_is_refused(corpus: Path, tiny_backbone: Backbone, tmp_path: Path):
    source: list[object] = ["--corpus", corpus, "--fields", "title", "text"]
    target: list[object] = ["--embeddings", tmp_path / "index"]
    with locked(tmp_path / ".index.encoding"):
        message = failure(1, source, target, plain(tiny_backbone("bert")))
        assert f"is in use by process {os.getpid()} on " in message
        assert "is in use" in failure(1, source, [*target, "--overwrite"], plain(tiny_backbone("bert")))
    succeed(source, target, plain(tiny_backbone("bert")))


def test_resume_with_nothing_begun_simply_encodes(corpus: Path, tiny_backbone: Backbone, tmp_path: Path):
    target: list[object] = ["--embeddings", tmp_path / "index", "--resume"]
    succeed(["--corpus", corpus, "--fields", "title", "text"], target, plain(tiny_backbone("bert")))
    assert len(read_embeddings(tmp_path / "index")[0]) == len(DOCUMENTS)


def test_work_of_another_encoder_or_corpus_is_not_resumed(
    corpus: Path, tiny_backbone: Backbone, tmp_path: Path, counted: list[int], monkeypatch: pytest.MonkeyPatch
):
    source: list[object] = ["--corpus", corpus, "--fields", "title", "text"]
    target: list[object] = ["--embeddings", tmp_path / "index"]
    backbone = tiny_backbone("bert")
    interrupt(monkeypatch, source, target, plain(backbone))
    resumed = [*target, "--resume"]
    others = {
        "encoder": plain(tiny_backbone("distilbert")),
        "document_max_length": plain(backbone, "--max-length", 20),
        "document_prefix": plain(backbone, "--prefix", "read"),
        "encode_title": plain(backbone, "--fields", "title", "text"),
    }
    for name, model in others.items():
        message = failure(2, source, resumed, model)
        assert f"{tmp_path / '.index.encoding'} was begun with another" in message and name in message
    assert "begun with another to_faiss" in failure(2, source, [*resumed, "--to-faiss"], plain(backbone))
    text = corpus.read_text()
    corpus.write_text(text.replace("good book", "old book"))
    message = failure(1, source, resumed, plain(backbone))
    assert "the corpus changed since the interrupted work" in message and "near document d0" in message
    corpus.write_text(text)
    succeed(source, resumed, plain(backbone))  # the refusals destroyed nothing


# Mistakes.


def test_bad_lines_are_named_and_leave_nothing(tiny_backbone: Backbone, tmp_path: Path):
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"id": "a", "contents": "water"}\n{"id": "a", "contents": "land"}\n')
    target: list[object] = ["--embeddings", tmp_path / "index"]
    assert f"Error: {path}:2: document id 'a' occurs twice, first in {path}:1" in failure(
        1, ["--corpus", path], target, plain(tiny_backbone("bert"))
    )
    assert not (tmp_path / "index").exists()


def test_an_empty_document_is_encoded_with_a_warning(
    tiny_backbone: Backbone, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path = write_jsonl(tmp_path / "corpus.jsonl", [{"id": "a", "contents": ""}, {"id": "b", "contents": "land"}])
    succeed(["--corpus", path], ["--embeddings", tmp_path / "index"], plain(tiny_backbone("bert")))
    ids, _, vectors = read_embeddings(tmp_path / "index")
    assert ids == ["a", "b"] and np.isfinite(vectors).all()
    assert "1 of 2 documents have no text" in caplog.text


def test_an_empty_corpus_and_an_occupied_output_are_refused(tiny_backbone: Backbone, tmp_path: Path):
    path, model = write_jsonl(tmp_path / "corpus.jsonl", []), plain(tiny_backbone("bert"))
    assert "there is no document to encode" in failure(
        1, ["--corpus", path], ["--embeddings", tmp_path / "index"], model
    )
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "index").write_text("precious")
    message = failure(1, ["--corpus", path], ["--embeddings", tmp_path / "full"], model)
    assert f"output directory {tmp_path / 'full'} is not empty" in message
    assert (tmp_path / "full" / "index").read_text() == "precious"


def test_options_that_contradict_each_other(corpus: Path, tiny_backbone: Backbone, tmp_path: Path):
    source: list[object] = ["--corpus", corpus, "--fields", "title", "text"]
    target: list[object] = ["--embeddings", tmp_path / "index"]
    backbone = tiny_backbone("bert")
    checkpoint = trained("bi-encoder", "iaa-l", backbone).path
    cases: list[tuple[list[object], list[object], list[object], str]] = [
        (source, target, plain(backbone, "--dimension", 768), f"--dimension 768, but {backbone} has 32"),
        (source, target, plain(backbone, "--max-length", 500), "document length 500 is outside"),
        (source, target, plain(backbone, "--fields", "url"), "the encoder fields url are not among the input fields"),
        (source, [*target, "--index-factory", "HNSW8,Flat"], plain(backbone), "add --to-faiss"),
        (source, target, ["--encoder", checkpoint, "--pooling", "cls"], f"contradicts checkpoint {checkpoint}"),
        (source, target, ["--encoder", backbone, "--precision", "fp16", "--device", "cpu"], "fp16 needs a GPU"),
        (["--corpus", corpus, "--fields", "title"], target, plain(backbone), "must include text"),
        (source, target, plain(backbone, "--encoder-class", "dpr", "--resume"), "No such option"),
    ]
    for *sections, message in cases:
        assert message in failure(2, *sections)
    assert not (tmp_path / "index").exists()


def test_the_sections_belong_together():
    for arguments, message in (
        (["input", "--corpus", "x"], "section output and encoder is missing"),
        (["output", "--embeddings", "x"], "section input and encoder is missing"),
        (["input", "--corpus"], "requires an argument"),
        (["input", "--unknown"], "No such option"),
    ):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 2, result.output
        assert message in result.output


@pytest.mark.parametrize(
    "fields", (["--fields", "title", "text"], ["--fields=title", "text"], ["--fields=title", "--fields=text"])
)
def test_several_fields_may_follow_one_option(fields: list[str], corpus: Path, tiny_backbone: Backbone, tmp_path: Path):
    succeed(["--corpus", corpus, *fields], ["--embeddings", tmp_path / "index"], plain(tiny_backbone("bert")))


@needs_java
@pytest.mark.parametrize("program", (["encode.py"], ["iaa-retrieval", "encode"]))
def test_classes_of_other_architectures_run_stock_pyserini(
    program: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import runpy

    seen: list[list[str]] = []
    monkeypatch.setattr(runpy, "run_module", lambda name, **_: seen.append([name, *sys.argv[1:]]))
    arguments = [
        *("input", "--corpus", "x", "--fields", "title", "text", "output", "--embeddings", str(tmp_path / "y")),
        *("encoder", "--encoder", "z", "--encoder-class", "dpr"),
    ]
    monkeypatch.setattr(sys, "argv", [*program, *arguments, "--debug"])
    result = CliRunner().invoke(main, [*arguments, "--debug"])
    assert result.exit_code == 0, result.output
    assert seen == [["pyserini.encode", *arguments]]
    refused = CliRunner().invoke(main, [*arguments, "--precision=fp32"])
    assert refused.exit_code == 2
    assert "--precision is not known to stock Pyserini" in refused.output
