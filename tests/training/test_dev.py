"""Dev scores: what is no hit, and judgments that the collection cannot serve."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from iaa_retrieval.collections.loading import load_collection
from iaa_retrieval.collections.types import Qrels, Run
from iaa_retrieval.models.bi_encoder import BiEncoder, load_bi_encoder
from iaa_retrieval.models.new_retriever import new_cross_encoder
from iaa_retrieval.training import dev, kinds
from iaa_retrieval.training.dev import bi_encoder_dev_evaluator, cross_encoder_dev_evaluator
from iaa_retrieval.training.judgments import Judgments
from iaa_retrieval.training.loop import make_dev_evaluator
from iaa_retrieval.training.options import TrainOptions

TEXTS = {"a": "hot word", "b": "time way", "c": "water call", "d": "people may down"}


@pytest.fixture
def arguana(tmp_path: Path) -> Path:
    """A collection whose queries are its documents a and b; the answer to a is c, to b is d."""
    directory = tmp_path / "arguana"
    (directory / "qrels").mkdir(parents=True)
    for name, ids in (("corpus", "abcd"), ("queries", "ab")):
        lines = "".join(json.dumps({"_id": i, "title": "", "text": TEXTS[i]}) + "\n" for i in ids)
        (directory / f"{name}.jsonl").write_text(lines)
    (directory / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\na\tc\t1\nb\td\t1\n")
    return directory


@pytest.fixture
def bi_encoder(tiny_backbone: Callable[[str], Path]) -> BiEncoder:
    return load_bi_encoder(str(tiny_backbone("bert")), precision="fp32", device="cpu")


def with_scores(monkeypatch: pytest.MonkeyPatch, similarities: dict[str, dict[str, float]]) -> None:
    """Instead of a model: the similarity of each query with the documents a, b, c and d."""
    by_text = {TEXTS[query]: [scores[d] for d in "abcd"] for query, scores in similarities.items()}
    monkeypatch.setattr(
        dev, "encode_passages", lambda model, texts: np.eye(4)[[list(TEXTS.values()).index(t) for t in texts]]
    )
    monkeypatch.setattr(dev, "encode_queries", lambda model, texts: np.array([by_text[text] for text in texts]))


SIMILARITIES = {"a": {"a": 9.0, "c": 8.0, "b": 1.0, "d": 0.0}, "b": {"b": 9.0, "a": 8.0, "d": 7.0, "c": 0.0}}


def test_a_query_is_no_hit_of_itself_in_the_dev_corpus(
    arguana: Path, bi_encoder: BiEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_scores(monkeypatch, SIMILARITIES)
    collection = load_collection(str(arguana), "dev")

    def scores(qrels: Qrels) -> dict[str, float]:
        return bi_encoder_dev_evaluator(
            bi_encoder, collection, qrels, sample_size=10, distractors={}, precision="fp32", seed=1
        )()

    # Without the queries themselves c is the first hit of a, and d the second of b.
    assert scores(collection.qrels())["MRR@10"] == pytest.approx((1 + 1 / 2) / 2)
    # One that is judged relevant to itself is a hit.
    assert scores({"a": {"a": 1}})["MRR@10"] == 1


def test_a_query_is_no_candidate_of_itself(
    arguana: Path, tiny_backbone: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Run] = []
    monkeypatch.setattr(kinds, "cross_encoder_dev_evaluator", lambda *a, candidates, **k: seen.append(candidates))
    options = TrainOptions.of(kind="cross-encoder", collection=str(arguana), output="out", dev_split="dev", dev_depth=2)
    collection = load_collection(str(arguana), "dev")
    model = new_cross_encoder(str(tiny_backbone("bert")))
    for qrels in (collection.qrels(), {"a": {"a": 1}}):
        judgments = Judgments(collection, {}, qrels, collection)
        kind = kinds.TRAINING_KINDS["cross-encoder"]
        make_dev_evaluator(kind, model, judgments, SIMILARITIES, options.dev, options.seed, "fp32")
    assert seen == [{"a": {"c": 8.0, "b": 1.0}, "b": {"a": 8.0, "d": 7.0}}, {"a": {"a": 9.0, "c": 8.0}}]


def test_judgments_of_missing_documents_and_queries_do_not_count(
    arguana: Path,
    bi_encoder: BiEncoder,
    tiny_backbone: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with_scores(monkeypatch, SIMILARITIES)
    collection = load_collection(str(arguana), "dev")
    # Of a's two answers one is missing, of b's every one.
    qrels: Qrels = {"a": {"c": 1, "gone": 1}, "b": {"lost": 1, "d": 0}}
    by_bi_encoder = bi_encoder_dev_evaluator(
        bi_encoder, collection, qrels, sample_size=10, distractors={}, precision="fp32", seed=1
    )()
    assert by_bi_encoder == {"nDCG@10": 1, "MRR@10": 1}
    monkeypatch.setattr(
        dev, "score_pairs", lambda model, pairs: [1.0 if text == TEXTS["c"] else 0.0 for _, text in pairs]
    )
    by_cross_encoder = cross_encoder_dev_evaluator(
        new_cross_encoder(str(tiny_backbone("bert"))),
        collection,
        qrels,
        candidates={"a": {"b": 1.0, "c": 0.0}, "b": {"a": 1.0}},
        precision="fp32",
    )()
    assert by_cross_encoder == by_bi_encoder
    said = "2 of 4 judged documents are not in it (e.g. gone of query a); left out of the dev queries"
    assert [said in r.getMessage() for r in caplog.records if r.name == "iaa_retrieval"] == [True, True]


def test_the_same_weights_are_scored_once(
    arguana: Path, tiny_backbone: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the last look at the dev queries scored is what the interpolation is learnt on, unless weights changed."""
    calls: list[int] = []

    def score(model: Any, pairs: Sequence[tuple[str, str]]) -> list[float]:
        calls.append(len(pairs))
        return [float(len(calls))] * len(pairs)

    monkeypatch.setattr(dev, "score_pairs", score)
    model = new_cross_encoder(str(tiny_backbone("bert")))
    evaluate_dev = cross_encoder_dev_evaluator(
        model,
        load_collection(str(arguana), "dev"),
        {"a": {"c": 1}},
        candidates={"a": {"b": 1.0, "c": 0.0}},
        precision="fp32",
    )
    evaluate_dev()
    assert evaluate_dev.run() == {"a": {"b": 1.0, "c": 1.0}} and calls == [2]
    with torch.no_grad():
        next(parameter for parameter in model.parameters() if parameter.requires_grad).add_(1)
    assert evaluate_dev.run() == {"a": {"b": 2.0, "c": 2.0}} and calls == [2, 2]
