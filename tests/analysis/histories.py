"""Checkpoint directories that hold only what the instruments read, with hand-made histories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TRAINING = {
    "collection": "toy",
    "split": "train",
    "queries": 24,
    "loss": "contrastive",
    "negatives": "in-batch",
    "negatives_per_query": 0,
    "teacher": None,
    "batch_size": 4,
    "learning_rate": 0.001,
    "temperature": 0.05,
    "steps": 40,
    "seed": 42,
}


def write_run(
    directory: Path,
    loss: dict[int, float],
    dev: dict[int, float] | None = None,
    *,
    method: str = "lora",
    kind: str = "bi-encoder",
    dimensions: dict[str, int] | None = None,
    **training: Any,
) -> Path:
    """A directory with ``retriever.json`` and ``history.json``."""
    directory.mkdir(parents=True)
    best = max((dev or {0: 0.0}).values())
    config = {
        "kind": kind,
        "method": method,
        "dimensions": dimensions or {"r": 4},
        "backbone": "tiny",
        "backbone_fingerprint": "0123456789abcdef",
        "training": {**TRAINING, **training},
        "dev_scores": {"nDCG@10": best, "MRR@10": best} if dev else {},
    }
    history = [{"loss": value, "grad_norm": 1.0, "epoch": 1.0, "step": step} for step, value in loss.items()]
    history += [{"eval_nDCG@10": v, "eval_MRR@10": v, "epoch": 1.0, "step": s} for s, v in (dev or {}).items()]
    history.append({"train_runtime": 1.0, "train_loss": 9.0, "epoch": 1.0, "step": max(loss)})
    (directory / "retriever.json").write_text(json.dumps(config), encoding="utf-8")
    (directory / "history.json").write_text(json.dumps(history), encoding="utf-8")
    return directory


def write_result(path: Path, histories: dict[int, list[dict[str, float]]]) -> Path:
    """``COLLECTION/STAGE/CONDITION.json`` as reproductions keep it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seeds = {str(seed): {"seconds": 1.0, "per_query": {}, "history": kept} for seed, kept in histories.items()}
    content = {"date": "2026-11-28", "hardware": "", "versions": {}, "from_checkpoint": False, "seeds": seeds}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
