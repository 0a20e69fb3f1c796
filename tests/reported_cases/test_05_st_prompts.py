"""Case 05: the prompts that a model keeps for queries and documents were ignored."""

from __future__ import annotations

import json
import runpy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from click.testing import CliRunner

from iaa_retrieval import encode, rerank, search
from iaa_retrieval.collections.runs import read_run
from iaa_retrieval.java import find_java

pytestmark = pytest.mark.usefixtures("same_environment")


@pytest.fixture
def case(reported_cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    source = reported_cases / "05-st-prompts"
    shutil.copytree(source, tmp_path / "case", copy_function=shutil.copyfile)
    monkeypatch.chdir(tmp_path / "case")
    runpy.run_path("make_model.py")
    return tmp_path / "case"


def invoke(command: Any, line: str) -> None:
    result = CliRunner().invoke(command, line.split())
    assert result.exit_code == 0, (result.output, result.exception)


def test_encode_uses_the_prompts_on_both_sides(case: Path) -> None:
    from sentence_transformers import SentenceTransformer

    invoke(encode.main, "queries --topics queries.tsv --encoder out/model --output out/q")
    documents = "input --corpus docs.jsonl output --embeddings out/d encoder --encoder out/model --precision fp32"
    invoke(encode.main, documents)
    model = SentenceTransformer("out/model", device="cpu")
    table = pandas.read_pickle("out/q/embedding.pkl")
    assert np.stack(table["embedding"])[0] @ model.encode_query(table["text"].iloc[0]) > 0.9999
    vector = np.array(json.loads(Path("out/d/embeddings.jsonl").read_text().splitlines()[0])["vector"])
    text = json.loads(Path("docs.jsonl").read_text().splitlines()[0])["contents"]
    assert vector @ model.encode_document(text) > 0.9999
    recorded = json.loads(Path("out/q/retriever.json").read_text())
    assert (recorded["query_prompt"], recorded["document_prompt"]) == (
        model.prompts["query"],
        model.prompts["document"],
    )
    invoke(encode.main, "queries --topics queries.tsv --encoder out/model --query-prefix find --output out/q2")
    query = np.stack(pandas.read_pickle("out/q2/embedding.pkl")["embedding"])[0]
    assert query @ model.encode(table["text"].iloc[0], prompt="find ") > 0.9999


@pytest.mark.skipif(find_java() is None, reason="no Java 21 or newer on this machine")
def test_search_and_rerank_use_the_prompts_too(case: Path) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer("out/model", device="cpu")
    query_id, query = Path("queries.tsv").read_text().splitlines()[0].split("\t")
    record = json.loads(Path("docs.jsonl").read_text().splitlines()[0])
    expected = float(model.encode_query(query) @ model.encode_document(record["contents"]))
    index = "input --corpus docs.jsonl output --embeddings out/index --to-faiss encoder --encoder out/model"
    invoke(encode.main, f"{index} --precision fp32")
    invoke(
        search.main, "faiss --index out/index --encoder out/model --topics queries.tsv --hits 1000 --output run.trec"
    )
    assert read_run("run.trec")[query_id][record["id"]] == pytest.approx(expected, abs=1e-4)
    Path("collection").mkdir()
    lines = [json.loads(line) for line in Path("docs.jsonl").read_text().splitlines()]
    beir = [{"_id": line["id"], "title": "", "text": line["contents"]} for line in lines]
    Path("collection/corpus.jsonl").write_text("".join(json.dumps(line) + "\n" for line in beir))
    Path("collection/queries.jsonl").write_text("")
    invoke(
        rerank.main,
        "--run run.trec --topics queries.tsv --collection collection --encoder out/model --output reranked.trec "
        "--precision fp32",
    )
    assert read_run("reranked.trec")[query_id][record["id"]] == pytest.approx(expected, abs=1e-4)
