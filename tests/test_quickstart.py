"""The quickstart's job on a toy collection with a tiny backbone, and the table that it prints."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from toy_collection import write_toy_collection

from iaa_retrieval.jobs.quickstart import results_table
from iaa_retrieval.quickstart import main

STAGES = {
    "lucene-index",
    "bm25.trec",
    "dense-untuned-index",
    "dense-untuned.trec",
    "bi-encoder",
    "dense-iaa-l-index",
    "dense-iaa-l.trec",
    "cross-encoder",
    "rerank-iaa-l.trec",
}
RUNS = ["bm25", "dense-untuned", "dense-iaa-l", "rerank-iaa-l"]

# A process of its own, because the Java machine takes its settings from the environment once.
SCRIPT = """
import json, sys
from pathlib import Path
from iaa_retrieval.collections.base import Source
from iaa_retrieval.collections.beir_directory import BeirDirectory
from iaa_retrieval.collections.sources import register_source
from iaa_retrieval.java import prepare_java
from iaa_retrieval.jobs.quickstart import run_quickstart
from iaa_retrieval.jobs.quickstart_options import QuickstartOptions
collection, backbone, output, results = sys.argv[1:]
prepare_java()


class Apart(BeirDirectory):
    # The toy collection with documents of its own for each split: those that it judges.

    documents_by_split = True

    def documents(self):
        judged = {document for grades in self.qrels().values() for document in grades} if self.split else None
        return (document for document in super().documents() if judged is None or document.doc_id in judged)

    def document_count(self):
        return sum(1 for _ in self.documents())


class ApartSource(Source):
    name = "apart"

    def claims(self, spec):
        return spec == "apart"

    def open(self, spec, split):
        opened = Apart(Path(collection), split)
        opened.name = f"apart:{split}" if split else "apart"
        return opened


register_source(ApartSource())
found = []
for source, seed in ((collection, 1), (collection, 1), (collection, 2), ("apart", 1)):
    if source == "apart":
        output += "-apart"
    options = QuickstartOptions(
        collection=source, backbone=backbone, output=output, test_queries=None, seed=seed, precision="fp32",
        max_length=32, train_max_length=32, pair_length=32, bi_steps=2, cross_steps=2, budget="3%",
    )
    returned = run_quickstart(options)
    written = json.load(open(output + "/results.json"))
    assert written == json.loads(json.dumps(returned))
    written["checkpoint seed"] = json.load(open(output + "/bi-encoder/retriever.json"))["training"]["seed"]
    found.append(written)
