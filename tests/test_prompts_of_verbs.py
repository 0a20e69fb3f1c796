"""Prompts, templates and the end of texts, from the command line to the run: encode, search, rerank and train."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from click.testing import CliRunner, Result
from tiny_decoders import describe, write_decoder
from toy_collection import write_toy_collection
from transformers import AutoModel, AutoTokenizer

from iaa_retrieval import encode, rerank, search, train
from iaa_retrieval.collections.runs import read_run
from iaa_retrieval.java import find_java
from iaa_retrieval.models.retriever_config import read_retriever_config

pytestmark = pytest.mark.usefixtures("same_environment")
needs_java = pytest.mark.skipif(find_java() is None, reason="no Java 21 or newer on this machine")

QUERY = r"Instruct: find a good book\nQuery: {query} by the water"
DOCUMENT = "read this:{document}"


@dataclass(frozen=True)
class Place:
    """A collection, a decoder, and an index that it made with prompts."""

    folder: Path
    collection: Path
    qwen3: Path


def run(command: Any, *words: object) -> Result:
    return CliRunner().invoke(command, [str(word) for word in words])


def succeed(command: Any, *words: object) -> str:
    result = run(command, *words)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def encode_documents(place: Place, name: str, encoder: object, *options: object) -> Result:
    source = ("input", "--corpus", place.collection, "output", "--embeddings", place.folder / name, "--to-faiss")
    return run(encode.main, *source, "encoder", "--encoder", encoder, "--precision", "fp32", *options)


def encode_queries(place: Place, name: str, encoder: object, *options: object) -> dict[str, np.ndarray]:
    words = ("--topics", f"{place.collection}:test", "--encoder", encoder, "--output", place.folder / name)
    succeed(encode.main, "queries", *words, *options)
    table = pandas.read_pickle(place.folder / name / "embedding.pkl")
    return dict(zip(table["id"], table["embedding"], strict=True))


def vectors(place: Place, name: str) -> dict[str, np.ndarray]:
    import faiss

    index = faiss.read_index(str(place.folder / name / "index"))
    ids = (place.folder / name / "docid").read_text().splitlines()
    return dict(zip(ids, index.reconstruct_n(0, index.ntotal), strict=True))


def by_hand(model: Path, text: str, *more: int) -> np.ndarray:
    """The unit-length last token's vector of one text as it is."""
    import torch

    ids = [*AutoTokenizer.from_pretrained(model)(text)["input_ids"], *more]
    with torch.no_grad():
        vector = AutoModel.from_pretrained(model).eval()(input_ids=torch.tensor([ids]))[0][0, -1].numpy()
    return vector / np.linalg.norm(vector)


def texts(place: Place, file: str) -> dict[str, str]:
    records = [json.loads(line) for line in (place.collection / file).read_text().splitlines()]
    return {record["_id"]: " ".join(filter(None, (record.get("title"), record["text"]))) for record in records}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("verbs")
    place = Place(folder, write_toy_collection(folder / "collection"), write_decoder(folder / "qwen3"))
    result = encode_documents(place, "index", place.qwen3, "--document-prompt", DOCUMENT, "--l2-norm")
    assert result.exit_code == 0, result.output
    return place


def test_encode_puts_prompts_around_texts_and_records_them(place: Place):
    queries = encode_queries(place, "queries", place.qwen3, "--query-prompt", QUERY, "--l2-norm")
    query = f"Instruct: find a good book\nQuery: {texts(place, 'queries.jsonl')['q33']} by the water"
    np.testing.assert_allclose(queries["q33"], by_hand(place.qwen3, query), atol=1e-5)
    document = f"read this:{texts(place, 'corpus.jsonl')['d5']}"
    np.testing.assert_allclose(vectors(place, "index")["d5"], by_hand(place.qwen3, document), atol=1e-5)
    config = read_retriever_config(place.folder / "queries")
    assert config is not None
    assert (config.query_prompt, config.query_suffix) == ("Instruct: find a good book\nQuery: ", " by the water")
    config = read_retriever_config(place.folder / "index")
    assert config is not None and (config.document_prompt, config.document_suffix) == ("read this:", "")


@needs_java
def test_search_and_rerank_score_as_encode_says(place: Place):
    queries = encode_queries(place, "asked", place.qwen3, "--query-prompt", QUERY, "--l2-norm")
    documents = vectors(place, "index")
    common = ("--encoder", place.qwen3, "--topics", f"{place.collection}:test", "--l2-norm")
    asked = ("faiss", "--index", place.folder / "index", *common, "--hits", 40)
    for name, prompt in (("prompt", ("--query-prompt", QUERY)), ("equals", (f"--query-prompt={QUERY}",))):
        succeed(search.main, *asked, *prompt, "--output", place.folder / f"{name}.trec")
        for query_id, scores in read_run(place.folder / f"{name}.trec").items():
            expected = {doc_id: float(queries[query_id] @ vector) for doc_id, vector in documents.items()}
            assert scores == pytest.approx(expected, abs=1e-5)
    around = ("--query-prompt", QUERY, "--document-prompt", DOCUMENT, "--precision", "fp32", "--hits", 40)
    output = ("--run", place.folder / "prompt.trec", "--collection", place.collection, "--output", place.folder / "r")
    succeed(rerank.main, *common, *around, *output)
    assert read_run(place.folder / "r")["q33"] == pytest.approx(read_run(place.folder / "prompt.trec")["q33"], abs=1e-5)


