"""One condition with the real commands: from a raw collection to a score, and again from what is committed of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from checkpoints import write_collection
from click.testing import CliRunner, Result
from reproduction_files import toy_values, write_reproduction

from iaa_retrieval.reproduce import main
from iaa_retrieval.reproduction.loading import load_reproduction
from iaa_retrieval.reproduction.rate_search import search_rates
from iaa_retrieval.reproduction.results import read_result
from iaa_retrieval.reproduction.tried_rates import read_tried_rates


def values(directory: Path) -> dict[str, Any]:
    write_collection(directory / "collection")
    found = toy_values(directory)
    found["backbone"] = {
        "name": "all-MiniLM-L6-v2",
        "display_name": "MiniLM",
        "hidden_size": 384,
        "layers": 6,
        "parameters": 22_713_216,
    }
    found["checkpoint_tolerance"] = 0.001
    found["topic_sets"]["test"] = {
        "display_name": "toy",
        "queries": "$TOY_COLLECTION:train",
        "qrels": "$TOY_COLLECTION:train",
    }
    found["stages"]["retrieval"] |= {
        "run": "<stage>/<name>.<topics>.trec",
        "settings": {"lr": {"value": "1e-3", "provenance": "ours"}},
    }
    found["steps"] = {
        "<stage>/<name>": 'python -m iaa_retrieval.train bi-encoder --collection "$TOY_COLLECTION" --split train '
        "--method <method> <dimensions> --lr <lr> --max-steps 10 --batch-size 2 --seed <seed> --output {output}",
        "<stage>/<name>-index": 'python -m iaa_retrieval.encode input --corpus "$TOY_COLLECTION" '
        "output --embeddings {output} --to-faiss encoder --encoder {<stage>/<name>} --precision fp32",
        "<stage>/<name>.<topics>.trec": "python -m iaa_retrieval.search faiss --index {<stage>/<name>-index} "
        '--topics "<queries>" --encoder {<stage>/<name>} --hits 5 --output {output}',
    }
    found["conditions"] = [
        {
            "name": "iaa-l-0.5",
            "display_name": "IAA-L",
            "stage": "retrieval",
            "method": "iaa-l",
            "budget": "0.5%",
            "dimensions": {"r": 2, "ar": 2},
        }
    ]
    return found


def test_from_nothing_and_from_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iaa_retrieval.reproduction.loading.reproductions_directory", lambda: tmp_path)
    monkeypatch.setenv("TOY_COLLECTION", str(tmp_path / "collection"))
    contents = values(tmp_path)
    write_reproduction(tmp_path, contents)

    def reproduce(*arguments: str) -> Result:
        command = ["--collection", "toy", "--condition", "iaa-l-0.5", "--directory", str(tmp_path / "runs")]
        return CliRunner().invoke(main, [*command, *arguments])

    result = reproduce("--record", "--store-checkpoint")
    assert result.exit_code == 0, result.output
    assert "there is no expected score yet" in result.output
    kept = json.loads((tmp_path / "results" / "toy" / "retrieval" / "iaa-l-0.5.json").read_text())
    assert list(kept["seeds"]) == ["42"]
    assert kept["seeds"]["42"]["seconds"] > 0 and "loss" in kept["seeds"]["42"]["history"][0]
    assert set(kept["seeds"]["42"]["per_query"]["test"]["nDCG@10"]) == {"q1", "q2", "q3"}
    checkpoint = tmp_path / "checkpoints" / "toy" / "retrieval" / "iaa-l-0.5"
    for path in checkpoint.iterdir():
        assert b"site-packages" not in path.read_bytes()
    # The YAML has the scores now, and the checkpoint has to give them again without any training.
    assert "entered the scores into toy.yaml" in result.output
    result = reproduce("--from-checkpoint", "--display-commands")
    assert result.exit_code == 0, result.output
    assert result.output.count("  OK") == 2
    result = reproduce("--record", "--add-seeds", "43")
    assert result.exit_code == 0, result.output
    assert list(read_result(tmp_path / "results" / "toy" / "retrieval" / "iaa-l-0.5.json").seeds) == [42, 43]
    (plan,) = load_reproduction("toy", tmp_path).plans
    assert plan.condition.seeds == (42, 43)
    result = reproduce("--record", "--add-seeds", "44,43")
    assert result.exit_code == 1 and "holds seed 43 already" in result.output


def test_a_learning_rate_that_really_diverges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_COLLECTION", str(tmp_path / "collection"))
    contents = values(tmp_path)
    search = {"methods": ["1e30"], "full": [], "metric": "nDCG@10"}
    contents["stages"]["retrieval"]["rate_search"] = search
    command = contents["steps"]["<stage>/<name>"]
    contents["steps"]["<stage>/<name>"] = command.replace("--max-steps 10", "--max-steps 4 --dev-fraction 0.4")
    write_reproduction(tmp_path, contents)
    (plan,) = load_reproduction("toy", tmp_path).plans
    tried = search_rates(plan, tmp_path / "runs")
    assert tried.scores == {"1e30": None}
    assert read_tried_rates(plan) == tried
