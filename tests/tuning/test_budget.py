"""From a share to dimensions: the paper's on bert-base, the same share elsewhere."""

from __future__ import annotations

import pytest

from iaa_retrieval.errors import UsageError
from iaa_retrieval.tuning.budget import choose_dimensions, parse_budget
from iaa_retrieval.tuning.methods import get_method, method_names

BERT_BASE = (768, 12, 109_482_240)
MINILM = (384, 6, 22_713_216)
SIZED = [name for name in method_names() if get_method(name).dimension_names]


@pytest.mark.parametrize(("text", "fraction"), [("0.5%", 0.005), (" 6.7 % ", 0.067), ("100%", 1.0), (".09%", 0.0009)])
def test_a_share_is_read(text: str, fraction: float):
    assert parse_budget(text) == pytest.approx(fraction)


@pytest.mark.parametrize("text", ["0.5", "", "%", "0%", "-1%", "101%", "nan%", "inf%", "1e3%", "half%"])
def test_what_is_not_a_share_is_refused(text: str):
    with pytest.raises(UsageError, match=r"write it as in 0\.5%"):
        parse_budget(text)


@pytest.mark.parametrize(
    ("method", "budget", "expected"),
    [
        ("prefix", 0.005, {"prefix_length": 32}),
        ("prefix", 0.036, {"prefix_length": 200}),
        ("adapter", 0.005, {"r": 16}),
        ("adapter", 0.067, {"r": 200}),
        ("mam", 0.005, {"r": 16, "prefix_length": 16}),
        ("mam", 0.067, {"r": 200, "prefix_length": 200}),
        ("lora", 0.005, {"r": 16}),
        ("lora", 0.067, {"r": 200}),
        ("iaa-s", 0.005, {"r": 8, "ar": 8}),
        ("iaa-s", 0.067, {"r": 100, "ar": 100}),
        ("iaa-l", 0.005, {"r": 12, "ar": 12}),
        ("iaa-l", 0.067, {"r": 50, "ar": 300}),
        ("iaa-m", 0.005, {"r": 15, "ar": 24}),
        ("iaa-m", 0.067, {"r": 185, "ar": 360}),
        # half of the smaller share: half the dimensions; twice the larger: twice
        ("adapter", 0.0025, {"r": 8}),
        ("iaa-l", 0.134, {"r": 100, "ar": 600}),
        # halfway between the shares (3.6%): halfway between the dimensions
        ("adapter", 0.036, {"r": 108}),
        ("iaa-l", 0.036, {"r": 31, "ar": 156}),
        ("bitfit", 0.0009, {}),  # the nominal 0.09% of the paper; 102,912 biases are 0.094%
        ("full", 1.0, {}),
    ],
)
def test_on_bert_base(method: str, budget: float, expected: dict[str, int]):
    assert choose_dimensions(method, budget, *BERT_BASE) == expected


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        # bert-base's 589,824 / 109,482,240 of 22,713,216 is 122,366 weights, at 4 * 384 * 6 = 9,216 each
        ("adapter", {"r": 13}),
        ("lora", {"r": 13}),
        ("prefix", {"prefix_length": 27}),  # 26.6, at 2 * 384 * 6 = 4,608 each
        # 15 * 9,216 + 24 * 768 = 156,672 weights shrink by 122,366 / 156,672 = 0.781, so 11.7 and 18.7
        ("iaa-m", {"r": 12, "ar": 19}),
    ],
)
def test_on_minilm(method: str, expected: dict[str, int]):
    assert choose_dimensions(method, 0.005, *MINILM) == expected


@pytest.mark.parametrize("method", SIZED)
@pytest.mark.parametrize("backbone", [BERT_BASE, MINILM])
def test_more_budget_never_trains_less_and_the_share_is_met(method: str, backbone: tuple[int, int, int]):
    hidden_size, layers, parameters = backbone
    before: dict[str, int] = {}
    for per_mille in range(1, 120):
        dimensions = choose_dimensions(method, per_mille / 1000, *backbone)
        assert all(dimensions[name] >= before.get(name, 1) for name in dimensions)
        before = dimensions
        if per_mille >= 10:
            share = get_method(method).weight_count(hidden_size, layers, dimensions) / parameters
            assert share == pytest.approx(per_mille / 1000, rel=0.25)  # the paper's own are up to 21% off


@pytest.mark.parametrize("method", SIZED)
def test_a_dimension_is_at_least_one(method: str):
    assert set(choose_dimensions(method, 1e-6, *MINILM).values()) == {1}


@pytest.mark.parametrize(
    ("method", "budget", "message"),
    [
        ("full", 0.5, "full trains 100%"),
        ("bitfit", 0.0005, r"bitfit always trains 0\.09% of this backbone, more than 0\.05%"),
        ("lora", 0.0, "above 0 and up to 1"),
        ("lora", 5.0, "above 0 and up to 1"),
        ("lora", float("nan"), "above 0 and up to 1"),
        ("nothing", 0.5, "unknown tuning method"),
    ],
)
def test_a_budget_that_cannot_be_meant(method: str, budget: float, message: str):
    with pytest.raises(UsageError, match=message):
        choose_dimensions(method, budget, *BERT_BASE)
