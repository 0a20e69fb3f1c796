"""Every verb through its command line, each in a process of its own, on the embedded collection."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from iaa_retrieval.collections.runs import read_run


def verb(*words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", f"iaa_retrieval.{words[0]}", *map(str, words[1:])],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        check=False,
    )
    assert done.returncode == 0 or not check, done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("embedded")


@pytest.fixture(scope="module")
def bm25(work: Path) -> Path:
    verb("index", "--collection", "embedded", "--output", work / "lucene")
    for split in ("train", "test"):
        verb(
            "search", "lucene", "--bm25", "--index", work / "lucene", "--topics", f"embedded:{split}",
            "--hits", 20, "--output", work / f"bm25-{split}.trec",
        )  # fmt: skip
    return work / "bm25-test.trec"


@pytest.fixture(scope="module")
def checkpoints(work: Path, bm25: Path, tiny_backbone: Callable[[str], Path]) -> Path:
    common = (
        "--collection", "embedded", "--split", "train", "--dev-split", "dev", "--dev-queries", 20,
        "--backbone", tiny_backbone("bert"), "--method", "iaa-l", "--budget", "3%", "--max-steps", 4, "--eval-steps", 2,
        "--document-max-length", 48, "--train-queries", 100, "--negatives", work / "bm25-train.trec",
    )  # fmt: skip
    verb("train", "bi-encoder", *common, "--dev-documents", 200, "--output", work / "bi")
    verb(
        "search", "lucene", "--bm25", "--index", work / "lucene", "--topics", "embedded:dev",
        "--hits", 20, "--output", work / "bm25-dev.trec",
    )  # fmt: skip
    verb("train", "cross-encoder", *common, "--dev-run", work / "bm25-dev.trec", "--output", work / "cross")
    return work


def test_bm25_finds_definitions_by_their_descriptions(work: Path, bm25: Path) -> None:
    table = verb("evaluate", "--qrels", "embedded:test", "--run", bm25, "--metrics", "nDCG@10 MRR@10",
                 "--json", work / "scores.json")  # fmt: skip
    assert "nDCG@10" in table.stdout
    assert 0.1 < json.loads((work / "scores.json").read_text())["runs"][0]["scores"]["nDCG@10"] < 0.6


def test_three_ways_into_pyserini_agree(checkpoints: Path) -> None:
    checkpoint, index, queries = checkpoints / "bi", checkpoints / "index", checkpoints / "queries"
    verb("encode", "input", "--corpus", "embedded", "output", "--embeddings", index, "--to-faiss",
         "encoder", "--encoder", checkpoint)  # fmt: skip
    verb("encode", "queries", "--topics", "embedded:test", "--encoder", checkpoint, "--output", queries)
    common = ("--index", index, "--hits", 50)
    ours, stock = checkpoints / "ours.trec", checkpoints / "stock.trec"
    verb("search", "faiss", *common, "--topics", "embedded:test", "--encoder", checkpoint, "--output", ours)
    verb("search", "faiss", *common, "--topics", queries / "topics.json", "--encoded-queries", queries,
         "--output", stock)  # fmt: skip
    runs = [read_run(ours), read_run(stock)]
    assert runs[0].keys() == runs[1].keys()
    for query_id, scores in runs[0].items():
        assert sorted(scores.values()) == pytest.approx(sorted(runs[1][query_id].values()), abs=2e-6)


def test_search_with_another_encoder_is_refused_naming_both(
    checkpoints: Path, tiny_backbone: Callable[[str], Path]
) -> None:
    index = checkpoints / "other-index"
    verb("encode", "input", "--corpus", "embedded", "--shard-num", 50, "output", "--embeddings", index, "--to-faiss",
         "encoder", "--encoder", tiny_backbone("bert"), "--pooling", "mean", "--l2-norm")  # fmt: skip
    done = verb("search", "faiss", "--index", index, "--topics", "embedded:test", "--encoder", checkpoints / "bi",
                "--output", checkpoints / "never.trec", check=False)  # fmt: skip
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert str(index) in last and str(checkpoints / "bi") in last
    assert not (checkpoints / "never.trec").exists()


def test_rerank_with_either_kind_of_encoder(checkpoints: Path, bm25: Path) -> None:
    for kind in ("bi", "cross"):
        output = checkpoints / f"{kind}.trec"
        verb("rerank", "--run", bm25, "--topics", "embedded:test", "--index", checkpoints / "lucene", "--hits", 5,
             "--encoder", checkpoints / kind, "--output", output)  # fmt: skip
        first, reranked = read_run(bm25), read_run(output)
        for query_id, scores in reranked.items():
            assert set(scores) <= set(first[query_id]) and len(scores) == min(5, len(first[query_id]))


def test_a_tiny_quickstart(work: Path, tiny_backbone: Callable[..., Path]) -> None:
    backbone = tiny_backbone("bert", positions=256)
    done = verb("quickstart", "--backbone", backbone, "--test-queries", 40, "--train-queries", 64,
                "--output", work / "quickstart")  # fmt: skip
    assert "rerank-iaa-l" in done.stdout
    results = json.loads((work / "quickstart" / "results.json").read_text())
    assert results["collection"] == "embedded" and results["documents"] >= 2000 and results["queries"] == 40


def test_doctor_finds_everything_that_is_needed() -> None:
    found = {finding["name"]: finding for finding in json.loads(verb("doctor", "--json").stdout)}
    assert found["Java"]["ok"]
