"""A bundle of a tiny experiment, run by an interpreter that has PyTorch and the bundle's packages alone, and taken in.

Its scores have to be those of the ordinary commands. The tiny backbone's weights are fp16 numbers already, so that the
bundle changes nothing about them.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from toy_collection import write_toy_collection, write_toy_run

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.remote.bundle import BundleOptions, make_bundle
from iaa_retrieval.remote.collecting import CollectOptions, collect, read_store
from iaa_retrieval.remote.packages import PACKAGES
from iaa_retrieval.remote.selection import Selection
from iaa_retrieval.reproduction.loading import load_reproduction
from iaa_retrieval.reproduction.results import read_result
from iaa_retrieval.reproduction.tried_rates import read_tried_rates

REPOSITORY = Path(__file__).resolve().parents[2]
BACKBONE = "all-MiniLM-L6-v2"  # a directory of this name stands for the model
# What PyTorch itself needs; the rest of what the work needs has to be in the bundle.
PYTORCH = ("torch", "numpy", "sympy", "mpmath", "networkx", "setuptools")
TRAINING = (
    "--collection toy:train --dev-split dev --negatives {first.trec} --method <method> <dimensions> --lr <lr> "
    "--batch-size 8 --max-steps <steps> --eval-steps <steps> --document-max-length 32 --precision fp32 "
    "--backbone <backbone> --seed <seed> --output {output}"
)
STEPS = {
    "first.trec": "sh -c 'cp first.trec {output}'",
    "untuned-index": "python -m iaa_retrieval.encode input --corpus toy output --embeddings {output} --to-faiss "
    "encoder --encoder <backbone> --precision fp32",
    "untuned.trec": "python -m iaa_retrieval.search faiss --index {untuned-index} --topics <queries> "
    "--encoder <backbone> --hits 12 --output {output}",
    "retrieval/<name>": f"python -m iaa_retrieval.train bi-encoder {TRAINING}",
    "retrieval/<name>-index": "python -m iaa_retrieval.encode input --corpus toy output --embeddings {output} "
    "--to-faiss encoder --encoder {retrieval/<name>} --precision fp32",
    "retrieval/<name>.trec": "python -m iaa_retrieval.search faiss --index {retrieval/<name>-index} --topics <queries> "
    "--encoder {retrieval/<name>} --hits 30 --remove-query --output {output}",
    "reranking/<name>": f"python -m iaa_retrieval.train cross-encoder {TRAINING}",
    "reranking/<name>.trec": "python -m iaa_retrieval.rerank --run {untuned.trec} --topics <queries> --collection toy "
    "--encoder {reranking/<name>} --hits 12 --precision fp32 --output {output}",
}


def values() -> dict[str, Any]:
    settings = {"lr": {"value": "1e-2", "provenance": "ours"}, "steps": {"value": 6, "provenance": "ours"}}
    columns = {"test": ["nDCG@10", "R@5"]}
    row = {"display_name": "a row", "method": "lora", "dimensions": {"r": 2}, "budget": "1%"}
    return {
        "title": "Tiny",
        "description": "Forty documents.",
        "backbone": {"name": BACKBONE, "display_name": "tiny", "hidden_size": 32, "layers": 3, "parameters": 40_000},
        "roles": {"full": "full"},
        "topic_sets": {"test": {"display_name": "test", "queries": "toy:test", "qrels": "toy:test"}},
        "stages": {
            "retrieval": {
                "title": "Dense retrieval",
                "run": "retrieval/<name>.trec",
                "columns": columns,
                "settings": settings,
                "rate_search": {
                    "methods": ["1e-2", "5e-2"],
                    "full": ["1e-3"],
                    "metric": "nDCG@10",
                    "settings": {"steps": "3"},
                },
            },
            "reranking": {
                "title": "Re-ranking",
                "run": "reranking/<name>.trec",
                "columns": columns,
                "settings": settings,
            },
        },
        "steps": STEPS,
        "conditions": [
            {**row, "name": "lora-1", "stage": "retrieval", "seeds": [42, 43]},
            {**row, "name": "full", "stage": "retrieval", "method": "full", "dimensions": {}, "budget": "100%"},
            {**row, "name": "adapter-1", "stage": "reranking", "method": "adapter"},
        ],
    }


@dataclass
class Toy:
    """Where the experiment is: ``here`` holds the collection, the backbone and the reproductions."""

    here: Path
    bundle: Path
    links: Path
    store: Path

    def options(self, **changes: Any) -> BundleOptions:
        chosen = {"selection": Selection(("toy",)), "output": self.bundle, "training_precision": "as stated"}
        chosen |= {"constraints": None, "cache": self.here, "runs": self.here / "runs"}
        return BundleOptions(**{**chosen, **changes})

    def run(self, output: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """As on the other machine: no site-packages, another folder, no environment of ours."""
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(self.links), "HOME": str(self.here / "home")}
        command = [sys.executable, "-S", str(self.bundle / "run.py"), "--output", str(output), "--device", "cpu"]
        return subprocess.run(
            [*command, "--at-once", "2", *arguments],
            env=environment,
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )


def link_packages(names: tuple[str, ...], target: Path) -> None:
    """Installed packages, and nothing else, in a folder that Python can import from."""
    target.mkdir()
    for name in names:
        distribution = importlib.metadata.distribution(name)
        for top in {PurePath(file).parts[0] for file in distribution.files or ()} - {"..", "__pycache__", "bin"}:
            if not (target / top).exists():
                (target / top).symlink_to(Path(str(distribution.locate_file(top))).resolve())


def write_half_backbone(source: Path, target: Path) -> None:
    """A copy whose weights are fp16 numbers (of a few there is no rounding that keeps the text's order otherwise)."""
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(source, target)
    weights = load_file(target / "model.safetensors")
    rounded = {name: tensor.to(torch.float16).to(tensor.dtype) for name, tensor in weights.items()}
    save_file(rounded, target / "model.safetensors", metadata={"format": "pt"})


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, tiny_backbone: Callable[..., Path]) -> Toy:
    here = tmp_path_factory.mktemp("here")
    write_toy_collection(here / "toy")
    write_toy_run(here / "first.trec")
    write_half_backbone(tiny_backbone("bert"), here / BACKBONE)
    (here / "reproductions").mkdir()
    (here / "reproductions" / "toy.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(values())), sort_keys=False))
    link_packages((*PYTORCH, *PACKAGES), here / "links")
    return Toy(here, here / "bundle", here / "links", here / "store")


@pytest.fixture(autouse=True)
def in_place(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(toy.here)
    for module in ("iaa_retrieval.reproduction.loading", "iaa_retrieval.remote.bundle"):
        monkeypatch.setattr(f"{module}.reproductions_directory", lambda: toy.here / "reproductions")


def ordinary_scores(directory: Path, stage: str, condition: str, seed: int) -> tuple[list[Any], dict[str, Any]]:
    """History and scores of the same row by the ordinary verbs, with Faiss, in this process."""
    import faiss

    from iaa_retrieval import encode_corpus, rerank, train
    from iaa_retrieval.collections.runs import write_run
    from iaa_retrieval.collections.topics import read_topics
    from iaa_retrieval.inference.loading import load_for_inference
    from iaa_retrieval.inference.text_encoder import encode_queries
    from iaa_retrieval.reproduction.results import read_history
    from iaa_retrieval.reproduction.runner import score_run

    (plan,) = load_reproduction("toy").select(condition, stage)
    directory.mkdir()
    shutil.copy("first.trec", directory)
    trained: str | None = None
    for step in plan.chain("test", seed):
        words = shlex.split(step.command_in(directory))[3:]
        output = directory / step.name
        if step.trains:
            assert CliRunner().invoke(train.main, words).exit_code == 0
            trained = str(output)
        elif "iaa_retrieval.rerank" in step.command:
            assert CliRunner().invoke(rerank.main, words).exit_code == 0
        elif "iaa_retrieval.search" in step.command:
            encoder = load_for_inference(trained or BACKBONE, kind="bi-encoder", precision="fp32", device="cpu")
            encoded = encode_corpus(encoder, "toy")
            hits = int(words[words.index("--hits") + 1])
            index = faiss.IndexFlatIP(encoded.vectors.shape[1])
            index.add(encoded.vectors)
            queries = read_topics("toy:test")
            scores, rows = index.search(encode_queries(encoder, [query.text for query in queries]), hits)
            run = {
                query.query_id: {encoded.ids[row]: float(score) for row, score in zip(*found, strict=True)}
                for query, *found in zip(queries, rows, scores, strict=True)
            }
            write_run(output, run, "ordinary")
    assert trained
    per_query = score_run(plan.reproduction.topic_sets["test"], output, plan.columns["test"])
    return read_history(Path(trained)), per_query


def test_a_bundle_over_the_limit_is_refused_with_the_sizes(toy: Toy, tmp_path: Path) -> None:
    with pytest.raises(IaaRetrievalError, match=r"MiB, over 0\.0: backbones\.tar 0\.\d, content\.tar\.xz 0\.\d, man"):
        make_bundle(toy.options(output=tmp_path / "bundle", limit=1000), {})
    assert not (tmp_path / "bundle").exists()


def test_a_folder_with_something_else_is_left_alone(toy: Toy, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UsageError, match="holds something else than a bundle"):
        make_bundle(toy.options(output=tmp_path), {})
    assert (tmp_path / "thesis.tex").is_file()


@pytest.mark.parametrize(
    ("word", "reason"), [("$HOME/q.tsv", "by an environment variable"), ("first.trec", r"reads first\.trec, which")]
)
def test_what_a_bundle_cannot_bring(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, reason: str
) -> None:
    contents = json.loads(json.dumps(values()))
    contents["steps"]["retrieval/<name>.trec"] += f" --another {word}"
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(contents, sort_keys=False))
    monkeypatch.setattr("iaa_retrieval.reproduction.loading.reproductions_directory", lambda: tmp_path)
    with pytest.raises(IaaRetrievalError, match=reason):
        make_bundle(toy.options(output=tmp_path / "bundle"), {})


def test_there_and_back(toy: Toy, tmp_path: Path) -> None:
    sizes = make_bundle(toy.options(), {})
    assert set(sizes) == {"manifest.json", "run.py", "content.tar.xz", "backbones.tar"}
    there = toy.run(tmp_path / "back")
    assert there.returncode == 0, there.stdout + there.stderr
    assert sorted(file.name for file in (tmp_path / "back").iterdir()) == ["SUMMARY.txt", "results-0.tar"]
    # Two rates of LoRA and one of full fine-tuning; two seeds, one and the re-ranking row; the untuned run is not ours.
    summary = (tmp_path / "back" / "SUMMARY.txt").read_text()
    assert "8 units done" in summary, summary

    comparisons = collect(CollectOptions(tmp_path / "back", toy.store))
    assert {(c.stage, c.condition) for c in comparisons} == {
        ("retrieval", "lora-1"),
        ("retrieval", "full"),
        ("reranking", "adapter-1"),
    }
    reproduction = load_reproduction("toy")
    lora, full, adapter = reproduction.plans
    tried = read_tried_rates(lora)
    assert tried is not None and list(tried.scores) == ["1e-2", "5e-2"]
    assert lora.settings["lr"].value == tried.best and full.settings["lr"].value == "1e-3"
    result = read_result(lora.result_file)
    assert result.hardware.endswith("backbone rounded to fp16") and "iaa-retrieval" in result.versions
    for seed in (42, 43):
        history, scores = ordinary_scores(tmp_path / f"ordinary-{seed}", "retrieval", "lora-1", seed)
        assert result.seeds[seed].history == [pytest.approx(entry, abs=2e-4) for entry in history]
        assert result.seeds[seed].per_query["test"] == {m: pytest.approx(v, abs=2e-6) for m, v in scores.items()}
    history, scores = ordinary_scores(tmp_path / "ordinary-reranking", "reranking", "adapter-1", 42)
    reranked = read_result(adapter.result_file)
    assert reranked.first.per_query["test"] == {m: pytest.approx(v, abs=2e-6) for m, v in scores.items()}
    assert lora.condition.seeds == (42, 43) and set(lora.condition.scores["test"]["R@5"].seeds) == {42, 43}
    assert lora.checkpoint.is_dir() and adapter.checkpoint.is_dir() and not full.checkpoint.exists()

    with pytest.raises(UsageError, match="no row of toy that trains something is left"):
        make_bundle(toy.options(), read_store(toy.store))
    with pytest.raises(UsageError, match="every unit that is known by now has come back"):
        make_bundle(toy.options(selection=Selection(("toy",), again=True)), read_store(toy.store))
