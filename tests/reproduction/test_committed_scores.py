"""Rows still give their scores, from the raw collection on: those without training, and committed checkpoints.

Minutes each, so they run by themselves: ``make regression``.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from iaa_retrieval.collections.runs import read_run, write_run
from iaa_retrieval.evaluation.metrics import mean
from iaa_retrieval.evaluation.significance import paired_t_test
from iaa_retrieval.files import sha256_of
from iaa_retrieval.jobs.evaluate import evaluate_run
from iaa_retrieval.reproduction.commands import commands_of
from iaa_retrieval.reproduction.loading import load_reproduction
from iaa_retrieval.reproduction.plan import ConditionPlan
from iaa_retrieval.reproduction.results import read_result
from iaa_retrieval.reproduction.runner import score_run

pytestmark = pytest.mark.regression

# All of them but the two bm25 of beir-scifact: retrieval is in tests/test_reference_scores.py, and re-ranking in the
# fixture ``first_stage``. And but untuned retrieval from the larger collections, which encodes 42,522 and 10,227
# documents for what two smaller ones show as well; ``make reproduce`` does that.
UNTRAINED = [
    ("beir-scifact", "retrieval", "dense-untuned"),
    ("beir-scifact", "reranking", "dense-untuned"),
    ("beir-nfcorpus", "retrieval", "bm25"),
    ("beir-nfcorpus", "retrieval", "dense-untuned"),
    ("msmarco-mini", "retrieval", "bm25"),
    ("msmarco-mini", "reranking", "bm25"),
    ("msmarco-mini", "reranking", "dense-untuned"),
    ("python-packages", "retrieval", "bm25"),
]
TUNED_ON = "beir-scifact"
# One of our own tuner, one of PEFT's.
FIRST_STAGE_METHODS = ("iaa-l-0.5",)
RERANKING_METHODS = ("iaa-l-0.5", "lora-0.5")
# Re-ranking all 300 queries takes about a quarter of an hour a checkpoint; ``make reproduce`` does that.
EVERY = 10
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One directory for all, so that the rows of a collection share what they have in common."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def environment(data_dir: Path, irds_home: Path) -> dict[str, str]:
    """Where the data sets are, and all cores."""
    return {**os.environ, "IAA_RETRIEVAL_DATA": str(data_dir), "OMP_NUM_THREADS": str(os.cpu_count())}


def output_of(words: list[str], environment: dict[str, str]) -> str:
    """Of a command as the pages print it, which has to succeed."""
    assert words[0] == "python"
    done = subprocess.run(
        [sys.executable, *words[1:]], capture_output=True, text=True, env=environment, check=False, cwd=REPOSITORY
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    return done.stdout


def rerun(plan: ConditionPlan, runs: Path, environment: dict[str, str], *flags: str) -> None:
    """Every score of a row comes out again within its tolerance."""
    words = [
        "--collection", plan.reproduction.name, "--condition", plan.name, "--stage", plan.stage,
        "--directory", str(runs / plan.reproduction.name), *flags,
    ]  # fmt: skip
    table = output_of(["python", "-m", "iaa_retrieval.reproduce", *words], environment)
    assert table.count("  OK") == sum(map(len, plan.condition.scores.values())) > 0


@pytest.mark.parametrize(("collection", "stage", "name"), UNTRAINED)
def test_rows_without_training(collection: str, stage: str, name: str, runs: Path, environment: dict[str, str]) -> None:
    [plan] = load_reproduction(collection).select(name, stage)
    assert {score.tolerance for scores in plan.condition.scores.values() for score in scores.values()} == {0.0001}
    rerun(plan, runs, environment)


@pytest.mark.parametrize("name", FIRST_STAGE_METHODS)
def test_first_stage_checkpoints(name: str, runs: Path, environment: dict[str, str]) -> None:
    [plan] = load_reproduction(TUNED_ON).select(name, "retrieval")
    rerun(plan, runs, environment, "--from-checkpoint")


@pytest.fixture(scope="module")
def first_stage(runs: Path, environment: dict[str, str]) -> Path:
    """BM25's top-100 of every tenth test query."""
    [bm25] = load_reproduction(TUNED_ON).select("bm25", "reranking")
    rerun(bm25, runs, environment)
    run = read_run(runs / TUNED_ON / "bm25-top100.test.trec")
    some = runs / "some-queries.trec"
    write_run(some, {query_id: run[query_id] for query_id in list(run)[::EVERY]}, "bm25")
    return some


