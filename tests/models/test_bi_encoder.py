"""Plain encoders: equal to sentence-transformers on real text, and settings that can be meant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.inference.text_encoder import encode_passages
from iaa_retrieval.models.backbone import resolve_backbone
from iaa_retrieval.models.bi_encoder import load_bi_encoder
from iaa_retrieval.models.precision import choose_device, choose_precision

SENTENCES = [
    "Dense retrieval encodes queries and passages into the same vector space.",
    "A cat.",
    "",
    "0-dimensional biomaterials lack inductive properties, says a claim in SciFact.",
    "Ünïcödé and 漢字 — with a naïve façade of punctuation?!",
    "The mitochondrion is the powerhouse of the cell; it produces ATP by oxidative phosphorylation.",
    " ".join(["Adapters are scattered through a frozen network."] * 60),  # longer than the 256 tokens it takes
    "the the the the",
]


@pytest.fixture(scope="module")
def reference() -> np.ndarray:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    model = sentence_transformers.SentenceTransformer(resolve_backbone("all-MiniLM-L6-v2"), device="cpu")
    vectors: np.ndarray = model.encode(SENTENCES)
    return vectors


def test_minilm_in_fp32_equals_sentence_transformers(reference: np.ndarray):
    encoder = load_bi_encoder("all-MiniLM-L6-v2", precision="fp32", device="cpu")
    assert (encoder.config.pooling, encoder.config.normalize, encoder.dimension) == ("mean", True, 384)
    assert (encoder.config.query_max_length, encoder.config.document_max_length) == (256, 256)
    np.testing.assert_allclose(encode_passages(encoder, SENTENCES), reference, atol=1e-5)


def test_minilm_in_bf16_is_close_to_sentence_transformers(reference: np.ndarray):
    encoder = load_bi_encoder("all-MiniLM-L6-v2", precision="bf16", device="cpu")
    vectors = encode_passages(encoder, SENTENCES)
    assert vectors.dtype == np.float32
    assert ((vectors * reference).sum(axis=1) > 0.999).all()
    assert np.abs(vectors - reference).max() > 1e-5  # it really was bf16


def test_every_setting_of_a_plain_encoder_can_be_chosen(tiny_backbone: Callable[[str], Path]):
    encoder = load_bi_encoder(
        str(tiny_backbone("bert")),
        pooling="last",
        normalize=True,
        query_prefix="find",
        document_prefix="read",
        query_max_length=9,
        document_max_length=17,
        precision="fp32",
    )
    config = encoder.config
    assert (config.pooling, config.normalize) == ("last", True)
    assert (config.query_prefix, config.document_prefix) == ("find", "read")
    assert (config.query_max_length, config.document_max_length) == (9, 17)
    assert not encoder.encoder.training
    np.testing.assert_allclose(np.linalg.norm(encode_passages(encoder, ["water", "land"]), axis=1), 1, atol=1e-6)


def test_the_fingerprint_says_what_a_vector_depends_on(tiny_backbone: Callable[[str], Path]):
    name = str(tiny_backbone("bert"))
    same = [load_bi_encoder(name), load_bi_encoder(name, precision="fp32", document_max_length=20)]
    others = [load_bi_encoder(name, pooling="mean"), load_bi_encoder(name, normalize=True)]
    assert len({encoder.fingerprint for encoder in same}) == 1
    assert len({encoder.fingerprint for encoder in [same[0], *others]}) == 3


@pytest.mark.parametrize(
    ("model_type", "limit"), (("bert", 130), ("roberta", 128), ("mpnet", 128), ("distilbert", 128))
)
def test_lengths_end_where_the_positions_end(model_type: str, limit: int, tiny_backbone: Callable[[str], Path]):
    name = str(tiny_backbone(model_type))
    assert load_bi_encoder(name).config.document_max_length == limit
    encoder = load_bi_encoder(name, document_max_length=limit, precision="fp32")
    assert np.isfinite(encode_passages(encoder, ["water " * 200])).all()
    for length in (limit + 1, 2, 0, -5):
        with pytest.raises(
            UsageError, match=rf"document length {length} is outside what .* takes: 3 to {limit} tokens"
        ):
            load_bi_encoder(name, document_max_length=length)


def test_an_unknown_pooling_is_a_usage_error(tiny_backbone: Callable[[str], Path]):
    with pytest.raises(UsageError, match="unknown pooling 'max'"):
        load_bi_encoder(str(tiny_backbone("bert")), pooling="max")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_what_only_a_gpu_can_do_is_refused_without_one():
    assert choose_device("auto") == "cpu"
    with pytest.raises(IaaRetrievalError, match="cuda:0 was asked for"):
        choose_device("cuda:0")
    with pytest.raises(UsageError, match="fp16 needs a GPU"):
        choose_precision("fp16", "cpu")
    with pytest.raises(UsageError, match="unknown precision 'int8'"):
        choose_precision("int8")


@pytest.mark.parametrize(("native", "chosen"), ((True, "bf16"), (False, "fp32")))
def test_auto_is_bf16_only_where_the_cpu_multiplies_it(native: bool, chosen: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("iaa_retrieval.models.precision.cpu_multiplies_bf16", lambda: native)
    assert choose_precision("auto", "cpu") == chosen
    assert choose_precision("fp32", "cpu") == "fp32"
