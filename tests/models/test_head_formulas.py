"""What the heads compute, against loops over the backbone's own hidden states."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel

from iaa_retrieval.errors import UsageError
from iaa_retrieval.inference.pair_scorer import score_pairs
from iaa_retrieval.models.bi_encoder import load_bi_encoder
from iaa_retrieval.models.headed_encoder import separator_of
from iaa_retrieval.models.heads.registry import get_head
from iaa_retrieval.models.heads.segments import SegmentsHead
from iaa_retrieval.models.new_retriever import new_cross_encoder
from iaa_retrieval.models.pooling import pool

Backbone = Callable[[str], Path]
# [CLS] query [SEP] document [SEP], with padding behind the second.
IDS = torch.tensor([[2, 9, 12, 3, 8, 30, 31, 3], [2, 11, 3, 7, 3, 0, 0, 0]])
MASK = (IDS != 0).long()
SEGMENTS = torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 0, 0, 0]])
ENDS = ((4, 8), (3, 5))  # of the query's part and of the document's, row by row


def states_and_scores(backbone: Path, head: str) -> tuple[Any, Any, Any]:
    model = new_cross_encoder(str(backbone), head).eval()
    inputs = {"input_ids": IDS, "attention_mask": MASK}
    if "token_type_ids" in model.input_names:
        inputs["token_type_ids"] = SEGMENTS
    encoder = AutoModel.from_pretrained(backbone, dtype=torch.float32).eval()
    with torch.no_grad():
        return model, encoder(**inputs)[0].numpy(), model(**inputs).numpy()


@pytest.mark.parametrize("model_type", ["bert", "distilbert", "roberta", "modernbert"])
def test_the_mean_of_the_real_tokens(model_type: str, tiny_backbone: Backbone) -> None:
    model, states, scores = states_and_scores(tiny_backbone(model_type), "mean")
    linear = model.classifier.relevance_head.linear
    weight, bias = linear.weight[0].tolist(), linear.bias.item()
    assert np.std(weight) == pytest.approx(0.02, rel=0.5) and bias == 0
    for row, (_, end), score in zip(states.tolist(), ENDS, scores, strict=True):
        mean = [sum(token[k] for token in row[:end]) / end for k in range(len(weight))]
        assert score == pytest.approx(sum(w * m for w, m in zip(weight, mean, strict=True)) + bias, abs=1e-5)


@pytest.mark.parametrize("model_type", ["bert", "distilbert", "roberta", "modernbert"])
def test_the_cosine_of_the_segments(model_type: str, tiny_backbone: Backbone) -> None:
    model, states, scores = states_and_scores(tiny_backbone(model_type), "segments")
    head = model.classifier.relevance_head
    for row, (middle, end), score in zip(states, ENDS, scores, strict=True):
        query, document = row[:middle].mean(axis=0), row[middle:end].mean(axis=0)
        cosine = query @ document / math.sqrt((query @ query) * (document @ document))
        assert score == pytest.approx(20 * cosine, abs=1e-4)
    with torch.no_grad():
        head.log_scale.fill_(math.log(3))
        head.bias.fill_(0.5)
        changed = model(input_ids=IDS, attention_mask=MASK, **_segments(model)).numpy()
    np.testing.assert_allclose(changed, scores * 3 / 20 + 0.5, atol=1e-5)


def _segments(model: Any) -> dict[str, torch.Tensor]:
    return {"token_type_ids": SEGMENTS} if "token_type_ids" in model.input_names else {}


def test_separators_tell_the_segments_apart_where_nothing_else_does() -> None:
    head, hidden = SegmentsHead(separator=3), torch.randn(2, 8, 16)
    by_ids = head(hidden, IDS, MASK, SEGMENTS)
    assert torch.equal(head(hidden, IDS, MASK, None), by_ids)
    assert torch.equal(head(hidden, IDS, MASK, torch.zeros_like(IDS)), by_ids)  # of a tokenizer without any
    # RoBERTa has two separators between the two; the second is the document's.
    ids = torch.tensor([[2, 9, 3, 3, 8, 30, 31, 3]])
    query, document = hidden[:1, :3].mean(1), hidden[:1, 3:].mean(1)
    expected = 20 * torch.cosine_similarity(query, document)
    assert torch.allclose(head(hidden[:1], ids, torch.ones_like(ids), None), expected, atol=1e-5)
    # Segment ids win over a separator that stands in the query's text.
    inside = IDS.clone()
    inside[0, 1] = 3
    assert torch.equal(head(hidden, inside, MASK, SEGMENTS), by_ids)


def test_a_pair_without_a_document_has_cosine_0() -> None:
    head = SegmentsHead(separator=3)
    ids = torch.tensor([[2, 9, 3]])
    hidden = torch.randn(1, 3, 16, requires_grad=True)
    score = head(hidden, ids, torch.ones_like(ids), None)
    score.sum().backward()
    assert score.item() == 0 and hidden.grad is not None and torch.isfinite(hidden.grad).all()


def test_it_starts_as_a_bi_encoder_would_compare_the_two_if_it_saw_both(tiny_backbone: Backbone) -> None:
    """The vectors are a bi-encoder's pooling, and the scale is what bi-encoders divide by in training."""
    backbone = tiny_backbone("distilbert")
    _, states, scores = states_and_scores(backbone, "segments")
    bi_encoder = load_bi_encoder(str(backbone), pooling="mean", normalize=True, precision="fp32")
    hidden = torch.tensor(states)
    parts = [torch.zeros_like(MASK) for _ in range(2)]
    for row, (middle, end) in enumerate(ENDS):
        parts[0][row, :middle] = parts[1][row, middle:end] = 1
    query, document = (
        torch.nn.functional.normalize(pool(hidden, part, bi_encoder.config.pooling), dim=-1) for part in parts
    )
    np.testing.assert_allclose(scores, (query * document).sum(-1).numpy() / 0.05, atol=1e-5)


@pytest.mark.parametrize("head", ["mean", "segments"])
def test_padding_and_precision_change_little(head: str, tiny_backbone: Backbone) -> None:
    model = new_cross_encoder(str(tiny_backbone("bert")), head).eval()
    pairs = [("water in the world", "the boy read a good book by the water"), ("land", "light")]
    together = score_pairs(model, pairs)
    alone = [score_pairs(model, [pair])[0] for pair in pairs]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    half = model.to(torch.bfloat16)
    scores = score_pairs(half, pairs)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, together, atol=0.02 * np.abs(together).max() + 0.02)


def test_a_tokenizer_that_joins_without_a_separator_is_refused(tiny_backbone: Backbone) -> None:
    class Joining:
        sep_token_id, eos_token_id = None, 3

        def __call__(self, left: str, right: str) -> dict[str, list[int]]:
            return {"input_ids": [2, 8, 9, 3]}

    with pytest.raises(UsageError, match="puts no token between query and document, which --head segments needs"):
        separator_of(Joining(), "x", get_head("segments"))
    Joining.__call__ = lambda self, left, right: {"input_ids": [8, 3, 9, 3]}  # type: ignore[assignment]
    assert separator_of(Joining(), "x", get_head("segments")) == 3
