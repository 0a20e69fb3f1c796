"""A decoder through the rest of the package: a budget, separate encoders, one backbone for many, exports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import TEXTS, trained, write_collection
from peft import PeftModel
from transformers import AutoModel
from tuning_models import Backbone

from iaa_retrieval.inference.adapter_server import AdapterServer
from iaa_retrieval.inference.text_encoder import encode_passages, encode_queries
from iaa_retrieval.jobs.export import ExportOptions, export
from iaa_retrieval.models.bi_encoder import load_bi_encoder
from iaa_retrieval.training.options import TrainOptions
from iaa_retrieval.training.run import train_retriever

METHODS = ("iaa-l", "iaa-m", "mam", "lora")


@pytest.mark.parametrize("method", METHODS)
def test_a_checkpoint_gives_what_was_trained(method: str, tiny_backbone: Backbone):
    done = trained("bi-encoder", method, tiny_backbone("qwen3"))
    loaded = load_bi_encoder(str(done.path), precision="fp32", device="cpu")
    np.testing.assert_allclose(encode_passages(loaded, TEXTS), encode_passages(done.model, TEXTS), atol=1e-6)


def test_many_adapters_on_one_decoder(tiny_backbone: Backbone):
    server = AdapterServer(str(tiny_backbone("qwen3")), precision="fp32", device="cpu")
    for method in METHODS:
        server.load(method, trained("bi-encoder", method, tiny_backbone("qwen3")).path)
    for method in METHODS:
        alone = load_bi_encoder(
            str(trained("bi-encoder", method, tiny_backbone("qwen3")).path), precision="fp32", device="cpu"
        )
        np.testing.assert_array_equal(server.encode_queries(method, TEXTS), encode_queries(alone, TEXTS))


@pytest.mark.parametrize(("form", "method"), [("onnx", "iaa-l"), ("onnx", "mam"), ("merged", "lora")])
def test_exports(form: str, method: str, tiny_backbone: Backbone, tmp_path: Path):
    """Every export is compared with the model before it appears."""
    done = trained("bi-encoder", method, tiny_backbone("qwen3"))
    report = export(ExportOptions(str(done.path), form, str(tmp_path / "out")))
    assert report.max_abs_difference < 1e-5


@pytest.mark.parametrize("chosen", [{"method": "mam", "budget": "2%"}, {"peft_config": {"peft_type": "IA3"}}])
def test_separate_encoders(chosen: dict[str, object], tiny_backbone: Backbone, tmp_path: Path):
    collection = write_collection(tmp_path / "collection")
    result = train_retriever(
        TrainOptions.of(
            kind="bi-encoder",
            collection=str(collection),
            split="train",
            output=str(tmp_path / "out"),
            backbone=str(tiny_backbone("qwen3")),
            separate_encoders=True,
            max_steps=2,
            lr=0.05,
            warmup=0.0,
            batch_size=3,
            precision="fp32",
            device="cpu",
            pooling="last",
            **chosen,
        )
    )
    loaded = load_bi_encoder(str(result.output), precision="fp32", device="cpu")
    config = loaded.config
    if "budget" in chosen:
        parameters = sum(p.numel() for p in AutoModel.from_pretrained(tiny_backbone("qwen3")).parameters())
        assert result.trainable_parameters["weights"] / 2 == pytest.approx(0.02 * parameters, rel=0.25)
    for role, encode in (("query", encode_queries), ("passage", encode_passages)):
        by_peft = PeftModel.from_pretrained(AutoModel.from_pretrained(config.backbone), result.output / role).eval()
        for text in TEXTS[:3]:
            inputs = loaded.tokenizer(text, return_tensors="pt", return_token_type_ids=False)
            with torch.no_grad():
                last = by_peft(**inputs).last_hidden_state[0, -1]
            expected = torch.nn.functional.normalize(last, dim=0) if config.normalize else last
            np.testing.assert_allclose(encode(loaded, [text])[0], expected, atol=1e-6)
