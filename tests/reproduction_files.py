"""A reproduction whose steps are copies of small files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

QRELS = "q1 0 d1 1\nq2 0 d2 1\n"
# nDCG@10: 1 for q1, 1 / log2(3) = 0.6309 for q2, so 0.8155 on average; MRR@10: 0.75.
RUN = "q1 Q0 d1 1 2.0 t\nq1 Q0 d2 2 1.0 t\nq2 Q0 d1 1 2.0 t\nq2 Q0 d2 2 1.0 t\n"
# All relevant documents first: nDCG@10 and MRR@10 are 1.
BETTER_RUN = "q1 Q0 d1 1 2.0 t\nq2 Q0 d2 1 2.0 t\n"


def score(value: float, provenance: str = "measured", tolerance: float = 0.002, **more: Any) -> dict[str, Any]:
    return {"value": value, "tolerance": tolerance, "provenance": provenance, **more}


def condition(name: str, run: str, stage: str = "retrieval", **scores: dict[str, Any]) -> dict[str, Any]:
    """A row over the topic set ``test``; without scores it is not yet run."""
    values = {
        "name": name,
        "display_name": name.upper(),
        "stage": stage,
        "method": "none",
        "run": run,
        "measured": {"date": "2026-11-21", "hardware": "toy"},
    }
    if scores:
        values["scores"] = {"test": {key.replace("_at_", "@"): value for key, value in scores.items()}}
    return values


def toy_values(directory: Path) -> dict[str, Any]:
    """What the YAML holds; every step also appends its name to ``log`` in ``directory``."""
    for name, content in (("qrels.txt", QRELS), ("source.trec", RUN), ("better.trec", BETTER_RUN)):
        (directory / name).write_text(content)

    def copy(name: str, source: str) -> str:
        return f"sh -c 'echo {name} >> {directory / 'log'}; cp {source} {{output}}'"

    return {
        "title": "Toy & co",
        "description": "Two queries.",
        "backbone": {
            "name": "tiny",
            "display_name": "Tiny",
            "hidden_size": 32,
            "layers": 3,
            "parameters": 100_000,
        },
        "roles": {"subject": {"display_name": "IAA", "methods": ["iaa-s", "iaa-l", "iaa-m"]}, "full": "full"},
        "topic_sets": {"test": {"display_name": "the test", "queries": "q.tsv", "qrels": str(directory / "qrels.txt")}},
        "stages": {
            "retrieval": {
                "title": "Dense retrieval",
                "columns": {"test": ["nDCG@10", "MRR@10"]},
                "run": "<name>.trec",
            },
            "reranking": {"title": "Re-ranking", "columns": {"test": ["nDCG@10"]}, "run": "<name>.trec"},
        },
        "steps": {
            "first.trec": copy("first", str(directory / "source.trec")),
            "copy.trec": copy("copy", "{first.trec}"),
            "better.trec": copy("better", str(directory / "better.trec")),
        },
        "conditions": [
            condition("plain", "first.trec", nDCG_at_10=score(0.8155), MRR_at_10=score(0.75)),
            condition("copied", "copy.trec", "reranking", nDCG_at_10=score(0.5, "paper")),
            condition("better", "better.trec", "reranking", nDCG_at_10=score(0.9)),
        ],
    }


def tuned_values(directory: Path) -> dict[str, Any]:
    """Toy values with a tuned condition: its training command cannot succeed, its checkpoint holds the run."""
    values = toy_values(directory)
    values["steps"] = {
        "<name>": "python -m iaa_retrieval.train bi-encoder --method <method> <dimensions> --seed <seed> --to {output}",
        "<name>.trec": "cp {<name>}/run.trec {output}",
    }
    tuned = condition("iaa-l-0.5", "", nDCG_at_10=score(0.8155), MRR_at_10=score(0.75))
    values["conditions"] = [tuned | {"method": "iaa-l", "budget": "0.5%", "dimensions": {"r": 2, "ar": 3}}]
    return values


def commit_checkpoint(directory: Path, run: str = RUN) -> Path:
    """What ``tuned_values`` takes for the committed checkpoint of the collection ``toy``."""
    checkpoint = directory / "checkpoints" / "toy" / "retrieval" / "iaa-l-0.5"
    checkpoint.mkdir(parents=True, exist_ok=True)
    (checkpoint / "run.trec").write_text(run)
    (checkpoint / "retriever.json").write_text(str(len(run)))  # stands for the hash of the weights
    return checkpoint


def write_reproduction(directory: Path, values: dict[str, Any], name: str = "toy") -> Path:
    path = directory / f"{name}.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path
