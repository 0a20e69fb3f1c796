"""Re-ranking the hits of Pyserini's searchers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.java import find_java
from iaa_retrieval.models.retriever_config import Interpolation
from iaa_retrieval.pyserini_plugin import rerankers
from iaa_retrieval.pyserini_plugin.rerankers import Hit, IaaReranker, RerankingSearcher, text_of_hit

TEXTS = {"a": "blue sky", "b": "red apple tree", "c": "apple", "d": "red wine"}


@dataclass
class FirstStageHit:
    docid: str
    score: float = 0.0
    lucene_document: dict[str, str] | None = None


def shared_words(cross_encoder: object, pairs: Sequence[tuple[str, str]], **counting: object) -> np.ndarray:
    return np.array([len(set(query.split()) & set(text.split())) for query, text in pairs], dtype=np.float32)


@pytest.fixture
def reranker(monkeypatch: pytest.MonkeyPatch, tiny_backbone: Callable[[str], Path]) -> IaaReranker:
    """A re-ranker whose score is the number of shared words."""
    from iaa_retrieval.models.new_retriever import new_cross_encoder

    model = new_cross_encoder(str(tiny_backbone("bert")))
    monkeypatch.setattr(rerankers, "load_for_inference", lambda path, **options: model)
    monkeypatch.setattr(rerankers, "score_pairs", shared_words)
    return IaaReranker("somewhere", text_of=TEXTS.__getitem__)


def test_best_first_and_ties_by_greater_id(reranker: IaaReranker) -> None:
    hits = [FirstStageHit(doc_id) for doc_id in "abcd"]
    assert reranker.rerank("red apple", hits) == [Hit("b", 2.0), Hit("d", 1.0), Hit("c", 1.0), Hit("a", 0.0)]
    assert reranker.rerank("red apple", []) == []


def test_as_much_of_the_hits_scores_is_kept_as_training_chose(
    monkeypatch: pytest.MonkeyPatch, tiny_backbone: Callable[[str], Path]
) -> None:
    from iaa_retrieval.models.new_retriever import new_cross_encoder

    model = new_cross_encoder(str(tiny_backbone("bert")))
    chosen = Interpolation(0.25, "dev.trec", "bm25", 40, 50, "nDCG@10", 0.5, 0.7, 0.6)
    model.config = replace(model.config, interpolation=chosen)
    monkeypatch.setattr(rerankers, "load_for_inference", lambda path, **options: model)
    monkeypatch.setattr(rerankers, "score_pairs", shared_words)
    hits = [FirstStageHit("a", 12.0), FirstStageHit("b", 10.0), FirstStageHit("d", 2.0)]
    # Shared words 0, 2 and 1 scaled are 0, 1 and 1/2; the first stage's are 1, 4/5 and 0.
    expected = {"a": 0.75, "b": 0.25 + 0.75 * 0.8, "d": 0.125}
    found = IaaReranker("somewhere", text_of=TEXTS.__getitem__).rerank("red apple", hits)
    assert [hit.docid for hit in found] == ["b", "a", "d"]
    assert {hit.docid: hit.score for hit in found} == pytest.approx(expected)
    bare = IaaReranker("somewhere", text_of=TEXTS.__getitem__, interpolate=1).rerank("red apple", hits)
    assert bare == [Hit("b", 2.0), Hit("d", 1.0), Hit("a", 0.0)]
    with pytest.raises(UsageError, match="interpolate -1 must lie between 0 and 1"):
        IaaReranker("somewhere", interpolate=-1)


def test_text_of_a_call_wins(reranker: IaaReranker) -> None:
    ranked = reranker.rerank("red", [FirstStageHit("a"), FirstStageHit("b")], text_of={"a": "red", "b": ""}.get)
    assert [hit.docid for hit in ranked] == ["a", "b"]


class WordSearcher:
    """A first stage that returns documents in the order of their ids."""

    def search(self, query: str, k: int) -> list[FirstStageHit]:
        return [FirstStageHit(doc_id) for doc_id in sorted(TEXTS)][:k]

    def batch_search(
        self, queries: list[str], q_ids: list[str], k: int, threads: int
    ) -> dict[str, list[FirstStageHit]]:
        return {query_id: self.search(query, k) for query_id, query in zip(q_ids, queries, strict=True)}


def test_searcher_reranks_its_depth_and_returns_k(reranker: IaaReranker) -> None:
    searcher = RerankingSearcher(WordSearcher(), reranker, hits=3)
    assert searcher.search("red apple", k=2) == [Hit("b", 2.0), Hit("c", 1.0)]
    assert [hit.docid for hit in searcher.search("red apple", k=10)] == ["b", "c", "a"]
    batch = searcher.batch_search(["red apple", "blue"], ["1", "2"], k=1, threads=2)
    assert batch == {"1": [Hit("b", 2.0)], "2": [Hit("a", 1.0)]}


def test_text_of_a_lucene_hit() -> None:
    raw = json.dumps({"id": "a", "contents": "title text"})
    assert text_of_hit(FirstStageHit("a", lucene_document={"raw": raw})) == "title text"
    assert text_of_hit(FirstStageHit("a", lucene_document={"raw": "<DOC> plain"})) == "<DOC> plain"
    assert text_of_hit(FirstStageHit("a", lucene_document={"contents": "stored"})) == "stored"
    for hit in (FirstStageHit("a7"), FirstStageHit("a7", lucene_document={})):
        with pytest.raises(IaaRetrievalError, match="'a7' has no text"):
            text_of_hit(hit)


@pytest.mark.skipif(find_java() is None, reason="no Java 21 or newer on this machine")
def test_real_cross_encoder_over_a_real_lucene_index(
    tiny_backbone: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from iaa_retrieval.inference.pair_scorer import score_pairs
    from iaa_retrieval.java import prepare_java
    from iaa_retrieval.models.new_retriever import new_cross_encoder
    from iaa_retrieval.pyserini_plugin.lucene_index import build_index

    texts = {"1": "water and air", "2": "water in the house", "3": "good boy"}
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"id": key, "contents": text}) + "\n" for key, text in texts.items()))
    build_index(str(corpus), tmp_path / "index")
    prepare_java()
    from pyserini.search.lucene import LuceneSearcher

    cross_encoder = new_cross_encoder(str(tiny_backbone("bert")))
    monkeypatch.setattr(rerankers, "load_for_inference", lambda path, **options: cross_encoder)
    searcher = RerankingSearcher(LuceneSearcher(str(tmp_path / "index")), IaaReranker("tiny"))
    scores = score_pairs(cross_encoder, [("water", texts["1"]), ("water", texts["2"])])
    expected = sorted(zip(scores.tolist(), ["1", "2"], strict=True), reverse=True)
    found = searcher.search("water")
    assert [hit.docid for hit in found] == [doc_id for _, doc_id in expected]
    assert [hit.score for hit in found] == pytest.approx([score for score, _ in expected], abs=1e-5)
    assert [hit.docid for hit in searcher.batch_search(["water"], ["q"])["q"]] == [hit.docid for hit in found]
