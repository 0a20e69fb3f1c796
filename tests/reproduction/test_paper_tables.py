"""The paper's 256 cells, compared with a transcription that the reproductions were not read from at run time."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from iaa_retrieval.reproduction.conditions import Condition
from iaa_retrieval.reproduction.loading import load_reproduction
from iaa_retrieval.reproduction.plan import Reproduction

# Column prefix in the transcription -> collection and topic set here.
PLACES = {
    "msmarco-passage": ("msmarco-v1-passage", "dev"),
    "dl19-passage": ("msmarco-v1-passage", "dl19"),
    "msmarco-doc": ("msmarco-v1-doc", "dev"),
    "dl19-doc": ("msmarco-v1-doc", "dl19"),
}
DIMENSIONS = {"l": "prefix_length", "r": "r", "ar": "ar"}


@pytest.fixture(scope="module")
def tables(data_dir: Path) -> dict[str, Any]:
    path = data_dir / "paper" / "scores.yaml"
    if not path.is_file():
        pytest.skip(f"no transcription of the paper's tables in {path}")
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


def condition_of(collection: str, stage: str, row: dict[str, Any]) -> Condition:
    name = "full" if row["method"] == "full" else f"{row['method']}-{row['params'].rstrip('%')}"
    (found,) = load(collection).select(name, stage)
    return found.condition


@cache
def load(collection: str) -> Reproduction:
    return load_reproduction(collection)


@pytest.mark.parametrize("stage", ["retrieval", "reranking"])
def test_every_cell_is_the_papers(stage: str, tables: dict[str, Any]) -> None:
    cells = 0
    for row in tables[stage]["rows"]:
        for column, value in zip(tables[stage]["columns"], row["scores"], strict=True):
            prefix, metric = column.split(".")
            collection, topics = PLACES[prefix]
            score = condition_of(collection, stage, row).score(topics, metric)
            assert score is not None
            assert (score.value, score.provenance) == (value, "paper")
            expected = [
                kind for kind, key in (("full", "sig_ft"), ("best-baseline", "sig_pet")) if column in row.get(key, ())
            ]
            assert list(score.better_than) == expected, (row, column)
            cells += 1
    assert cells == 128


@pytest.mark.parametrize("collection", ["msmarco-v1-passage", "msmarco-v1-doc"])
def test_there_are_no_other_rows_or_scores_than_the_papers_and_bm25(collection: str, tables: dict[str, Any]) -> None:
    reproduction = load(collection)
    for stage in ("retrieval", "reranking"):
        tuned = [plan.condition for plan in reproduction.select(stage=stage) if plan.name != "bm25"]
        assert len(tuned) == len(tables[stage]["rows"]) == 16
        for entry, row in zip(tuned, tables[stage]["rows"], strict=True):
            assert (entry.method, entry.budget) == (row["method"], row["params"])
            assert entry.dimensions == {DIMENSIONS[key]: value for key, value in row["dims"].items()}
            assert {s.provenance for scores in entry.scores.values() for s in scores.values()} == {"paper"}
            assert sum(len(scores) for scores in entry.scores.values()) == 4


@pytest.mark.parametrize(
    ("collection", "name"), [("msmarco-v1-passage", "bm25-default"), ("msmarco-v1-doc", "bm25-doc-default")]
)
def test_bm25_has_the_figures_that_pyserini_publishes(collection: str, name: str) -> None:
    import importlib.util

    spec = importlib.util.find_spec("pyserini")
    assert spec is not None and spec.origin is not None
    path = Path(spec.origin).parent / "2cr" / f"{collection}.yaml"
    conditions = yaml.safe_load(path.read_text())["conditions"]
    (published,) = [entry for entry in conditions if entry["name"] == name]
    dev, dl19 = (topics["scores"][0] for topics in published["topics"][:2])
    cutoff = "MRR@10" if collection.endswith("passage") else "MRR@100"  # Pyserini heads both MRR@10
    expected = {("dev", cutoff): dev["MRR@10"], ("dev", "R@1000"): dev["R@1K"], ("dl19", "nDCG@10"): dl19["nDCG@10"]}
    for stage in ("retrieval", "reranking"):
        (bm25,) = load(collection).select("bm25", stage)
        for topics, scores in bm25.condition.scores.items():
            for metric, score in scores.items():
                assert (score.value, score.provenance) == (expected[topics, metric], "published")