@needs_java
def test_the_class_qwen3_and_metadata_agree_on_both_sides(place: Place):
    """An index made with what the files say is searched with Pyserini's options for its class, and scores alike."""
    described = describe(place.qwen3, {"query": "find:", "web": "find this:", "document": ""})
    result = encode_documents(place, "described", described)
    assert result.exit_code == 0, result.output
    queries = encode_queries(place, "named", described, "--query-prompt-name", "web")
    asked = ("faiss", "--index", place.folder / "described", "--topics", f"{place.collection}:test", "--hits", 40)
    classed = ("--encoder-class", "qwen3", "--l2-norm", "--query-prefix", "find this:")
    for options in (("--query-prompt-name", "web"), classed):
        succeed(search.main, *asked, "--encoder", described, *options, "--output", place.folder / "run.trec")
        scores = read_run(place.folder / "run.trec")["q33"]
        expected = {doc_id: float(queries["q33"] @ vector) for doc_id, vector in vectors(place, "described").items()}
        assert scores == pytest.approx(expected, abs=1e-5)


@needs_java
def test_pyserinis_own_class_runs_where_only_it_cuts_as_asked(place: Place, monkeypatch: pytest.MonkeyPatch):
    source = ["input", "--corpus", place.collection, "output", "--embeddings", place.folder / "stock", "--to-faiss"]
    model = ["encoder", "--encoder", place.qwen3, "--encoder-class", "qwen3", "--explicit-truncate", "--l2-norm"]
    more = ["--prefix", "", "--max-length", 4, "--dimension", 32, "--device", "cpu"]
    words = [str(word) for word in (*source, *model, *more)]
    monkeypatch.setattr(sys, "argv", ["encode", *words])
    succeed(encode.main, *words)
    config = read_retriever_config(place.folder / "stock")
    assert config is not None and config.encoder_class == "qwen3"
    words_of_text = texts(place, "corpus.jsonl")["d5"].split()[1:]  # without --fields, it leaves titles out
    four = " ".join(words_of_text[:4])  # the token that ends a text comes on top
    np.testing.assert_allclose(vectors(place, "stock")["d5"], by_hand(place.qwen3, four), atol=1e-5)
    common = ("--index", place.folder / "stock", "--topics", f"{place.collection}:test", "--hits", 40)
    asked = ("--encoder", place.qwen3, "--encoder-class", "qwen3", "--l2-norm", "--output", place.folder / "stock.trec")
    succeed(search.main, "faiss", *common, *asked)
    query = by_hand(place.qwen3, texts(place, "queries.jsonl")["q33"])
    expected = float(query @ vectors(place, "stock")["d5"])
    assert read_run(place.folder / "stock.trec")["q33"]["d5"] == pytest.approx(expected, abs=1e-5)


@needs_java
@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--encoder", "x/y", "--encoder-class", "dpr", "--query-prompt", "a"), "--query-prompt has no effect on"),
        (("--encoded-queries", "x", "--append-eos"), "--append-eos has no effect on"),
        (("--encoder", "QWEN3", "--query-prompt", "a", "--query-prefix", "b"), "query prefix and query prompt"),
        (("--encoder", "QWEN3", "--query-prompt", "a {document}"), "is called {query}"),
    ],
)
def test_a_search_refuses_prompts_that_do_nothing(place: Place, options: tuple[str, ...], named: str):
    words = [str(place.qwen3) if word == "QWEN3" else word for word in options]
    common = ("--index", place.folder / "index", "--topics", f"{place.collection}:test", "--output", place.folder / "x")
    result = run(search.main, "faiss", *common, *words)
    assert result.exit_code == 2 and named in result.output
    assert not (place.folder / "x").exists()


def test_encode_refuses_what_stock_pyserini_does_not_know(place: Place):
    result = encode_documents(place, "none", "x/y", "--encoder-class", "dpr", "--document-prompt", "a")
    assert result.exit_code == 2 and "--document-prompt" in result.output and "class dpr" in result.output


def test_what_is_trained_with_is_recorded_and_followed(place: Place):
    llama, output = write_decoder(place.folder / "llama", "llama", ends_texts=False), place.folder / "checkpoint"
    said = succeed(
        train.main, "bi-encoder", "--collection", place.collection, "--backbone", llama, "--output", output,
        "--method", "full", "--max-steps", 1, "--batch-size", 4, "--device", "cpu", "--precision", "fp32",
        "--query-prompt", QUERY, "--document-prompt", DOCUMENT, "--append-eos",
    )  # fmt: skip
    assert "Traceback" not in said
    config = read_retriever_config(output)
    assert config is not None
    assert (config.pooling, config.append_token, config.query_suffix) == ("last", "</s>", " by the water")
    queries = encode_queries(place, "trained", output)
    text = f"Instruct: find a good book\nQuery: {texts(place, 'queries.jsonl')['q33']} by the water"
    np.testing.assert_allclose(queries["q33"], by_hand(output, text), atol=1e-5)
    assert AutoTokenizer.from_pretrained(output)("water")["input_ids"][-1] == 2
    card = (output / "README.md").read_text()
    assert "| put after the text | ' by the water' (queries), '' (passages) |" in card and "'</s>'" in card
