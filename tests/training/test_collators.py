from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from iaa_retrieval.models.bi_encoder import BiEncoder, load_bi_encoder
from iaa_retrieval.models.new_retriever import new_cross_encoder
from iaa_retrieval.training.collators import BiEncoderCollator, CrossEncoderCollator
from iaa_retrieval.training.data import Example, TrainingData
from iaa_retrieval.training.objectives import NO_DOCUMENT, known_positives

DATA = TrainingData(
    queries={"q1": "the sound", "q2": "water"},
    passages={"d1": "sound", "d2": "place made live", "d3": "water over", "d4": "first"},
    positives={"q1": ["d1", "d3"], "q2": ["d3"]},
    negatives={"q1": ["d2"], "q2": ["d4"]},
)
# Word ids of the tiny tokenizer.
PAD, CLS, SEP, THE = 0, 2, 3, 5


@pytest.fixture(autouse=True)
def no_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iaa_retrieval.inference.batching.WIDTH_STEP", 1)


@pytest.fixture
def bi_encoder(tiny_backbone: Callable[[str], Path]) -> BiEncoder:
    return load_bi_encoder(str(tiny_backbone("bert")), precision="fp32", device="cpu")


def test_bi_encoder_batch(bi_encoder: BiEncoder) -> None:
    word = bi_encoder.tokenizer.get_vocab()
    batch = BiEncoderCollator(bi_encoder, DATA, document_max_length=4)(
        [Example("q1", ["d1", "d2"]), Example("q2", ["d3", "d4"]), Example("q1", ["d3", "d4"])]
    )
    sound, water = word["sound"], word["water"]
    the_sound = [CLS, THE, sound, SEP]
    assert batch["query_ids"].tolist() == [the_sound, [CLS, water, SEP, PAD], the_sound]
    assert batch["query_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 1]]
    assert batch["passage_ids"].tolist() == [
        [CLS, sound, SEP, PAD],
        [CLS, word["place"], word["made"], SEP],  # cut to four tokens
        [CLS, water, word["over"], SEP],
        [CLS, word["first"], SEP, PAD],
        [CLS, water, word["over"], SEP],
        [CLS, word["first"], SEP, PAD],
    ]
    assert batch["passage_mask"].sum(dim=1).tolist() == [3, 4, 4, 3, 4, 3]
    assert batch["positive_index"].tolist() == [0, 2, 4]
    assert batch["passage_keys"].tolist() == [0, 1, 2, 3, 2, 3]
    assert batch["relevant_keys"].tolist() == [[0, 2], [2, NO_DOCUMENT], [0, 2]]
    # q1: d3 is relevant too, in columns 2 and 4; its own positive counts. q2: the second copy of d3 does not count.
    ignore = known_positives(batch["passage_keys"], batch["relevant_keys"], batch["positive_index"])
    assert ignore.int().tolist() == [[0, 0, 1, 0, 1, 0], [0, 0, 0, 0, 1, 0], [1, 0, 1, 0, 0, 0]]
    assert "teacher_scores" not in batch


def test_a_document_that_is_a_query_is_no_negative_of_that_query_in_the_batch(bi_encoder: BiEncoder) -> None:
    """In ArguAna queries are documents: q1 is a positive of q2, and q2 one of its own."""
    data = TrainingData(
        queries={"q1": "the sound", "q2": "water"},
        passages={"d1": "sound", "q1": "the sound", "q2": "water", "d4": "first"},
        positives={"q1": ["d1"], "q2": ["q1", "q2"]},
        negatives={"q1": ["d4"], "q2": ["d4"]},
    )
    batch = BiEncoderCollator(bi_encoder, data, document_max_length=8)(
        [Example("q1", ["d1", "d4"]), Example("q2", ["q1", "d4"])]
    )
    ignore = known_positives(batch["passage_keys"], batch["relevant_keys"], batch["positive_index"])
    assert ignore.int().tolist() == [[0, 0, 1, 0], [0, 0, 0, 0]]


def test_teacher_scores_of_a_querys_own_passages(tiny_backbone: Callable[[str], Path], bi_encoder: BiEncoder) -> None:
    data = replace(DATA, teacher={"q1": {"d1": 3.5, "d2": 1, "d4": -1}, "q2": {"d3": 2, "d4": 0.5}})
    examples = [Example("q2", ["d3", "d4"]), Example("q1", ["d1", "d2"])]
    expected = [[2, 0.5], [3.5, 1]]
    cross_encoder = new_cross_encoder(str(tiny_backbone("bert")))
    assert BiEncoderCollator(bi_encoder, data, 8)(examples)["teacher_scores"].tolist() == expected
    assert CrossEncoderCollator(cross_encoder, data, 8)(examples)["teacher_scores"].tolist() == expected


def test_groups_of_different_length_and_prefixes(bi_encoder: BiEncoder) -> None:
    bi_encoder.config = replace(bi_encoder.config, query_prefix="find", document_prefix="say")
    word = bi_encoder.tokenizer.get_vocab()
    batch = BiEncoderCollator(bi_encoder, DATA, document_max_length=8)(
        [Example("q1", ["d1"]), Example("q2", ["d3", "d4", "d2"])]
    )
    assert batch["positive_index"].tolist() == [0, 1]
    assert batch["query_ids"][1].tolist() == [CLS, word["find"], word["water"], SEP, PAD]
    assert batch["passage_ids"][0].tolist() == [CLS, word["say"], word["sound"], SEP, PAD, PAD]


def test_cross_encoder_batch(tiny_backbone: Callable[[str], Path]) -> None:
    cross_encoder = new_cross_encoder(str(tiny_backbone("bert")))
    word = cross_encoder.tokenizer.get_vocab()
    batch = CrossEncoderCollator(cross_encoder, DATA, max_length=8)(
        [Example("q1", ["d1", "d2", "d4"]), Example("q2", ["d3", "d4"])]
    )
    assert int(batch["group_size"]) == 2  # that of the shorter group
    sound, water, over = word["sound"], word["water"], word["over"]
    assert batch["input_ids"].tolist() == [
        [CLS, THE, sound, SEP, sound, SEP, PAD, PAD],
        [CLS, THE, sound, SEP, word["place"], word["made"], word["live"], SEP],
        [CLS, water, SEP, water, over, SEP, PAD, PAD],
        [CLS, water, SEP, word["first"], SEP, PAD, PAD, PAD],
    ]
    assert batch["attention_mask"].sum(dim=1).tolist() == [6, 8, 6, 5]
    assert batch["token_type_ids"][2].tolist() == [0, 0, 0, 1, 1, 1, 0, 0]


def test_segments_only_where_the_backbone_has_them(tiny_backbone: Callable[[str], Path]) -> None:
    cross_encoder = new_cross_encoder(str(tiny_backbone("distilbert")))
    batch = CrossEncoderCollator(cross_encoder, DATA, max_length=8)([Example("q1", ["d1", "d2"])])
    assert set(batch) == {"input_ids", "attention_mask", "group_size"}
