"""Case 16: a folder of parts is the same documents to every verb, sub-folders included."""

from __future__ import annotations

import json
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from iaa_retrieval.collections.loading import load_collection
from iaa_retrieval.encode import main as encode
from iaa_retrieval.index import main as index
from iaa_retrieval.java import find_java

pytestmark = pytest.mark.usefixtures("same_environment")
needs_java = pytest.mark.skipif(find_java() is None, reason="no Java 21 or newer on this machine")


@pytest.fixture
def folders(reported_cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with ``nested`` and ``mixed`` that the case's script makes."""
    shutil.copytree(reported_cases / "common", tmp_path / "common")
    case = Path(shutil.copytree(reported_cases / "16-nested-directory", tmp_path / "case"))
    monkeypatch.chdir(case)
    runpy.run_path("make.py")
    return case / "out"


def test_encode_reads_sub_folders_and_passes_over_what_is_no_document(
    folders: Path, tiny_backbone: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    corpus = folders.parent.parent / "common" / "beir" / "corpus.jsonl"
    ids = [json.loads(line)["_id"] for line in corpus.read_text().splitlines()]
    for name, expected in (("nested", ids), ("mixed", ids[:10])):
        caplog.clear()
        plain = ["--encoder", str(tiny_backbone("bert")), "--pooling", "mean", "--precision", "fp32", "--device", "cpu"]
        words = ["input", "--corpus", str(folders / name), "output", "--embeddings", str(tmp_path / name)]
        result = CliRunner().invoke(encode, [*words, "encoder", *plain])
        assert result.exit_code == 0 and f"{len(expected)} documents" in result.output, result.output
        encoded = [json.loads(line)["id"] for line in (tmp_path / name / "embeddings.jsonl").read_text().splitlines()]
        assert sorted(encoded) == sorted(expected)
        passed_over = [message for message in caplog.messages if "passed over" in message]
        assert len(passed_over) == (name == "mixed")
        assert name == "nested" or "2 (README.txt, _SUCCESS)" in passed_over[0]
        assert [document.doc_id for document in load_collection(str(folders / name)).documents()] == encoded


@needs_java
def test_index_takes_what_encode_takes(folders: Path) -> None:
    result = CliRunner().invoke(
        index, ["--collection", str(folders / "nested"), "--output", str(folders / "lucene"), "--threads", "1"]
    )
    assert result.exit_code == 0 and "Indexed 40 documents" in result.output, result.output
