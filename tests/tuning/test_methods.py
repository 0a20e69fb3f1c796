"""The registry: what it holds, what it refuses, and that it counts what a bert-base really trains."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from transformers import AutoConfig, AutoModel

from iaa_retrieval.errors import UsageError
from iaa_retrieval.tuning.apply import apply_method, count_trainable
from iaa_retrieval.tuning.methods import get_method, method_names, register

# (method, dimensions, weights, biases of the bottlenecks) on bert-base: hidden size 768, 12 layers.
ON_BERT_BASE = [
    ("full", {}, 109_482_240, 0),
    ("bitfit", {}, 102_912, 0),
    ("prefix", {"prefix_length": 32}, 589_824, 0),
    ("prefix", {"prefix_length": 200}, 3_686_400, 0),
    ("adapter", {"r": 16}, 589_824, 24 * (768 + 16)),
    ("adapter", {"r": 200}, 7_372_800, 24 * (768 + 200)),
    ("mam", {"r": 16, "prefix_length": 16}, 589_824, 12 * (768 + 16)),
    ("mam", {"r": 200, "prefix_length": 200}, 7_372_800, 12 * (768 + 200)),
    ("lora", {"r": 16}, 589_824, 0),
    ("lora", {"r": 200}, 7_372_800, 0),
    ("iaa-s", {"r": 8, "ar": 8}, 589_824, 48 * (768 + 8)),
    ("iaa-s", {"r": 100, "ar": 100}, 7_372_800, 48 * (768 + 100)),
    ("iaa-l", {"r": 12, "ar": 12}, 663_552, 36 * (768 + 12)),
    ("iaa-l", {"r": 50, "ar": 300}, 7_372_800, 24 * (768 + 50) + 12 * (768 + 300)),
    ("iaa-m", {"r": 15, "ar": 24}, 589_824, 24 * (768 + 15) + (768 + 24)),
    ("iaa-m", {"r": 185, "ar": 360}, 7_372_800, 24 * (768 + 185) + (768 + 360)),
    ("iaa-m", {"r": 185, "ar": 960}, 8_294_400, 24 * (768 + 185) + (768 + 960)),
]


@pytest.mark.parametrize(("method", "dimensions", "weights", "biases"), ON_BERT_BASE)
def test_counts_on_bert_base(method: str, dimensions: dict[str, int], weights: int, biases: int):
    with torch.device("meta"):
        model = AutoModel.from_config(AutoConfig.for_model("bert"))  # whose defaults are bert-base
        tuned = apply_method(model, method, dimensions)
    assert count_trainable(tuned, method) == {"weights": weights, "biases": biases, "heads": 0}
    assert get_method(method).weight_count(768, 12, dimensions) == weights


def test_every_method_is_tested_above():
    assert tuple(dict.fromkeys(row[0] for row in ON_BERT_BASE)) == method_names()


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(UsageError, match=r"'iaa-x'; known: full, bitfit, prefix, adapter, .*iaa-m"):
        get_method("iaa-x")


def test_a_duplicate_is_refused():
    with pytest.raises(UsageError, match="'lora' already"):
        register(dataclasses.replace(get_method("adapter"), name="lora"))
    assert get_method("lora").title == "LoRA"


@pytest.mark.parametrize(
    ("method", "dimensions", "message"),
    [
        ("iaa-l", {"r": 8}, "iaa-l takes r, ar; given: r"),
        ("lora", {"r": 8, "ar": 8}, "lora takes r; given: ar, r"),
        ("bitfit", {"r": 8}, "bitfit takes no dimension; given: r"),
        ("adapter", {"r": 0}, "r of method adapter must be a positive integer, got 0"),
        ("adapter", {"r": 1.5}, "positive integer, got 1.5"),
    ],
)
def test_dimensions_that_cannot_be_meant(method: str, dimensions: dict[str, int], message: str):
    with pytest.raises(UsageError, match=message):
        get_method(method).check(dimensions)


def test_dimensions_come_back_in_the_methods_own_order():
    assert list(get_method("iaa-m").check({"ar": 2, "r": 1})) == ["r", "ar"]


def test_mergeable_methods():
    mergeable = {name for name in method_names() if get_method(name).place.mergeable}
    assert mergeable == {"full", "bitfit", "lora"}
