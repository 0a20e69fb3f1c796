"""Vectors and scores do not depend on how texts are batched, come in order, and follow prefixes and lengths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import TEXTS, trained

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.inference.pair_scorer import score_pairs
from iaa_retrieval.inference.text_encoder import encode_passages, encode_queries
from iaa_retrieval.inference.tokens import tokenize_pairs, tokenize_texts, with_prefix
from iaa_retrieval.models.bi_encoder import BiEncoder, load_bi_encoder
from iaa_retrieval.models.cross_encoder import CrossEncoder, load_cross_encoder

Backbone = Callable[[str], Path]
CLS, SEP = 2, 3
PAIRS = [("water in the world", text) for text in TEXTS] + [("large house", text) for text in TEXTS]


def changed(encoder: BiEncoder, **settings: object) -> BiEncoder:
    return BiEncoder(encoder.encoder, encoder.tokenizer, replace(encoder.config, **settings), encoder.source)


@pytest.fixture(scope="module")
def plain(tiny_backbone: Backbone) -> BiEncoder:
    return load_bi_encoder(str(tiny_backbone("bert")), pooling="mean", normalize=True, precision="fp32", device="cpu")


@pytest.fixture(scope="module")
def cross(tiny_backbone: Backbone) -> CrossEncoder:
    path = trained("cross-encoder", "iaa-l", tiny_backbone("bert")).path
    return load_cross_encoder(str(path), precision="fp32", device="cpu")


@pytest.mark.parametrize("pooling", ("mean", "cls", "last"))
@pytest.mark.parametrize("model_type", ("bert", "roberta", "distilbert", "modernbert"))
def test_a_vector_does_not_depend_on_its_batch(model_type: str, pooling: str, tiny_backbone: Backbone):
    encoder = load_bi_encoder(str(tiny_backbone(model_type)), pooling=pooling, normalize=True, precision="fp32")
    alone = np.concatenate([encode_passages(encoder, [text]) for text in TEXTS])
    assert alone.shape == (len(TEXTS), 32) and alone.dtype == np.float32
    for batch_size in (1, 2, 64):
        np.testing.assert_allclose(encode_passages(encoder, TEXTS, batch_size=batch_size), alone, atol=1e-6)
    backwards = encode_passages(encoder, TEXTS[::-1])
    np.testing.assert_allclose(backwards[::-1], alone, atol=1e-6)
    np.testing.assert_allclose(alone[0], alone[6], atol=1e-6)  # the same text twice
    assert np.abs(alone[0] - alone[1]).max() > 1e-3


@pytest.mark.parametrize("method", ("prefix", "mam", "iaa-m", "lora"))
def test_a_tuned_vector_does_not_depend_on_its_batch(method: str, tiny_backbone: Backbone):
    encoder = load_bi_encoder(str(trained("bi-encoder", method, tiny_backbone("bert")).path), precision="fp32")
    alone = np.concatenate([encode_passages(encoder, [text]) for text in TEXTS])
    np.testing.assert_allclose(encode_passages(encoder, TEXTS), alone, atol=1e-6)


def test_a_score_does_not_depend_on_its_batch(cross: CrossEncoder):
    alone = np.concatenate([score_pairs(cross, [pair]) for pair in PAIRS])
    for batch_size in (1, 3, 32):
        np.testing.assert_allclose(score_pairs(cross, PAIRS, batch_size=batch_size), alone, atol=1e-5)
    np.testing.assert_allclose(score_pairs(cross, PAIRS[::-1])[::-1], alone, atol=1e-5)
    assert alone.std() > 1e-3


def test_scores_equal_the_classifier_called_by_hand(cross: CrossEncoder):
    for query, passage in PAIRS:
        inputs = cross.tokenizer([query], [passage], return_token_type_ids=True, return_tensors="pt")
        assert 1 in inputs["token_type_ids"]
        with torch.no_grad():
            expected = cross.classifier(**inputs).logits.item()
        assert score_pairs(cross, [(query, passage)])[0] == pytest.approx(expected, abs=1e-5)


def test_no_text_gives_no_vector_and_no_score(plain: BiEncoder, cross: CrossEncoder):
    assert encode_passages(plain, []).shape == (0, 32)
    assert score_pairs(cross, []).shape == (0,)


def test_prefixes_go_before_the_text_with_one_space(plain: BiEncoder):
    assert with_prefix("find", ["a", "b"]) == ["find a", "find b"]
    assert with_prefix("", ["a"]) == ["a"]
    prefixed = changed(plain, query_prefix="find", document_prefix="read")
    np.testing.assert_allclose(encode_queries(prefixed, ["water"]), encode_queries(plain, ["find water"]), atol=1e-6)
    np.testing.assert_allclose(encode_passages(prefixed, ["water"]), encode_passages(plain, ["read water"]), atol=1e-6)


def test_a_cross_encoder_honours_its_prefixes(cross: CrossEncoder):
    config = replace(cross.config, query_prefix="find", document_prefix="read")
    prefixed = CrossEncoder(cross.classifier, cross.tokenizer, config, "prefixed")
    expected = score_pairs(cross, [("find water", "read land")])
    np.testing.assert_allclose(score_pairs(prefixed, [("water", "land")]), expected, atol=1e-6)


def test_what_lies_beyond_the_length_does_not_count(plain: BiEncoder):
    short = changed(plain, query_max_length=4, document_max_length=6)
    # Two tokens are special: two words of a query count and four of a passage.
    texts = ["water land hand world", "water land hand world read"]
    queries, passages = encode_queries(short, ["water land", *texts]), encode_passages(short, texts)
    np.testing.assert_allclose(queries[1:], queries[[0, 0]], atol=1e-6)
    np.testing.assert_allclose(passages[1], passages[0], atol=1e-6)
    assert np.abs(encode_passages(plain, texts)[1] - encode_passages(plain, texts)[0]).max() > 1e-4


def test_token_ids_are_cut_at_the_maximum_with_special_tokens(plain: BiEncoder):
    word = plain.tokenizer.convert_tokens_to_ids("water")
    assert tokenize_texts(plain.tokenizer, ["water water water", "", "water"], 4) == [
        [CLS, word, word, SEP],
        [CLS, SEP],
        [CLS, word, SEP],
    ]
    assert tokenize_texts(plain.tokenizer, ["water"], 9, ["water water"]) == [[CLS, word, SEP, word, word, SEP]]
    assert tokenize_texts(plain.tokenizer, [], 4) == []


def test_a_long_query_is_cut_and_the_passage_fills_the_rest(plain: BiEncoder):
    water, land = plain.tokenizer.convert_tokens_to_ids(["water", "land"])
    pairs = [("water " * 9, "land " * 30), ("water", "land " * 30), ("water", "land")]
    tokens = tokenize_pairs(plain.tokenizer, pairs, max_length=16, query_max_length=5)
    assert tokens.input_ids == [
        [CLS, *[water] * 5, SEP, *[land] * 8, SEP],
        [CLS, water, SEP, *[land] * 12, SEP],
        [CLS, water, SEP, land, SEP],
    ]
    assert tokens.token_type_ids[0] == [0] * 7 + [1] * 9
    half = tokenize_pairs(plain.tokenizer, pairs[:1], max_length=16, query_max_length=64)
    assert half.input_ids[0].count(water) == 8  # never more than half of the pair


def test_weights_that_are_not_numbers_are_noticed(tiny_backbone: Backbone):
    encoder = load_bi_encoder(str(tiny_backbone("bert")), precision="fp32")
    row = encoder.tokenizer.convert_tokens_to_ids("water")
    with torch.no_grad():
        encoder.encoder.embeddings.word_embeddings.weight[row] = float("nan")
    with pytest.raises(IaaRetrievalError, match=r"text number 3; try --precision fp32") as error:
        encode_passages(encoder, ["land", "", "the water", "water"])
    assert str(error.value).startswith(str(tiny_backbone("bert")))


def test_scores_that_are_not_numbers_are_noticed(tiny_backbone: Backbone):
    path = trained("cross-encoder", "iaa-l", tiny_backbone("bert")).path
    model = load_cross_encoder(str(path), precision="fp32")
    with torch.no_grad():
        model.classifier.get_input_embeddings().weight[model.tokenizer.convert_tokens_to_ids("water")] = float("inf")
    with pytest.raises(IaaRetrievalError, match="not finite for query 'hand' and passage 'the water'") as error:
        score_pairs(model, [("hand", "land"), ("hand", "the water")])
    assert str(error.value).startswith(str(path))
