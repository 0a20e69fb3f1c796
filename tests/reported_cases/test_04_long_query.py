"""Case 04: a query of 80 tokens was cut at 64, whatever the model said."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from click.testing import CliRunner

from iaa_retrieval import encode, search
from iaa_retrieval.collections.runs import rank, read_run
from iaa_retrieval.java import find_java

MINILM = "all-MiniLM-L6-v2"

pytestmark = pytest.mark.usefixtures("same_environment")


@pytest.fixture
def case(reported_cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    source = reported_cases / "04-long-query"
    shutil.copytree(source, tmp_path / "case", copy_function=shutil.copyfile)
    monkeypatch.chdir(tmp_path / "case")
    return tmp_path / "case"


def invoke(command: Any, line: str) -> None:
    result = CliRunner().invoke(command, line.split())
    assert result.exit_code == 0, (result.output, result.exception)


def test_whole_queries_are_encoded(case: Path, caplog: Any) -> None:
    from sentence_transformers import SentenceTransformer

    from iaa_retrieval.models.backbone import resolve_backbone

    with caplog.at_level(logging.WARNING, logger="iaa_retrieval"):
        invoke(encode.main, f"queries --topics queries.tsv --encoder {MINILM} --output out/q")
    assert "cut" not in caplog.text
    table = pandas.read_pickle("out/q/embedding.pkl")
    ours = np.stack(table["embedding"])
    theirs = SentenceTransformer(resolve_backbone(MINILM), device="cpu").encode(list(table["text"]))
    assert (ours * theirs).sum(1).min() > 0.9999
    assert ours[0] @ ours[1] < 0.7
    with caplog.at_level(logging.WARNING, logger="iaa_retrieval"):
        invoke(encode.main, f"queries --topics queries.tsv --encoder {MINILM} --max-length 64 --output out/q2")
    assert "2 of 2 queries are longer than 64 tokens and were cut (--max-length sets another length)" in caplog.text


@pytest.mark.skipif(find_java() is None, reason="no Java 21 or newer on this machine")
def test_each_query_finds_its_own_document(case: Path) -> None:
    index = f"input --corpus docs.jsonl output --embeddings out/index --to-faiss encoder --encoder {MINILM}"
    invoke(encode.main, f"{index} --precision fp32")
    common = f"faiss --index out/index --encoder {MINILM} --topics queries.tsv --hits 2 --output"
    invoke(search.main, f"{common} out/run.trec")
    invoke(search.main, f"{common} out/run2.trec --max-length 256")
    invoke(search.main, f"{common} out/run3.trec --max-length 64")
    first = {
        name: {query_id: rank(hits)[0][0] for query_id, hits in read_run(f"out/{name}.trec").items()}
        for name in ("run", "run2", "run3")
    }
    assert first["run"] == first["run2"] == {"1": "bees", "2": "ships"}
    assert first["run3"] == {"1": "bees", "2": "bees"}  # what is the same in both, and nothing else
