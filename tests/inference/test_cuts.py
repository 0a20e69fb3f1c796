"""Texts that are longer than a model reads are counted, and said in one line per run."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checkpoints import trained
from click.testing import CliRunner

from iaa_retrieval import encode, rerank
from iaa_retrieval.inference import corpus_encoder
from iaa_retrieval.inference.adapter_server import AdapterServer
from iaa_retrieval.inference.cuts import Cuts
from iaa_retrieval.inference.tokens import tokenize_pairs, tokenize_texts
from iaa_retrieval.models.backbone import load_tokenizer

LONG = " ".join(["water"] * 200)


@pytest.fixture
def said(caplog: Any) -> Callable[[], list[str]]:
    caplog.set_level(logging.WARNING, logger="iaa_retrieval")
    return lambda: [r.getMessage() for r in caplog.records if r.name == "iaa_retrieval" and "cut" in r.getMessage()]


def test_a_text_that_fits_to_the_last_token_is_not_cut(tiny_backbone: Callable[..., Path]):
    tokenizer = load_tokenizer(str(tiny_backbone("bert")))
    cut: list[int] = []
    tokenize_texts(tokenizer, ["water", "water and air", "water and air people"], 5, on_cut=cut.append)
    assert cut == [2]
    cut.clear()
    tokenize_texts(tokenizer, ["water", "water"], 5, ["air", "air people"], on_cut=cut.append)
    assert cut == [1]


def test_a_pair_reports_its_query_and_its_passage(tiny_backbone: Callable[..., Path]):
    tokenizer = load_tokenizer(str(tiny_backbone("bert")))
    pairs = [("water", "air " * 4), ("water " * 5, "air"), ("water", "air " * 20), ("water " * 5, "air " * 20)]
    queries: list[int] = []
    passages: list[int] = []
    lengths = {"max_length": 12, "query_max_length": 4}
    tokenize_pairs(tokenizer, pairs, **lengths, on_query_cut=queries.append, on_passage_cut=passages.append)
    assert (queries, passages) == ([1, 3], [2, 3])


def test_the_line_counts_names_once_and_is_said_once(said: Callable[[], list[str]]):
    cuts = Cuts("queries", 64, advice="--max-length sets another length", most=512)
    for _ in range(2):
        cuts.among(["a", "b"])(1)
    cuts.count(3)(0)
    cuts.warn()
    cuts.warn()
    assert said() == ["2 of 5 queries are longer than 64 tokens and were cut (--max-length sets another length)"]


def test_nothing_is_advised_where_the_model_reads_no_more(said: Callable[[], list[str]]):
    cuts = Cuts("queries", 512, advice="--max-length sets another length", most=512)
    cuts.count(1)(0)
    cuts.warn()
    assert said() == ["1 of 1 queries are longer than 512 tokens and were cut (the model reads no more)"]


def invoke(command: Any, *words: object) -> None:
    result = CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output


def test_encode_queries_says_how_many_it_cut_and_its_option_sets_another_length(
    tiny_backbone: Callable[..., Path], tmp_path: Path, said: Callable[[], list[str]]
):
    topics = tmp_path / "queries.tsv"
    topics.write_text(f"1\twater\n2\t{' '.join(['people need air'] * 30)}\n3\twater and air\n")
    common = ("queries", "--topics", topics, "--encoder", tiny_backbone("bert"), "--output")
    invoke(encode.main, *common, tmp_path / "all")
    assert said() == []
    invoke(encode.main, *common, tmp_path / "some", "--max-length", 50)
    assert said() == ["1 of 3 queries are longer than 50 tokens and were cut (--max-length sets another length)"]
    assert json.loads((tmp_path / "some" / "retriever.json").read_text())["query_max_length"] == 50


def test_encode_counts_documents_over_the_whole_corpus_resumed_parts_included(
    tiny_backbone: Callable[..., Path],
    tmp_path: Path,
    said: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(corpus_encoder, "WINDOW", 2)
    corpus = tmp_path / "docs.jsonl"
    texts = [LONG, "water", "air", LONG, "people", LONG]
    corpus.write_text("".join(json.dumps({"id": str(i), "contents": t}) + "\n" for i, t in enumerate(texts)))
    words = ["input", "--corpus", corpus, "output", "--embeddings", tmp_path / "index", "--resume", "encoder"]
    words += ["--encoder", tiny_backbone("bert"), "--max-length", "40", "--device", "cpu"]
    with monkeypatch.context() as patch:
        store, stored = corpus_encoder._store, []

        def fails_at_the_third(*arguments: Any) -> None:
            if len(stored) == 2:
                raise KeyboardInterrupt
            stored.append(arguments)
            store(*arguments)

        patch.setattr(corpus_encoder, "_store", fails_at_the_third)
        CliRunner().invoke(encode.main, [str(word) for word in words])
    assert said() == []
    invoke(encode.main, *words)
    assert said() == ["3 of 6 documents are longer than 40 tokens and were cut (--max-length sets another length)"]


@pytest.mark.parametrize("kind", ("bi-encoder", "cross-encoder"))
def test_rerank_says_what_it_cut_of_queries_and_of_documents(
    tiny_backbone: Callable[..., Path], tmp_path: Path, said: Callable[[], list[str]], kind: str
):
    collection = tmp_path / "collection"
    collection.mkdir()
    documents = {"d1": LONG, "d2": "water"}
    (collection / "corpus.jsonl").write_text(
        "".join(json.dumps({"_id": key, "title": "", "text": text}) + "\n" for key, text in documents.items())
    )
    (collection / "queries.jsonl").write_text("")
    (tmp_path / "topics.tsv").write_text(f"1\t{' '.join(['air'] * 20)}\n2\twater\n")
    (tmp_path / "run.trec").write_text("1 Q0 d1 1 2 x\n1 Q0 d2 2 1 x\n2 Q0 d1 1 2 x\n2 Q0 d2 2 1 x\n")
    invoke(
        rerank.main, "--run", tmp_path / "run.trec", "--topics", tmp_path / "topics.tsv", "--collection", collection,
        "--encoder", trained(kind, "bitfit", tiny_backbone("bert")).path, "--output", tmp_path / "out.trec",
        "--max-length", 40, "--query-max-length", 10, "--device", "cpu", "--precision", "fp32",
    )  # fmt: skip
    texts = "1 of 2 documents" if kind == "bi-encoder" else "2 of 4 pairs of query and document"
    assert said() == [
        "1 of 2 queries are longer than 10 tokens and were cut (--query-max-length sets another length)",
        f"{texts} are longer than 40 tokens and were cut (--max-length sets another length)",
    ]


def test_the_adapter_server_says_it_once_per_checkpoint_and_kind(
    tiny_backbone: Callable[..., Path], said: Callable[[], list[str]]
):
    server = AdapterServer(str(tiny_backbone("bert")), precision="fp32", device="cpu")
    for _ in range(2):
        server.encode_queries(None, ["water", LONG])
        server.encode_passages(None, [LONG])
    assert said() == [
        "1 of 2 queries are longer than 128 tokens and were cut",
        "1 of 1 documents are longer than 130 tokens and were cut (the model reads no more)",
    ]