json.dump(found, open(results, "w"))
"""


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory, tiny_backbone: Callable[[str], Path]) -> list[dict[str, Any]]:
    """Results of the job, of it again in the same directory, of another seed there, and of documents kept apart."""
    root = tmp_path_factory.mktemp("quickstart")
    collection = write_toy_collection(root / "toy")
    paths = [collection, tiny_backbone("bert"), root / "runs", root / "found.json"]
    finished = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, paths)], capture_output=True, text=True, timeout=300
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    found: list[dict[str, Any]] = json.loads((root / "found.json").read_text())
    return found


def test_results_of_the_whole_job(jobs: list[dict[str, Any]]) -> None:
    results = jobs[0]
    assert (results["documents"], results["queries"]) == (40, 8)
    assert list(results["runs"]) == RUNS
    for scores in results["runs"].values():
        assert list(scores) == ["nDCG@10", "MRR@10", "R@100"]
        assert all(0 <= score <= 1 for score in scores.values())
    # A query is three words of its document.
    assert results["runs"]["bm25"]["nDCG@10"] > 0.9
    # 40 documents, 100 hits.
    assert results["runs"]["dense-iaa-l"]["R@100"] == 1
    assert set(results["seconds"]) == STAGES
    assert results["reused"] == []
    assert set(results["trainable_parameters"]) == {"dense-iaa-l", "rerank-iaa-l"}
    assert all(count > 500 for count in results["trainable_parameters"].values())
    tests = [(test["run"], test["baseline"], test["metric"]) for test in results["significance"]]
    assert tests == [
        (run, baseline, metric)
        for run in RUNS[2:]
        for baseline in RUNS[:2]
        for metric in ("nDCG@10", "MRR@10", "R@100")
    ]
    for test in results["significance"]:
        difference = results["runs"][test["run"]][test["metric"]] - results["runs"][test["baseline"]][test["metric"]]
        assert test["mean_difference"] == pytest.approx(difference)
        assert test["p_value"] <= test["p_value_holm"] <= 1


def test_a_second_run_reuses_every_stage(jobs: list[dict[str, Any]]) -> None:
    first, second = jobs[:2]
    assert set(second["reused"]) == STAGES
    changing = {"reused", "settings"}
    assert {key: value for key, value in first.items() if key not in changing} == {
        key: value for key, value in second.items() if key not in changing
    }


def test_another_seed_uses_nothing_that_depends_on_it(jobs: list[dict[str, Any]]) -> None:
    third = jobs[2]
    tuned = {name for name in STAGES if "encoder" in name or "iaa-l" in name}
    assert not set(third["reused"]) & tuned
    assert [job["checkpoint seed"] for job in jobs[:3]] == [1, 1, 2]


def test_each_split_has_documents_of_its_own(jobs: list[dict[str, Any]]) -> None:
    """Test queries are searched in theirs, and negatives of training queries come from an index of the others."""
    apart = jobs[3]
    assert (apart["documents"], apart["queries"]) == (8, 8)
    assert set(apart["seconds"]) == STAGES | {"lucene-index-train"}
    assert apart["runs"]["dense-untuned"]["R@100"] == 1


def test_table(jobs: list[dict[str, Any]]) -> None:
    lines = results_table(jobs[1]).splitlines()
    assert "40 documents, 8 test queries" in lines[0]
    for name in RUNS:
        assert any(line.startswith(name) for line in lines)
    assert sum("(from an earlier run)" in line for line in lines) == len(STAGES)


def test_marks_of_significance() -> None:
    def test(baseline: str, p_value: float, difference: float) -> dict[str, Any]:
        return {
            "run": "dense-iaa-l",
            "baseline": baseline,
            "metric": "nDCG@10",
            "p_value_holm": p_value,
            "mean_difference": difference,
        }

    results: dict[str, Any] = {
        "collection": "c",
        "documents": 1234,
        "queries": 5,
        "runs": {"bm25": {"nDCG@10": 0.5}, "dense-iaa-l": {"nDCG@10": 0.75}},
        "significance": [test("bm25", 0.01, 0.25), test("dense-untuned", 0.2, 0.1)],
        "trainable_parameters": {"dense-iaa-l": 12345},
        "seconds": {"bm25.trec": 1.0},
        "reused": [],
    }

    def tuned() -> list[str]:
        return next(line for line in results_table(results).splitlines() if line.startswith("dense-iaa-l")).split()

    assert tuned() == ["dense-iaa-l", "0.7500b", "12,345"]
    results["significance"] = [test("bm25", 0.01, 0.25), test("dense-untuned", 0.05, 0.1)]
    assert tuned()[1] == "0.7500bu"
    # Significantly worse is not marked.
    results["significance"] = [test("bm25", 0.01, -0.25)]
    assert tuned()[1] == "0.7500"


def test_a_collection_without_test_queries_is_wrong_usage(tmp_path: Path) -> None:
    collection = write_toy_collection(tmp_path / "toy")
    (collection / "qrels" / "test.tsv").unlink()
    result = CliRunner().invoke(main, ["--collection", str(collection), "--output", str(tmp_path / "runs")])
    assert result.exit_code == 2
    assert "has no test split" in result.output


def test_help() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    assert "--collection" in result.output