@pytest.mark.parametrize("name", RERANKING_METHODS)
def test_reranking_checkpoints(name: str, first_stage: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    """What these queries scored when the row was measured comes out again, within the tolerance for checkpoints."""
    reproduction = load_reproduction(TUNED_ON)
    [plan] = reproduction.select(name, "reranking")
    [words] = [
        shlex.split(command)
        for command in commands_of(plan, tmp_path, from_checkpoint=True)
        if " iaa_retrieval.rerank " in command
    ]
    words[words.index("--run") + 1] = str(first_stage)
    output_of(words, environment)
    reranked = Path(words[words.index("--output") + 1])
    scored = list(read_run(reranked))
    assert len(scored) == 30
    kept = read_result(plan.result_file).first.per_query["test"]
    again = score_run(reproduction.topic_sets["test"], reranked, tuple(kept))
    for metric, score in plan.condition.scores["test"].items():
        assert mean(kept[metric]) == pytest.approx(score.value, abs=0.0001), metric
        before, now = ({query_id: scores[metric][query_id] for query_id in scored} for scores in (kept, again))
        assert mean(now) == pytest.approx(mean(before), abs=reproduction.checkpoint_tolerance), metric


def test_queries_are_tuned_for_the_untuned_index_without_encoding_a_document(
    runs: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    """docs/query-side.md: a vector adapter, chosen on held-out training queries, against the index that it searches."""
    index = runs / TUNED_ON / "dense-untuned-index"
    if not index.is_dir():
        [plan] = load_reproduction(TUNED_ON).select("dense-untuned", "retrieval")
        rerun(plan, runs, environment)
    before = {path.name: sha256_of(path) for path in index.iterdir()}
    train, test, adapter, adapted = (str(tmp_path / name) for name in ("train", "test", "adapter", "adapted"))
    module = ["python", "-m"]
    for split, output in (("train", train), ("test", test)):
        words = ["--topics", f"beir/scifact/{split}", "--encoder", "all-MiniLM-L6-v2", "--output", output]
        output_of([*module, "iaa_retrieval.encode", "queries", *words], environment)
    words = ["--queries", train, "--index", str(index), "--qrels", "beir/scifact/train", "--dev-fraction", "0.2"]
    output_of([*module, "iaa_retrieval.train", "vector-adapter", *words, "--output", adapter], environment)
    words = ["--vectors", test, "--adapter", adapter, "--output", adapted]
    output_of([*module, "iaa_retrieval.encode", "query-vectors", *words], environment)
    scores = []
    for queries in (test, adapted):
        run = str(tmp_path / f"{Path(queries).name}.trec")
        words = ["--topics", "beir/scifact/test", "--encoded-queries", queries, "--output", run]
        output_of([*module, "iaa_retrieval.search", "faiss", "--index", str(index), *words], environment)
        scores.append(evaluate_run("beir/scifact/test", run, "nDCG@10", per_query=True)["nDCG@10"])
    compared = paired_t_test(*scores)
    assert mean(scores[0]) == pytest.approx(0.6451, abs=0.0001)
    assert mean(scores[1]) == pytest.approx(0.7853, abs=0.005)
    assert compared.n == 300 and compared.p_value < 1e-6
    assert {path.name: sha256_of(path) for path in index.iterdir()} == before
