"""Case 01: a collection named by its file keeps its titles."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from iaa_retrieval.collections.loading import load_collection
from iaa_retrieval.encode import main

pytestmark = pytest.mark.usefixtures("same_environment")


@pytest.fixture
def beir(reported_cases: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(reported_cases / "common" / "beir", tmp_path / "beir"))


def encode(corpus: Path, output: Path, backbone: Path, *fields: str, encoded: tuple[str, ...] = ()) -> str:
    """What the encoder section made of a corpus: ids, contents and vectors as one text."""
    plain = ["--encoder", str(backbone), "--pooling", "mean", "--precision", "fp32", "--device", "cpu", *encoded]
    words = ["input", "--corpus", str(corpus), *fields, "output", "--embeddings", str(output), "encoder", *plain]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    return (output / "embeddings.jsonl").read_text()


def test_the_file_is_encoded_like_its_folder_and_that_is_said_once(
    beir: Path, tiny_backbone: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "iaa_retrieval")
    backbone = tiny_backbone("bert")
    by_folder = encode(beir, tmp_path / "folder", backbone)
    assert not [message for message in caplog.messages if "titles" in message]
    by_file = encode(beir / "corpus.jsonl", tmp_path / "file", backbone)
    assert by_file == by_folder
    said = f"{beir / 'corpus.jsonl'}: titles are encoded with the texts; input --fields text leaves them out"
    assert [message for message in caplog.messages if "titles" in message] == [f"{said}, like pyserini.encode"]
    (tmp_path / "parts").mkdir()
    shutil.copy(beir / "corpus.jsonl", tmp_path / "parts" / "part-0.jsonl")
    assert encode(tmp_path / "parts", tmp_path / "out", backbone) == by_folder


def test_fields_that_are_named_keep_their_meaning(
    beir: Path, tiny_backbone: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    backbone = tiny_backbone("bert")
    both = ("--fields", "title", "text")
    for corpus in (beir, beir / "corpus.jsonl"):
        out = tmp_path / corpus.name
        default = encode(corpus, out / "default", backbone)
        assert encode(corpus, out / "both", backbone, *both, encoded=both) == default
        text = encode(corpus, out / "text", backbone, "--fields", "text")
        assert text != default and [record_id(line) for line in text.splitlines()] == [
            document.doc_id for document in load_collection(str(corpus)).documents()
        ]
        assert vectors(encode(corpus, out / "encoder", backbone, encoded=("--fields", "text"))) == vectors(text)
        caplog.clear()
        assert vectors(encode(corpus, out / "unsaid", backbone, *both)) == vectors(text)
        assert "the title is among the input fields but not encoded" in caplog.text


def record_id(line: str) -> str:
    return str(json.loads(line)["id"])


def vectors(embeddings: str) -> list[str]:
    return [line.partition('"vector"')[2] for line in embeddings.splitlines()]
