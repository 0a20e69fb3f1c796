"""onnxruntime gives our vectors and scores, at batch sizes and lengths that the exporter never saw."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import TEXTS
from exports import train

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.exporting import onnx_graph
from iaa_retrieval.inference.pair_scorer import score_pairs
from iaa_retrieval.inference.text_encoder import encode_passages
from iaa_retrieval.jobs.export import ExportOptions, export
from iaa_retrieval.models.backbone import MINILM
from iaa_retrieval.models.bi_encoder import BiEncoder, load_bi_encoder

pytest.importorskip("onnx", reason="exporting to ONNX needs the package onnx")

METHODS = ("full", "bitfit", "prefix", "adapter", "mam", "lora", "iaa-s", "iaa-l", "iaa-m")
PAIRS = [("water in the world", text) for text in TEXTS]


def run_onnx(path: Path, *texts: list[str]) -> np.ndarray:
    """What the directory gives on its own: its tokenizer, and onnxruntime."""
    import onnxruntime
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path)
    session = onnxruntime.InferenceSession(str(path / "model.onnx"), providers=["CPUExecutionProvider"])
    inputs = tokenizer(*texts, padding=True, truncation=True, return_tensors="np")
    output: np.ndarray = session.run(None, dict(inputs))[0]
    return output


@pytest.mark.parametrize("method", METHODS)
def test_vectors_of_every_method(method: str, exported: Callable[..., Any]):
    path, model, report = exported("onnx", "bi-encoder", method)
    expected = encode_passages(model, TEXTS)
    np.testing.assert_allclose(run_onnx(path, TEXTS), expected, atol=1e-5)
    np.testing.assert_allclose(run_onnx(path, TEXTS[1:2]), expected[1:2], atol=1e-5)
    record = json.loads((path / "export.json").read_text())
    assert record["parity"]["max_abs_difference"] == report.max_abs_difference < 1e-5
    assert record["parity"]["batches"] == ["1x3", "2x17", "5x32", "3x64"]


@pytest.mark.parametrize("method", METHODS)
def test_scores_of_every_method(method: str, exported: Callable[..., Any]):
    path, model, _ = exported("onnx", "cross-encoder", method)
    queries, passages = (list(side) for side in zip(*PAIRS, strict=True))
    scores = run_onnx(path, queries, passages)
    assert scores.shape == (len(PAIRS),)
    np.testing.assert_allclose(scores, score_pairs(model, PAIRS), atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "model_type", "method"),
    [
        *(("bi-encoder", model_type, "iaa-l") for model_type in ("distilbert", "modernbert", "mpnet", "electra")),
        *(("cross-encoder", model_type, "iaa-l") for model_type in ("roberta", "mpnet")),
        ("bi-encoder", "modernbert", "iaa-m"),
        ("bi-encoder", "roberta", "mam"),
        ("bi-encoder", "mpnet", "mam"),
        ("cross-encoder", "distilbert", "iaa-s"),
        ("cross-encoder", "distilbert", "prefix"),
        ("cross-encoder", "modernbert", "mam"),
    ],
)
def test_other_backbones(kind: str, model_type: str, method: str, exported: Callable[..., Any]):
    path, model, _ = exported("onnx", kind, method, model_type)
    if kind == "bi-encoder":
        np.testing.assert_allclose(run_onnx(path, TEXTS), encode_passages(model, TEXTS), atol=1e-5)
    else:
        sides = [list(side) for side in zip(*PAIRS, strict=True)]
        np.testing.assert_allclose(run_onnx(path, *sides), score_pairs(model, PAIRS), atol=1e-5)


@pytest.mark.parametrize("pooling", ("cls", "last"))
def test_pooling_is_part_of_the_graph(pooling: str, exported: Callable[..., Any]):
    path, model, _ = exported("onnx", "bi-encoder", "iaa-l", pooling=pooling, normalize=False)
    vectors = run_onnx(path, TEXTS)
    np.testing.assert_allclose(vectors, encode_passages(model, TEXTS), atol=1e-5)
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1.0).max() > 1e-2


def test_what_onnx_has_no_operator_for_is_merged_away(tiny_backbone: Callable[[str], Path], tmp_path: Path):
    checkpoint = tmp_path / "checkpoint"
    train(checkpoint, str(tiny_backbone("bert")), peft_config={"peft_type": "FOURIERFT", "n_frequency": 20})
    export(ExportOptions(str(checkpoint), "onnx", str(tmp_path / "out")))
    model = load_bi_encoder(str(checkpoint), precision="fp32", device="cpu")
    np.testing.assert_allclose(run_onnx(tmp_path / "out", TEXTS), encode_passages(model, TEXTS), atol=1e-5)


def test_what_onnx_has_no_operator_for_is_one_line(
    exported: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    forward = BiEncoder.forward
    monkeypatch.setattr(BiEncoder, "forward", lambda *inputs, **names: torch.fft.ifft2(forward(*inputs, **names)).real)
    with pytest.raises(IaaRetrievalError, match="has no ONNX graph: Exporting the operator 'aten::fft_ifft2'"):
        exported("onnx", "bi-encoder", "iaa-l")
    assert not (tmp_path / "exported").exists()


def test_an_untuned_encoder(tiny_backbone: Callable[[str], Path], tmp_path: Path):
    export(ExportOptions(str(tiny_backbone("bert")), "onnx", str(tmp_path / "out")))
    plain = load_bi_encoder(str(tiny_backbone("bert")), precision="fp32", device="cpu")
    np.testing.assert_allclose(run_onnx(tmp_path / "out", TEXTS), encode_passages(plain, TEXTS), atol=1e-5)


def test_iaa_l_on_minilm_and_real_text(tmp_path: Path):
    checkpoint, output = tmp_path / "checkpoint", tmp_path / "exported"
    train(checkpoint, MINILM, method="iaa-l")
    export(ExportOptions(str(checkpoint), "onnx", str(output)))
    texts = [
        "What is the capital of France?",
        "Paris has been the capital for most of a thousand years; the court was at Versailles for one of them. " * 20,
        "Hm",
    ]
    expected = encode_passages(load_bi_encoder(str(checkpoint), precision="fp32", device="cpu"), texts)
    untuned = encode_passages(load_bi_encoder(MINILM, precision="fp32", device="cpu"), texts)
    np.testing.assert_allclose(run_onnx(output, texts), expected, atol=1e-5)
    assert np.abs(expected - untuned).max() > 1e-3


def test_a_graph_that_computes_something_else_is_not_written(
    exported: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    right = onnx_graph.OnnxRunner.run
    monkeypatch.setattr(onnx_graph.OnnxRunner, "run", lambda self, inputs: right(self, inputs) + 3e-4)
    with pytest.raises(IaaRetrievalError, match=r"differs from the model by 3\.0e-04 for 1x3 tokens, above 1e-04"):
        exported("onnx", "bi-encoder", "iaa-l")
    assert not (tmp_path / "exported").exists()


def test_a_graph_that_does_not_run_is_one_line(tmp_path: Path):
    """A traced constant: this graph only takes as many texts as it was traced with."""
    path = tmp_path / "model.onnx"
    three = torch.nn.Linear(3, 3)
    torch.onnx.export(three, (torch.zeros(2, 3),), str(path), input_names=["input_ids"], dynamo=False)
    with pytest.raises(IaaRetrievalError, match="onnxruntime cannot run the ONNX graph on 5x3 tokens"):
        onnx_graph.OnnxRunner(tmp_path).run({"input_ids": torch.zeros(5, 3)})


@pytest.mark.parametrize("package", ("onnx", "onnxruntime"))
def test_a_missing_package_is_one_line(
    package: str, exported: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == package else find(name, *rest))
    with pytest.raises(IaaRetrievalError) as error:
        exported("onnx", "bi-encoder", "iaa-l")
    assert str(error.value) == f"ONNX needs the package {package}; pip install 'iaa-retrieval[onnx]'"
    assert not (tmp_path / "exported").exists()
