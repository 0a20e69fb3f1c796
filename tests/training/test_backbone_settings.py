"""A checkpoint is trained with, and records, what its backbone says about its use."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import write_collection
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules

from iaa_retrieval.inference.text_encoder import encode_passages, encode_queries
from iaa_retrieval.models.bi_encoder import load_bi_encoder
from iaa_retrieval.models.retriever import Retriever
from iaa_retrieval.models.retriever_config import read_retriever_config
from iaa_retrieval.options import changed
from iaa_retrieval.training.collators import BiEncoderCollator, CrossEncoderCollator
from iaa_retrieval.training.data import Example, TrainingData
from iaa_retrieval.training.kinds import TRAINING_KINDS
from iaa_retrieval.training.options import TrainOptions
from iaa_retrieval.training.run import train_retriever
from iaa_retrieval.training.tuned_model import new_untuned_model

PROMPTS = {"query": "find: ", "document": "read:"}


def untuned(options: TrainOptions) -> Retriever:
    return new_untuned_model(TRAINING_KINDS[options.kind], options.tuning.backbone, options.text)


@pytest.fixture
def prompted(tiny_backbone: Callable[..., Path], tmp_path: Path) -> Path:
    parts = [
        modules.Transformer(str(tiny_backbone("bert")), max_seq_length=90),
        modules.Pooling(32),
        modules.Normalize(),
    ]
    SentenceTransformer(modules=parts, prompts=PROMPTS, device="cpu").save_pretrained(str(tmp_path / "backbone"))
    return tmp_path / "backbone"


@pytest.fixture
def options(tmp_path: Path, prompted: Path) -> TrainOptions:
    return TrainOptions.of(
        kind="bi-encoder",
        collection=str(write_collection(tmp_path / "collection")),
        output=str(tmp_path / "checkpoint"),
        backbone=str(prompted),
        method="bitfit",
        max_steps=1,
        batch_size=2,
        precision="fp32",
        device="cpu",
    )


def test_a_checkpoint_records_the_prompts_and_lengths_of_its_backbone(options: TrainOptions, caplog: Any):
    with caplog.at_level(logging.WARNING, logger="iaa_retrieval"):
        train_retriever(changed(options, lr=1e-9, query_max_length=6))
    config = read_retriever_config(options.output)
    assert config is not None
    assert (config.query_prompt, config.document_prompt) == ("find: ", "read:")
    assert (config.query_max_length, config.document_max_length) == (6, 90)
    said = [r.getMessage() for r in caplog.records if r.name == "iaa_retrieval" and "cut" in r.getMessage()]
    # "[CLS] find : water in the world [SEP]" has 8 tokens.
    assert len(said) == 1 and said[0].endswith(
        "longer than 6 tokens and were cut (--query-max-length sets another length)"
    )
    # A checkpoint that hardly moved encodes as its backbone does.
    tuned = load_bi_encoder(options.output, query_max_length=90, precision="fp32")
    theirs = SentenceTransformer(options.tuning.backbone, device="cpu")
    texts = ["water in the world", "people and animals"]
    np.testing.assert_allclose(encode_queries(tuned, texts), theirs.encode_query(texts), atol=1e-4)
    np.testing.assert_allclose(encode_passages(tuned, texts), theirs.encode_document(texts), atol=1e-4)


@pytest.mark.parametrize(
    ("given", "query", "document"),
    [
        ({}, "find: ", "read:"),
        ({"query_prefix": ""}, "", "read:"),
        ({"query_prefix": "seek", "document_prefix": "this"}, "seek ", "this "),
    ],
)
def test_a_prefix_that_is_given_takes_the_place_of_the_prompt(
    options: TrainOptions, given: dict[str, str], query: str, document: str
):
    config = untuned(changed(options, **given)).config
    assert (config.query_lead, config.document_lead) == (query, document)


def test_a_backbone_that_says_nothing_keeps_the_defaults_of_training(
    options: TrainOptions, tiny_backbone: Callable[..., Path]
):
    config = untuned(changed(options, backbone=str(tiny_backbone("bert", 300)))).config
    assert (config.pooling, config.normalize) == ("mean", True)
    assert (config.query_max_length, config.document_max_length) == (64, 256)
    cross = untuned(changed(options, kind="cross-encoder")).config
    assert (cross.query_max_length, cross.query_lead, cross.document_lead) == (64, "", "")


@pytest.mark.parametrize("kind", ("bi-encoder", "cross-encoder"))
def test_training_counts_each_text_once(options: TrainOptions, kind: str, caplog: Any):
    model = untuned(changed(options, kind=kind, query_max_length=4, query_prefix="", document_prefix=""))
    data = TrainingData(
        {"q1": "water", "q2": "people and animals in a house"},
        {"d1": "land", "d2": " ".join(["water"] * 40), "d3": "hand"},
        {"q1": ["d1"], "q2": ["d2"]},
        {"q1": ["d2"], "q2": ["d3"]},
    )
    collator = (BiEncoderCollator if kind == "bi-encoder" else CrossEncoderCollator)(model, data, 20)  # type: ignore[arg-type]
    for _ in range(2):
        collator([Example("q1", ["d1", "d2"]), Example("q2", ["d2", "d3"])])
    with caplog.at_level(logging.WARNING, logger="iaa_retrieval"):
        for cuts in collator.cuts:
            cuts.warn()
    of_pairs = "" if kind == "bi-encoder" else "(with their queries) "
    assert [r.getMessage().split(" tokens")[0] for r in caplog.records if r.name == "iaa_retrieval"] == [
        "1 of 2 queries are longer than 4",
        f"1 of 3 documents {of_pairs}seen in training are longer than 20",
    ]
    assert "--train-max-length" in caplog.text
