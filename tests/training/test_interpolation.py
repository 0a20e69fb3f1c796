"""How much of the first stage a re-ranker keeps: never so little that it makes a run worse."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from iaa_retrieval.collections.loading import load_collection
from iaa_retrieval.collections.runs import rank, read_run, write_run
from iaa_retrieval.collections.types import Qrels, Run
from iaa_retrieval.evaluation.metrics import evaluate, mean, parse_metrics
from iaa_retrieval.files import read_json
from iaa_retrieval.inference import reranking
from iaa_retrieval.inference.interpolation import interpolated_run
from iaa_retrieval.models.retriever_config import Interpolation, read_retriever_config
from iaa_retrieval.rerank import main as rerank
from iaa_retrieval.training import dev
from iaa_retrieval.training.interpolation import WEIGHTS, choose, learn_interpolation
from iaa_retrieval.training.options import TrainOptions
from iaa_retrieval.training.run import train_retriever

DOCUMENTS = 20


def learn(qrels: Qrels, new: Run, old: Run) -> Interpolation:
    return learn_interpolation(qrels, new, old, metric="nDCG@10", first_stage="bm25.trec", tag="bm25")


def judged(queries: int) -> Qrels:
    """One relevant document for each query, d0."""
    return {f"q{number}": {"d0": 1} for number in range(queries)}


def scored(qrels: Qrels, seed: str, signal: float, offset: float = 0.0, scale: float = 1.0) -> Run:
    """Gaussian scores, of relevant documents higher by ``signal``."""
    rng = random.Random(seed)
    return {
        query_id: {f"d{d}": scale * (rng.gauss(0, 1) + (signal if d == 0 else 0)) + offset for d in range(DOCUMENTS)}
        for query_id in qrels
    }


def ndcg(qrels: Qrels, run: Run) -> float:
    return mean(evaluate(qrels, run, parse_metrics("nDCG@10"))["nDCG@10"])


def test_of_noise_hardly_anything_is_kept() -> None:
    qrels, unseen = judged(150), judged(600)
    weights = []
    for seed in range(6):
        old = scored(qrels, f"first stage {seed}", signal=2.5)
        learnt = learn(qrels, scored(qrels, f"noise {seed}", signal=0.0), old)
        assert learnt.first_stage_score == pytest.approx(ndcg(qrels, old))
        assert learnt.bare_score < learnt.first_stage_score - 0.2
        assert learnt.score >= learnt.first_stage_score
        weights.append(learnt.weight)
        # What chance makes of some dev queries costs next to nothing on others.
        old, new = scored(unseen, f"other {seed}", signal=2.5), scored(unseen, f"its noise {seed}", signal=0.0)
        assert ndcg(unseen, interpolated_run(new, old, learnt.weight)) > ndcg(unseen, old) - 0.01
    assert max(weights) <= 0.2
    assert weights.count(0.0) >= 4


def test_where_the_first_stage_is_alone_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    qrels = judged(20)
    old = {query_id: {"d0": 2.0, "d1": 1.0} for query_id in qrels}
    learnt = learn(qrels, {query_id: {"d0": 1.0, "d1": 2.0} for query_id in qrels}, old)
    assert (learnt.weight, learnt.score, learnt.first_stage_score) == (0.0, 1.0, 1.0)
    assert (
        "than the first stage alone by more than one standard error: rerank with this checkpoint keeps" in caplog.text
    )


def test_of_an_oracle_all_is_kept_that_is_needed() -> None:
    """Fifty documents of fifty grades, and a first stage that has them the wrong way round."""
    qrels = {f"q{number}": {f"d{d}": d for d in range(50)} for number in range(3)}
    new = {query_id: {doc_id: float(grade) for doc_id, grade in grades.items()} for query_id, grades in qrels.items()}
    old = {query_id: {doc_id: -score for doc_id, score in scores.items()} for query_id, scores in new.items()}
    # A weight of more than a half puts all in order: of the plateau from 0.55 to 1 the middle is kept.
    assert learn(qrels, new, old).weight == 0.75
    # A first stage that is wrong about one document by far more than it tells apart the others leaves the bare score.
    spoilt = {query_id: {f"d{d}": (1.0 if d == 40 else 0.0) for d in range(50)} for query_id in qrels}
    learnt = learn(qrels, new, spoilt)
    assert (learnt.weight, learnt.score, learnt.bare_score) == (1.0, 1.0, 1.0)
    assert learnt.first_stage_score < 0.9


@pytest.mark.parametrize("seed", range(3))
def test_of_two_that_know_different_things_both_are_kept(seed: int) -> None:
    qrels, unseen = judged(150), judged(1000)
    # Scores of other ranges: they are scaled before they are mixed.
    new, old = scored(qrels, f"a{seed}", 1.5, -7.0, 0.1), scored(qrels, f"b{seed}", 1.5, 30.0, 5.0)
    learnt = learn(qrels, new, old)
    assert 0.25 <= learnt.weight <= 0.75
    assert learnt.score > max(learnt.first_stage_score, learnt.bare_score)
    new, old = scored(unseen, f"c{seed}", 1.5, -7.0, 0.1), scored(unseen, f"d{seed}", 1.5, 30.0, 5.0)
    assert ndcg(unseen, interpolated_run(new, old, learnt.weight)) > max(ndcg(unseen, new), ndcg(unseen, old)) + 0.02


def test_the_middle_of_the_plateau_is_kept_by_the_formula() -> None:
    def curve(*means: float) -> list[list[float]]:
        """Values of four queries whose mean differences have a standard error of zero."""
        return [[value] * 4 for value in means]

    assert choose(curve(0.5, 0.6, 0.8, 0.8, 0.8, 0.7)) == 3
    assert choose(curve(0.5, 0.6, 0.8, 0.8, 0.7, 0.8)) == 2  # of two middles the lower, and not over a gap
    assert choose(curve(0.5, 0.5, 0.4, 0.3, 0.2, 0.1)) == 0
    # Differences of 0.1, 0.1, 0.1 and -0.1: their mean is 0.05, and so is its standard error, 0.1 / sqrt(4).
    close = [[0.5, 0.5, 0.5, 0.5], [0.6, 0.6, 0.6, 0.4]]
    differences = np.subtract(close[1], close[0])
    assert differences.std(ddof=1) / 2 == pytest.approx(differences.mean())
    assert choose([*close, [0.6, 0.6, 0.6, 0.45]]) == 2
    assert choose([close[0], [0.6, 0.6, 0.6, 0.39]]) == 0
    assert choose([[0.1], [0.9]]) == 0  # one query tells nothing
    assert (WEIGHTS[0], WEIGHTS[1], WEIGHTS[-1], len(WEIGHTS)) == (0.0, 0.05, 1.0, 21)


def shared_words(model: object, pairs: Sequence[tuple[str, str]], **counting: object) -> np.ndarray:
    """An oracle on the toy collection, whose queries are words of their documents."""
    return np.array([len(set(query.split()) & set(text.split())) for query, text in pairs], dtype=np.float32)


def noise(model: object, pairs: Sequence[tuple[str, str]], **counting: object) -> np.ndarray:
    return np.array([zlib.crc32(f"{query}|{text}".encode()) / 2**32 for query, text in pairs], dtype=np.float32)


@pytest.fixture
def good_run(tmp_path: Path) -> Path:
    """A first stage that finds the relevant document of two queries in three at once, and of the third at rank 5."""
    rng, run = random.Random(3), {}
    for number in range(40):
        others = rng.sample([d for d in range(40) if d != number], 11)
        others.insert(0 if number % 3 else 4, number)
        run[f"q{number}"] = {f"d{d}": 20.0 - place for place, d in enumerate(others)}
    write_run(tmp_path / "good.trec", run, "good-run")
    return tmp_path / "good.trec"


def test_training_stores_it_and_re_ranking_goes_by_it(
    toy: Any,
    toy_options: Callable[..., TrainOptions],
    good_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from iaa_retrieval.options import changed

    caplog.set_level("INFO", "iaa_retrieval")
    first_stage = {q: hits for q, hits in read_run(good_run).items() if int(q[1:]) >= 32}
    write_run(tmp_path / "test.trec", first_stage, "bm25")
    qrels = load_collection(str(toy.collection), "test").qrels()
    runs: dict[str, Run] = {}
    for name, scorer in (("noise", noise), ("oracle", shared_words)):
        monkeypatch.setattr(dev, "score_pairs", scorer)
        monkeypatch.setattr(reranking, "score_pairs", scorer)
        options = toy_options("cross-encoder", name, max_steps=1, dev_fraction=0.5, dev_depth=12)
        result = train_retriever(changed(options, negatives=str(good_run)))
        config = read_retriever_config(result.output)
        assert config is not None and config.interpolation is not None
        learnt = config.interpolation
        assert (learnt.first_stage, learnt.tag, learnt.queries, learnt.depth) == ("good.trec", "good-run", 12, 12)
        assert learnt.bare_score == result.dev_scores["nDCG@10"]  # the bare score chooses the checkpoint
        card = (result.output / "README.md").read_text()
        assert f"| share of the first stage's score | {1 - learnt.weight:.2f}, which `rerank` keeps" in card
        for words in ([], ["--interpolate", "none"], ["--interpolate", "0.5"]):
            caplog.clear()
            output = tmp_path / f"{name}{''.join(words)}.trec"
            where = ["--run", tmp_path / "test.trec", "--topics", f"{toy.collection}:test", "--output", output]
            model = ["--collection", toy.collection, "--encoder", result.output, "--device", "cpu"]
            done = CliRunner().invoke(rerank, [str(word) for word in [*where, *model, *words]])
            assert done.exit_code == 0, done.output
            runs[f"{name}{''.join(words[1:])}"] = read_run(output)
            said = [r.getMessage() for r in caplog.records if r.getMessage().startswith("interpolating:")]
            assert len(said) == (not words)
            if said:
                assert f"{learnt.weight:.2f} of the re-ranker's" in said[0]
                assert "on 12 dev queries of the run good.trec, tagged good-run" in said[0]
    scores = {name: ndcg(qrels, run) for name, run in runs.items()}
    alone = ndcg(qrels, first_stage)
    assert scores["noise"] == alone  # never worse, whatever the re-ranker gives
    assert scores["noisenone"] < alone
    assert scores["oracle"] == 1.0 > alone
    order = {query_id: [doc_id for doc_id, _ in rank(hits)] for query_id, hits in first_stage.items()}
    assert {query_id: [doc_id for doc_id, _ in rank(hits)] for query_id, hits in runs["noise"].items()} == order
    # The bare score is the model's own, unscaled.
    assert max(max(hits.values()) for hits in runs["oraclenone"].values()) == 3.0
    assert max(max(hits.values()) for hits in runs["oracle0.5"].values()) <= 1.0


def test_without_dev_queries_nothing_is_learnt_or_written(toy_options: Callable[..., TrainOptions]) -> None:
    result = train_retriever(toy_options("cross-encoder", max_steps=1, dev_fraction=0.0))
    assert "interpolation" not in read_json(result.output / "retriever.json")
    config = read_retriever_config(result.output)
    assert config is not None and config.interpolation is None
    bi_encoder = train_retriever(toy_options("bi-encoder", "bi", max_steps=1, dev_split="dev"))
    assert "interpolation" not in read_json(bi_encoder.output / "retriever.json")
