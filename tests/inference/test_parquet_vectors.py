"""Vectors as Parquet: bit for bit those of the other forms, joined from shards, refused where they are damaged."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from checkpoints import DOCUMENTS, write_collection
from click.testing import CliRunner, Result
from pyarrow import parquet

from iaa_retrieval.encode import main
from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.inference import corpus_encoder
from iaa_retrieval.inference.parquet_vectors import ParquetVectors, write_parquet

Backbone = Callable[..., Path]


def encode(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def succeed(*words: object) -> None:
    result = encode(*words)
    assert result.exit_code == 0, result.output


def failure(code: int, *words: object) -> str:
    result = encode(*words)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


def encoder(backbone: Path) -> list[object]:
    return ["encoder", "--encoder", backbone, "--pooling", "mean", "--l2-norm", "--precision", "fp32"]


def write_table(path: Path, ids: list[Any], vectors: Any, kind: pyarrow.DataType | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    column = pyarrow.array(vectors, kind or pyarrow.list_(pyarrow.float32()))
    parquet.write_table(pyarrow.table({"docid": ids, "vector": column}), path)
    return path


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    return write_collection(tmp_path / "collection")


def test_all_forms_hold_the_same_vectors_to_the_bit(
    collection: Path, tiny_backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import faiss

    monkeypatch.setattr(corpus_encoder, "WINDOW", 3)
    for form in ("--to-parquet", "--to-faiss", None):
        target = ["output", "--embeddings", tmp_path / f"{form}", *([form] if form else [])]
        succeed("input", "--corpus", collection, *target, *encoder(tiny_backbone("bert")))
    file = tmp_path / "--to-parquet" / "vectors.parquet"
    table = parquet.read_table(file)
    vectors = np.array(table["vector"].to_pylist(), dtype=np.float32)
    assert table.schema.types == [pyarrow.string(), pyarrow.list_(pyarrow.float32())]
    assert parquet.ParquetFile(file).num_row_groups == 3  # a window each, so that memory stays constant
    assert table["docid"].to_pylist() == list(DOCUMENTS)
    index = faiss.read_index(str(tmp_path / "--to-faiss" / "index"))
    np.testing.assert_array_equal(vectors, index.reconstruct_n(0, index.ntotal))
    lines = [json.loads(line) for line in (tmp_path / "None" / "embeddings.jsonl").read_text().splitlines()]
    np.testing.assert_array_equal(vectors, np.array([line["vector"] for line in lines], dtype=np.float32))

    succeed("input", "--corpus", file.parent, "output", "--embeddings", tmp_path / "made", "--to-faiss")
    for name in ("index", "docid", "retriever.json"):
        assert (tmp_path / "made" / name).read_bytes() == (tmp_path / "--to-faiss" / name).read_bytes()


def test_shards_become_one_index_and_those_of_two_encoders_do_not(
    collection: Path, tiny_backbone: Backbone, tmp_path: Path
):
    import faiss

    shards = tmp_path / "shards"
    for shard in range(2):
        source = ["input", "--corpus", collection, "--shard-id", shard, "--shard-num", 2]
        target = ["output", "--embeddings", shards / f"{shard}", "--to-parquet"]
        succeed(*source, *target, *encoder(tiny_backbone("bert")))
    succeed("input", "--corpus", shards, "output", "--embeddings", tmp_path / "index", "--to-faiss")
    assert (tmp_path / "index" / "docid").read_text().split() == list(DOCUMENTS)
    assert faiss.read_index(str(tmp_path / "index" / "index")).ntotal == len(DOCUMENTS)
    recorded = [json.loads((path / "retriever.json").read_text()) for path in (shards / "0", tmp_path / "index")]
    assert recorded[0] == recorded[1] and recorded[0]["fingerprint"]

    succeed(
        *("input", "--corpus", collection, "output", "--embeddings", shards / "other", "--to-parquet"),
        *encoder(tiny_backbone("distilbert")),
    )
    message = failure(1, "input", "--corpus", shards, "output", "--embeddings", tmp_path / "mixed", "--to-faiss")
    assert f"{shards / '0'} (encoder " in message and f"{shards / 'other'} (encoder " in message
    assert not (tmp_path / "mixed").exists()


@pytest.mark.parametrize(
    "kind",
    [
        pyarrow.list_(pyarrow.float64()),
        pyarrow.list_(pyarrow.float32(), 3),
        pyarrow.large_list(pyarrow.float16()),
    ],
    ids=str,
)
def test_vectors_of_other_tools_are_read_with_a_warning(
    kind: pyarrow.DataType, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    import faiss

    rows = [[0.0, 1.0, 0.0], [0.5, 0.25, -2.0]]
    values = np.array(rows, dtype=np.float16).tolist() if kind.value_type == pyarrow.float16() else rows
    if kind.value_type == pyarrow.float16():
        values = [[np.float16(number) for number in row] for row in values]
    path = write_table(tmp_path / "v.parquet", [7, 8], values, kind)
    succeed("input", "--corpus", path, "output", "--embeddings", tmp_path / "index", "--to-faiss")
    index = faiss.read_index(str(tmp_path / "index" / "index"))
    np.testing.assert_array_equal(index.reconstruct_n(0, 2), np.array(rows, dtype=np.float32))
    assert (tmp_path / "index" / "docid").read_text() == "7\n8\n"
    assert f"no retriever.json says which encoder made the vectors in {tmp_path}" in caplog.text
    assert not (tmp_path / "index" / "retriever.json").exists()


FINE = [0.6, 0.8]


@pytest.mark.parametrize(
    ("ids", "vectors", "message"),
    [
        (["a", "b", "a"], [FINE] * 3, "document id 'a' occurs twice"),
        (["a", None, "c"], [FINE] * 3, "row 2 has no docid"),
        (["a", "b", "c"], [FINE, None, FINE], "the vector of document b is missing"),
        (["a", "b", "c"], [FINE, FINE, [1.0, None]], "the vector of document c is missing"),
        (["a", "b", "c"], [FINE, [0.5], FINE], "the vector of document b is missing, empty or of another length"),
        (["a", "b", "c"], [FINE, FINE, [float("nan"), 0.0]], "the vector of document c holds a number that is not"),
    ],
)
def test_damaged_vectors_are_named_and_leave_nothing(ids: list[Any], vectors: list[Any], message: str, tmp_path: Path):
    path = write_table(tmp_path / "v.parquet", ids, vectors)
    assert message in failure(1, "input", "--corpus", path, "output", "--embeddings", tmp_path / "i", "--to-faiss")
    assert [entry.name for entry in tmp_path.iterdir()] == ["v.parquet"]


def test_a_length_that_changes_between_files_is_named(tmp_path: Path):
    write_table(tmp_path / "v" / "1.parquet", ["a"], [FINE])
    write_table(tmp_path / "v" / "2.parquet", ["b"], [[1.0, 0.0, 0.0]])
    with pytest.raises(IaaRetrievalError, match="document b has 3 numbers, the first one has 2"):
        list(ParquetVectors(tmp_path / "v").windows())


def test_what_holds_no_vectors_is_said(tmp_path: Path, tiny_backbone: Backbone):
    (tmp_path / "no.parquet").write_text("no Parquet")
    target = ["output", "--embeddings", tmp_path / "index", "--to-faiss"]
    assert "no.parquet is no Parquet file" in failure(1, "input", "--corpus", tmp_path / "no.parquet", *target)
    parquet.write_table(pyarrow.table({"id": ["a"], "vector": [FINE]}), tmp_path / "id.parquet")
    assert "has no column docid (but id, vector)" in failure(1, "input", "--corpus", tmp_path / "id.parquet", *target)
    empty = write_table(tmp_path / "empty.parquet", [], [])
    assert "holds no vector" in failure(1, "input", "--corpus", empty, *target)


def test_vectors_need_no_encoder_and_options_of_documents_are_refused(tmp_path: Path, tiny_backbone: Backbone):
    path = write_table(tmp_path / "v.parquet", ["a"], [FINE])
    source, target = ["input", "--corpus", path], ["output", "--embeddings", tmp_path / "index"]
    cases = [
        ([*source, *target, "--to-faiss", *encoder(tiny_backbone("bert"))], "leave the section encoder out"),
        ([*source, "--fields", "text", *target, "--to-faiss"], "--fields is about documents"),
        ([*source, "--shard-num", "2", *target, "--to-faiss"], "--shard-num is about documents"),
        ([*source, *target, "--to-faiss", "--resume"], "--resume continues an encoding"),
        ([*source, *target], "add --to-faiss, --to-lucene or --to-parquet"),
        ([*source, *target, "--to-faiss", "--to-parquet"], "--to-faiss and --to-parquet are different outputs"),
        ([*source, *target, "--to-parquet", "--index-factory", "HNSW8"], "--index-factory describes a Faiss index"),
        ([*source, *target, "--to-parquet", "--quantize", "int8"], "--quantize is about an index"),
        ([*source, *target, "--to-lucene", "flat", "--hnsw-m", "8"], "--hnsw-m is about a graph"),
    ]
    for words, message in cases:
        assert message in failure(2, *words)
    assert [entry.name for entry in tmp_path.iterdir()] == ["v.parquet"]


def test_an_id_that_is_no_text_is_named(tmp_path: Path):
    with pytest.raises(IaaRetrievalError, match=r"document id 'a\\ud83d' holds half of a character"):
        write_parquet([(np.ones((1, 2), dtype=np.float32), ["a\ud83d"])], tmp_path / "v.parquet")
    assert list(tmp_path.iterdir()) == []


def test_millions_of_vectors_take_constant_memory(tmp_path: Path):
    """Written and read window by window: never more than a few of the twenty windows (8 MiB each) at a time."""
    peaks = []
    pool = pyarrow.default_memory_pool()
    window = np.ones((2048, 1024), dtype=np.float32)

    def windows() -> Any:
        for number in range(20):
            peaks.append(pool.bytes_allocated())
            yield window, [f"{number}-{row}" for row in range(len(window))]

    write_parquet(windows(), tmp_path / "v.parquet")
    for vectors, _ in ParquetVectors(tmp_path / "v.parquet").windows():
        peaks.append(pool.bytes_allocated())
        assert vectors.shape == (2048, 1024)
    assert len(peaks) == 40
    assert max(peaks) < 6 * window.nbytes


def test_a_folder_of_documents_with_parquet_beside_them_is_no_folder_of_vectors(
    collection: Path, tiny_backbone: Backbone, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    write_table(collection / "extra.parquet", ["a"], [FINE])
    target = ["output", "--embeddings", tmp_path / "index", "--to-faiss"]
    succeed("input", "--corpus", collection, *target, *encoder(tiny_backbone("bert")))
    assert (tmp_path / "index" / "docid").read_text().split() == list(DOCUMENTS)
