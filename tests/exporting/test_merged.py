"""A merged directory is a plain one: stock Pyserini and transformers get our vectors and scores from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import TEXTS
from exports import train
from safetensors import safe_open

from iaa_retrieval.errors import UsageError
from iaa_retrieval.exporting.merged import MergedFormat
from iaa_retrieval.inference.pair_scorer import score_pairs
from iaa_retrieval.inference.text_encoder import encode_passages, encode_queries
from iaa_retrieval.java import find_java
from iaa_retrieval.jobs.export import ExportOptions, export
from iaa_retrieval.models.bi_encoder import load_bi_encoder
from iaa_retrieval.models.cross_encoder import load_cross_encoder
from iaa_retrieval.tuning.methods import get_method, registry

pytestmark = pytest.mark.usefixtures("same_environment")

MERGEABLE = ("full", "bitfit", "lora")
PAIRS = [("water in the world", text) for text in TEXTS]
needs_java = pytest.mark.skipif(find_java() is None, reason="no Java 21 or newer on this machine")


def test_its_help_names_the_methods_that_merge(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(registry._METHODS, "lora-of-mine", replace(get_method("lora"), name="lora-of-mine"))
    assert "for methods that merge: full, bitfit, lora, lora-of-mine and most of PEFT's own" in MergedFormat().help


def stock_encoders(path: Path, **settings: Any) -> tuple[Any, Any]:
    from iaa_retrieval.java import prepare_java

    prepare_java()
    from pyserini.encode import AutoDocumentEncoder, AutoQueryEncoder

    prefixes = {name: settings.pop(name, None) for name in ("query_prefix", "document_prefix")}
    return (
        AutoQueryEncoder(str(path), prefix=prefixes["query_prefix"], **settings),
        AutoDocumentEncoder(str(path), device="cpu", prefix=prefixes["document_prefix"], **settings),
    )


@needs_java
@pytest.mark.parametrize("method", MERGEABLE)
def test_stock_pyserini_gives_our_vectors(method: str, exported: Callable[..., Any]):
    path, model, report = exported("merged", "bi-encoder", method)
    queries, documents = stock_encoders(path, pooling="mean", l2_norm=True)
    expected = encode_passages(model, TEXTS)
    np.testing.assert_allclose(documents.encode(TEXTS, max_length=64), expected, atol=1e-5)
    found = np.stack([queries.encode(text) for text in TEXTS[:4]])
    np.testing.assert_allclose(found, encode_queries(model, TEXTS[:4]), atol=1e-5)
    assert report.merged and report.max_abs_difference < 1e-5


@needs_java
def test_stock_pyserini_with_the_flags_that_the_command_names(exported: Callable[..., Any]):
    settings = {"pooling": "cls", "normalize": False, "query_prefix": "find", "document_prefix": "read"}
    path, model, report = exported("merged", "bi-encoder", "lora", **settings)
    encode, search = report.advice.split("python -m ")[1:]
    for command, prefix in ((encode, "--prefix read"), (search, "--query-prefix find")):
        assert f"--encoder {path} --encoder-class auto --pooling cls" in command and prefix in command
        assert "--l2-norm" not in command
    assert "--max-length 64 --dimension 32" in encode
    assert "python -m pyserini.search.faiss" in (path / "README.md").read_text()
    queries, documents = stock_encoders(path, pooling="cls", l2_norm=False, query_prefix="find", document_prefix="read")
    np.testing.assert_allclose(documents.encode(TEXTS, max_length=64), encode_passages(model, TEXTS), atol=1e-5)
    found = np.stack([queries.encode(text) for text in TEXTS[:3]])
    np.testing.assert_allclose(found, encode_queries(model, TEXTS[:3]), atol=1e-5)


@pytest.mark.parametrize("method", MERGEABLE)
@pytest.mark.parametrize("model_type", ("bert", "distilbert"))
def test_transformers_alone_gives_our_scores(method: str, model_type: str, exported: Callable[..., Any]):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    path, model, _ = exported("merged", "cross-encoder", method, model_type)
    tokenizer = AutoTokenizer.from_pretrained(path)
    network, report = AutoModelForSequenceClassification.from_pretrained(path, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    inputs = tokenizer(*zip(*PAIRS, strict=True), padding=True, truncation=True, return_tensors="pt")
    assert ("token_type_ids" in inputs) == (model_type == "bert")
    with torch.no_grad():
        logits = network.eval()(**inputs).logits[:, 0]
    np.testing.assert_allclose(logits.numpy(), score_pairs(model, PAIRS), atol=1e-5)


def test_saved_heads_are_merged_too(tiny_backbone: Callable[[str], Path], tmp_path: Path):
    """Layer-norm tuning leaves PEFT's wrappers around the head."""
    checkpoint, merged = str(tmp_path / "checkpoint"), str(tmp_path / "merged")
    train(
        tmp_path / "checkpoint",
        str(tiny_backbone("bert")),
        kind="cross-encoder",
        peft_config={"peft_type": "LN_TUNING"},
    )
    export(ExportOptions(checkpoint, "merged", merged))
    models = [load_cross_encoder(path, precision="fp32", device="cpu") for path in (checkpoint, merged)]
    np.testing.assert_allclose(*(score_pairs(model, PAIRS) for model in models), atol=1e-5)


def test_our_own_loaders_take_a_merged_directory(exported: Callable[..., Any]):
    path, model, _ = exported("merged", "bi-encoder", "lora")
    loaded = load_bi_encoder(str(path), precision="fp32", device="cpu")
    np.testing.assert_allclose(encode_passages(loaded, TEXTS), encode_passages(model, TEXTS), atol=1e-5)
    assert loaded.config.method == "lora"
    assert loaded.fingerprint != model.config.fingerprint  # a vector may differ in its last digits


def test_our_own_loader_takes_a_merged_cross_encoder(exported: Callable[..., Any]):
    path, model, _ = exported("merged", "cross-encoder", "bitfit")
    loaded = load_cross_encoder(str(path), precision="fp32", device="cpu")
    np.testing.assert_allclose(score_pairs(loaded, PAIRS), score_pairs(model, PAIRS), atol=1e-5)


def test_nothing_of_the_adapter_is_left(exported: Callable[..., Any], tiny_backbone: Callable[[str], Path]):
    path, _, _ = exported("merged", "bi-encoder", "lora")
    with (
        safe_open(path / "model.safetensors", "pt") as found,
        safe_open(tiny_backbone("bert") / "model.safetensors", "pt") as backbone,
    ):
        assert set(found.keys()) == set(backbone.keys())
    assert not list(path.glob("adapter*"))
    assert json.loads((path / "tokenizer_config.json").read_text())["model_max_length"] == 64


@pytest.mark.parametrize("method", ("prefix", "adapter", "mam", "iaa-s", "iaa-l", "iaa-m"))
def test_a_method_that_does_not_merge_is_refused_by_name(method: str, exported: Callable[..., Any], tmp_path: Path):
    with pytest.raises(UsageError) as error:
        exported("merged", "bi-encoder", method)
    assert str(error.value) == (
        f"method {method} cannot be merged into the backbone's weights; "
        "use --format self-contained, sentence-transformers or onnx"
    )
    assert not (tmp_path / "exported").exists()


def test_an_untuned_encoder_has_nothing_to_merge(tiny_backbone: Callable[[str], Path], tmp_path: Path):
    with pytest.raises(UsageError, match="there is nothing to merge"):
        export(ExportOptions(str(tiny_backbone("bert")), "merged", str(tmp_path / "out")))
