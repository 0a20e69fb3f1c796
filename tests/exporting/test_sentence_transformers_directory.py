"""sentence-transformers itself loads the directory and gives our vectors and scores."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import TEXTS, trained, with_other_settings
from sentence_transformers import CrossEncoder, SentenceTransformer

from iaa_retrieval.errors import UsageError
from iaa_retrieval.inference.pair_scorer import score_pairs
from iaa_retrieval.inference.text_encoder import encode_passages, encode_queries
from iaa_retrieval.jobs.export import ExportOptions, export
from iaa_retrieval.models.bi_encoder import load_bi_encoder

MERGED = ("full", "bitfit", "lora")
UNMERGED = ("prefix", "adapter", "mam", "iaa-s", "iaa-l", "iaa-m")
PAIRS = [("water in the world", text) for text in TEXTS]
LONG = "people need air and " * 12  # longer than a query may be, shorter than a passage


def moved(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Somewhere else than where it was written, with the current directory somewhere else too."""
    monkeypatch.chdir(tmp_path.parent)
    return str(shutil.move(path, tmp_path / "moved"))


@pytest.mark.parametrize("method", MERGED + UNMERGED)
def test_a_sentence_transformer_gives_our_vectors(
    method: str, exported: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path, model, report = exported("sentence-transformers", "bi-encoder", method)
    assert report.merged == (method in MERGED)
    loaded = SentenceTransformer(moved(path, tmp_path, monkeypatch), device="cpu")
    texts = [*TEXTS, LONG]
    np.testing.assert_allclose(loaded.encode_document(texts), encode_passages(model, texts), atol=1e-5)
    np.testing.assert_allclose(loaded.encode_query(texts), encode_queries(model, texts), atol=1e-5)
    np.testing.assert_allclose(loaded.encode(texts), encode_passages(model, texts), atol=1e-5)
    assert loaded.max_seq_length == 64
    assert np.abs(loaded.encode_query([LONG]) - loaded.encode_document([LONG])).max() > 1e-4  # cut at 32


@pytest.mark.parametrize("method", MERGED + UNMERGED)
def test_a_cross_encoder_gives_our_scores(
    method: str, exported: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path, model, _ = exported("sentence-transformers", "cross-encoder", method)
    loaded = CrossEncoder(moved(path, tmp_path, monkeypatch), device="cpu")
    np.testing.assert_allclose(loaded.predict(PAIRS), score_pairs(model, PAIRS), atol=1e-5)


@pytest.mark.parametrize("model_type", ("distilbert", "roberta", "modernbert", "mpnet"))
def test_other_backbones(
    model_type: str, exported: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path, model, _ = exported("sentence-transformers", "bi-encoder", "iaa-l", model_type)
    loaded = SentenceTransformer(moved(path, tmp_path, monkeypatch), device="cpu")
    np.testing.assert_allclose(loaded.encode_document(TEXTS), encode_passages(model, TEXTS), atol=1e-5)


@pytest.mark.parametrize("method", ("lora", "iaa-l"))
@pytest.mark.parametrize(("pooling", "normalize"), (("cls", False), ("last", True)))
def test_pooling_prefixes_and_lengths_come_along(
    method: str, pooling: str, normalize: bool, exported: Callable[..., Any]
):
    path, model, _ = exported(
        "sentence-transformers",
        "bi-encoder",
        method,
        pooling=pooling,
        normalize=normalize,
        query_prefix="find",
        document_prefix="read this",
        document_max_length=40,
    )
    loaded = SentenceTransformer(str(path), device="cpu")
    texts = [*TEXTS, LONG]
    found, expected = loaded.encode_document(texts), encode_passages(model, texts)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(loaded.encode_query(texts), encode_queries(model, texts), atol=1e-5)
    assert np.allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5) == normalize
    np.testing.assert_allclose(loaded.similarity(found, found), expected @ expected.T, atol=1e-4)


@pytest.mark.parametrize("method", ("lora", "iaa-l"))
def test_cut_vectors_are_cut_there_too(method: str, tiny_backbone: Callable[[str], Path], tmp_path: Path):
    done = trained("bi-encoder", method, tiny_backbone("bert"))
    output = tmp_path / "out"
    export(ExportOptions(str(done.path), "sentence-transformers", str(output), truncate_dim=8))
    loaded = SentenceTransformer(str(output), device="cpu")
    expected = encode_passages(done.model.cut_to(8), TEXTS)
    found = loaded.encode_document(TEXTS)
    assert found.shape == (len(TEXTS), 8)
    np.testing.assert_allclose(found / np.linalg.norm(found, axis=1, keepdims=True), expected, atol=1e-5)
    np.testing.assert_allclose(loaded.similarity(found, found), expected @ expected.T, atol=1e-5)
    ours = load_bi_encoder(str(output), precision="fp32", device="cpu")
    np.testing.assert_allclose(encode_passages(ours, TEXTS), expected, atol=1e-5)


def test_who_cannot_cut_gets_no_cut_vectors(tiny_backbone: Callable[[str], Path], tmp_path: Path):
    checkpoint = trained("bi-encoder", "lora", tiny_backbone("bert")).path
    with pytest.raises(UsageError, match=r"are cut to 8 numbers, .* use --format self-contained or sent"):
        export(ExportOptions(str(checkpoint), "merged", str(tmp_path / "out"), truncate_dim=8))
    reranker = trained("cross-encoder", "iaa-l", tiny_backbone("bert")).path
    with pytest.raises(UsageError, match="is a cross-encoder, which makes no vectors"):
        export(ExportOptions(str(reranker), "self-contained", str(tmp_path / "out"), truncate_dim=8))
    assert not (tmp_path / "out").exists()


def test_a_query_prefix_of_a_cross_encoder_is_its_prompt(exported: Callable[..., Any]):
    path, model, _ = exported("sentence-transformers", "cross-encoder", "iaa-l", query_prefix="find")
    loaded = CrossEncoder(str(path), device="cpu")
    np.testing.assert_allclose(loaded.predict(PAIRS), score_pairs(model, PAIRS), atol=1e-5)


def test_a_passage_prefix_of_a_cross_encoder_is_refused(exported: Callable[..., Any], tmp_path: Path):
    with pytest.raises(UsageError, match="puts 'read' before passages"):
        exported("sentence-transformers", "cross-encoder", "iaa-l", document_prefix="read")
    assert not (tmp_path / "exported").exists()


def test_a_template_is_refused(tiny_backbone: Callable[[str], Path], tmp_path: Path):
    whole = trained("cross-encoder", "full", tiny_backbone("bert")).path
    checkpoint = with_other_settings(whole, tmp_path / "templated", pair_template="find {query} in {document}")
    with pytest.raises(UsageError, match="makes one text of query and document by a template"):
        export(ExportOptions(str(checkpoint), "sentence-transformers", str(tmp_path / "out")))


def test_an_untuned_encoder(tiny_backbone: Callable[[str], Path], tmp_path: Path):
    export(ExportOptions(str(tiny_backbone("bert")), "sentence-transformers", str(tmp_path / "out")))
    plain = load_bi_encoder(str(tiny_backbone("bert")), precision="fp32", device="cpu")
    loaded = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    np.testing.assert_allclose(loaded.encode(TEXTS), encode_passages(plain, TEXTS), atol=1e-5)


FRESH = """
import sys
from sentence_transformers import SentenceTransformer
print("RESULT", *SentenceTransformer(sys.argv[1], device="cpu").encode_query(["water in the world"])[0].tolist())
assert not any(name.startswith("iaa_retrieval") for name in sys.modules)
"""


def test_a_merged_one_loads_without_our_package(exported: Callable[..., Any], tmp_path: Path):
    path, model, _ = exported("sentence-transformers", "bi-encoder", "lora")
    assert "iaa_retrieval" not in (path / "README.md").read_text()
    done = subprocess.run(
        [sys.executable, "-c", FRESH, str(path)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    expected = encode_queries(model, ["water in the world"])[0]
    np.testing.assert_allclose(np.array(line.split()[1:], dtype=np.float32), expected, atol=1e-5)


def test_an_unmerged_one_is_a_checkpoint_of_ours_too(exported: Callable[..., Any]):
    path, model, _ = exported("sentence-transformers", "bi-encoder", "iaa-l")
    loaded = load_bi_encoder(str(path), precision="fp32", device="cpu")
    np.testing.assert_allclose(encode_passages(loaded, TEXTS), encode_passages(model, TEXTS), atol=1e-6)
    assert json.loads((path / "adapter_config.json").read_text())["base_model_name_or_path"] == "./backbone"
    assert "import iaa_retrieval" in (path / "README.md").read_text()
