"""The file of ``serve --config``: Pyserini's own passes, and what is wrong is named by file and place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from iaa_retrieval.errors import UsageError
from iaa_retrieval.serving.config import IndexEntry, LimitsEntry
from iaa_retrieval.serving.config_file import load_config

WHOLE = """
title: Mine
indexes:
  words: lucene
  vectors: {path: faiss, encoder: tuned}
  graph: {path: graph, index_type: lucene_hnsw, encoder: checkpoint, base_index: words, ef_search: 200}
backbone: backbone
checkpoints: {tuned: checkpoint}
systems:
  first: {label: First, index: words, rerank: tuned}
  second: {label: Second, index: vectors, checkpoint: backbone}
shown: [second]
collection: corpus:test
api_keys: [secret]
limits: {hits: 50, timeout: 5}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("lucene", "faiss", "graph", "backbone", "checkpoint", "corpus"):
        (tmp_path / name).mkdir()
    (tmp_path / "faiss" / "index").touch()
    return tmp_path


def test_the_type_of_an_index_is_seen_in_its_files(folder: Path) -> None:
    path = write(folder, "indexes: {a: graph}\n")
    assert load_config(path).indexes["a"].index_type == "tf"
    (folder / "graph" / "_0_Lucene99HnswVectorsFormat_0.vec").touch()
    assert load_config(path).indexes["a"].index_type == "lucene_flat"
    (folder / "graph" / "_0_Lucene99HnswVectorsFormat_0.vex").touch()
    assert load_config(path).indexes["a"].index_type == "lucene_hnsw"


def write(folder: Path, text: str) -> Path:
    path = folder / "serve.yaml"
    path.write_text(text)
    return path


def test_a_whole_file(folder: Path) -> None:
    config = load_config(write(folder, WHOLE))
    assert {alias: index.index_type for alias, index in config.indexes.items()} == {
        "words": "tf",
        "vectors": "faiss",
        "graph": "lucene_hnsw",
    }
    assert config.indexes["words"].path == str(folder / "lucene")
    assert config.indexes["vectors"].encoder == "tuned"  # a name, though there is no such path either
    assert config.indexes["graph"].encoder == str(folder / "checkpoint")
    assert config.checkpoints == {"tuned": str(folder / "checkpoint")}
    assert config.backbone == str(folder / "backbone")
    assert config.collection == f"{folder / 'corpus'}:test"
    assert (config.limits.hits, config.limits.timeout, config.limits.queue) == (50, 5.0, 32)


def test_a_file_of_pyserini(folder: Path) -> None:
    """As its documentation shows them."""
    text = "indexes:\n  a: lucene\n  b:\n    path: lucene\n    index_type: tf\n  c: {path: faiss, index_type: faiss,\n"
    text += "    base_index: a, encoder: some/encoder}\napi_keys: ['x1', 'x2']\n"
    config = load_config(write(folder, text))
    assert config.indexes["c"].encoder == "some/encoder"
    assert config.api_keys == ["x1", "x2"]


def test_the_file_of_the_page(tmp_path: Path) -> None:
    """docs/serving.md shows every key of an index and of the limits."""
    page = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
    text = page.partition("```yaml\n")[2].partition("```")[0]
    for path in re.findall(r"\bruns/[\w/-]+", text):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "runs/scifact/index/index").touch()
    config = load_config(write(tmp_path, text))
    assert {alias: index.index_type for alias, index in config.indexes.items()}["dense"] == "faiss"
    assert config.indexes["graph"].model_fields_set == set(IndexEntry.model_fields)
    assert config.limits.model_fields_set == set(LimitsEntry.model_fields)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("encoder: tuned", "enocder: tuned", "indexes.vectors.enocder is no known key; did you mean encoder?"),
        ("title: Mine", "titel: Mine", "titel is no known key; did you mean title?"),
        ("{hits: 50,", "{hits: 0,", "limits.hits should be greater than 0, not 0"),
        ("{hits: 50,", "{hits: '50',", "limits.hits should be a valid integer, not '50'"),
        ("lucene_hnsw", "lucene_hnws", "indexes.graph.index_type should be 'tf', 'faiss', 'lucene_hnsw' or"),
        ("  words: lucene\n", "  words: {index_type: tf}\n", "indexes.words: 'path' is missing"),
        ("  words: lucene\n", "  words: lucne\n", "indexes.words.path: .*/lucne is no directory"),
        ("  words: lucene\n", "  a/b: lucene\n", "alias 'a/b' must be a name without /"),
        (
            "encoder: tuned}",
            "index_type: tf}",
            "indexes.vectors.index_type: .*/faiss is an index of type faiss, not tf",
        ),
        ("base_index: words", "base_index: word", "indexes.graph.base_index: there is no 'word', .*mean words"),
        ("base_index: words", "base_index: vectors", "indexes.graph.base_index: 'vectors' stores no documents"),
        ("index: vectors,", "index: vector,", "systems.second.index: there is no 'vector'.*did you mean vectors"),
        ("rerank: tuned", "rerank: tuend", "systems.first.rerank: there is no 'tuend', only backbone, tuned; did"),
        ("shown: [second]", "shown: [third]", r"shown\[0\]: there is no 'third', only first, second"),
        ("{tuned: checkpoint}", "{tuned: checkpoint, backbone: x}", "checkpoints.backbone: the name means"),
        ("[secret]", "['']", "api_keys should be a list of texts"),
        ("[secret]", "['two words']", "api_keys should be a list of texts .* without spaces$"),
        ("[secret]", "secret-text", "api_keys should be a list of texts .* without spaces$"),
        ("title: Mine", "title: Mine\ntitle: Yours", "is malformed: line 3: 'title' is there twice"),
        ("title: Mine", "title: [", "is malformed"),
        (WHOLE, "- a\n", "the file should be"),
        (WHOLE, "", "the file should be"),
        (WHOLE, "title: Nothing\n", "'indexes' is missing"),
        (WHOLE, "indexes: {}\n", "indexes"),
    ],
)
def test_what_is_wrong_is_named(folder: Path, before: str, after: str, message: str) -> None:
    assert before in WHOLE
    path = write(folder, WHOLE.replace(before, after))
    with pytest.raises(UsageError, match=message) as raised:
        load_config(path)
    assert str(raised.value).startswith(str(path)) and "\n" not in str(raised.value)
    assert "two words" not in str(raised.value) and "secret-text" not in str(raised.value)
