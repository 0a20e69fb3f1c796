"""A tiny Qwen3 through every verb: trained, encoded, searched through Pyserini, re-ranked, evaluated and exported."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from reranker_models import write_decoder
from toy_collection import write_toy_collection
from transformers import AutoModel, AutoTokenizer

from iaa_retrieval import encode, evaluate, export, rerank, search, train
from iaa_retrieval.collections.runs import read_run
from iaa_retrieval.inference.text_encoder import encode_queries
from iaa_retrieval.java import find_java
from iaa_retrieval.models.bi_encoder import load_bi_encoder

needs_java = pytest.mark.skipif(find_java() is None, reason="no Java 21 or newer on this machine")
pytestmark = [needs_java, pytest.mark.usefixtures("same_environment")]

QUERIES = {f"q{number}" for number in range(32, 40)}
STEPS = ("--max-steps", 4, "--lr", 0.02, "--batch-size", 4, "--precision", "fp32", "--budget", "5%")


def run(verb: click.Command, *words: object) -> str:
    result = CliRunner().invoke(verb, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@dataclass(frozen=True)
class World:
    """The toy collection, the decoder, and the folder for what the verbs make."""

    folder: Path
    collection: Path
    decoder: Path

    @property
    def test(self) -> str:
        return f"{self.collection}:test"

    def first_stage(self, method: str) -> tuple[Path, Path, Path]:
        """A bi-encoder, the index of its document vectors and its run of the test queries; made once."""
        checkpoint, index, found = (self.folder / f"{method}{part}" for part in ("", "-index", ".trec"))
        if not found.is_file():
            run(
                train.main, "bi-encoder", "--collection", f"{self.collection}:train", "--backbone", self.decoder,
                "--method", method, *STEPS, "--query-prompt", r"Instruct: find it\nQuery: {query}",
                "--output", checkpoint,
            )  # fmt: skip
            run(
                encode.main, "input", "--corpus", self.collection, "output", "--embeddings", index, "--to-faiss",
                "encoder", "--encoder", checkpoint, "--precision", "fp32",
            )  # fmt: skip
            run(
                search.main, "faiss", "--index", index, "--topics", self.test, "--encoder", checkpoint,
                "--hits", 10, "--output", found,
            )  # fmt: skip
        return checkpoint, index, found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("decoder")
    return World(folder, write_toy_collection(folder / "toy"), write_decoder(folder / "qwen3", "qwen3", "Model"))


@pytest.mark.parametrize("method", ["lora", "iaa-l"])
def test_retrieval(method: str, world: World) -> None:
    """What Pyserini finds is what the vectors of the last tokens say, computed here without our inference."""
    checkpoint, _, found = world.first_stage(method)
    settings = json.loads((checkpoint / "retriever.json").read_text())
    assert (settings["pooling"], settings["method"]) == ("last", method)
    model = load_bi_encoder(str(checkpoint), precision="fp32", device="cpu")
    texts = [json.loads(line) for line in (world.collection / "queries.jsonl").read_text().splitlines()]
    texts = [text for text in texts if text["_id"] in QUERIES]
    documents = [json.loads(line) for line in (world.collection / "corpus.jsonl").read_text().splitlines()]
    queries = [f"Instruct: find it\nQuery: {query['text']}" for query in texts]
    passages = [f"{document['title']} {document['text']}" for document in documents]
    scores = last_vectors(model, queries) @ last_vectors(model, passages).T
    run_file = read_run(found)
    assert run_file.keys() == QUERIES
    for row, query in zip(scores, texts, strict=True):
        expected = {document["_id"]: score for document, score in zip(documents, row, strict=True)}
        hits = run_file[query["_id"]]
        assert len(hits) == 10 and min(hits.values()) >= sorted(row)[-10] - 1e-5
        assert hits == pytest.approx({doc_id: expected[doc_id] for doc_id in hits}, abs=1e-5)
    table = run(evaluate.main, "--qrels", world.test, "--run", found, "--metrics", "nDCG@10")
    assert found.name in table


def last_vectors(model, texts: list[str]) -> np.ndarray:
    """One text at a time, the last token's vector, of unit length where the model says so."""
    rows = []
    for text in texts:
        inputs = model.tokenizer(text, return_tensors="pt", return_token_type_ids=False)
        with torch.inference_mode():
            vector = model.encoder(**inputs)[0][0, -1]
        rows.append(torch.nn.functional.normalize(vector, dim=0) if model.config.normalize else vector)
    return torch.stack(rows).numpy()


@pytest.mark.parametrize("method", ["lora", "iaa-l"])
def test_reranking_by_yes_and_no(method: str, world: World) -> None:
    _, _, found = world.first_stage(method)
    language_model = write_decoder(world.folder / f"reranker-{method}", "qwen3")
    checkpoint, reranked = world.folder / f"yes-no-{method}", world.folder / f"reranked-{method}.trec"
    run(
        train.main, "cross-encoder", "--collection", f"{world.collection}:train", "--backbone", language_model,
        "--head", "yes-no", "--method", method, *STEPS, "--negatives-per-query", 1, "--output", checkpoint,
    )  # fmt: skip
    settings = json.loads((checkpoint / "retriever.json").read_text())
    assert settings["head"] == "yes-no"
    run(
        rerank.main, "--run", found, "--topics", world.test, "--collection", world.collection, "--encoder", checkpoint,
        "--hits", 10, "--precision", "fp32", "--interpolate", "none", "--output", reranked,
    )  # fmt: skip
    before, after = read_run(found), read_run(reranked)
    assert after.keys() == QUERIES
    assert all(after[query].keys() == before[query].keys() for query in QUERIES)
    assert any(list(after[query]) != list(before[query]) for query in QUERIES)


@pytest.mark.parametrize(("method", "form"), [("lora", "merged"), ("iaa-l", "self-contained")])
def test_export(method: str, form: str, world: World) -> None:
    checkpoint, _, _ = world.first_stage(method)
    out = world.folder / f"exported-{method}"
    run(export.main, "--checkpoint", checkpoint, "--format", form, "--output", out)
    texts = ["water and land", "a boy read"]
    model = load_bi_encoder(str(checkpoint), precision="fp32", device="cpu")
    expected = encode_queries(model, texts)
    if form == "self-contained":
        found = encode_queries(load_bi_encoder(str(out), precision="fp32", device="cpu"), texts)
    else:  # by transformers alone
        network, tokenizer = AutoModel.from_pretrained(out).eval(), AutoTokenizer.from_pretrained(out)
        rows = []
        for text in texts:
            inputs = tokenizer(f"Instruct: find it\nQuery: {text}", return_tensors="pt", return_token_type_ids=False)
            with torch.inference_mode():
                rows.append(network(**inputs)[0][0, -1].numpy())
        found = np.stack(rows)
        if model.config.normalize:
            found /= np.linalg.norm(found, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-5)
