"""Training steps beside those of sentence-transformers' trainer."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

from benchmarks import scifact
from benchmarks.processes import run
from benchmarks.section import Ratio, Round, Section, Value

BATCH, STEPS, WARM_UP = 32, 15, 4
DROPOUT = "0.1"


def measure(directory: Path) -> Round:
    """Each method with each trainer, by turns, in processes of their own."""
    negatives = scifact.training_run(directory)
    found: Round = {}
    for method in ("iaa-l", "lora"):
        key = method.replace("-", "_")
        for name, trainer, dropout in (
            ("st", "sentence-transformers", DROPOUT),
            ("ours", "ours", DROPOUT),
            ("default", "ours", "default"),
        ):
            log = directory / f"{key}-{name}.log"
            words = [trainer, method, str(BATCH), str(STEPS), dropout, str(negatives)]
            run(["-m", "benchmarks.workers.train", *words], log)
            seconds = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])[WARM_UP:]
            found[f"{key}_{name}"] = 1 / statistics.median(seconds)
    return found


SECTION = Section(
    name="training",
    title="Training",
    text=(
        f"SciFact's training queries, one BM25 negative each, batches of {BATCH} queries with {2 * BATCH} passages of "
        "at most 128 tokens, in-batch softmax at temperature 0.05, bf16 autocast, AdamW: steps per second after "
        f"{WARM_UP} steps of warming up, median of {STEPS - WARM_UP - 1}. The same adapter (0.5%) goes through both "
        f"trainers, with the backbone's dropout of {DROPOUT} in both; ours switches it off by default, which is a "
        "line of its own."
    ),
    measure=measure,
    values=tuple(
        Value(f"{key}_{name}", f"{label}, {trainer}", "steps/s", 3)
        for key, label in (("iaa_l", "IAA-L"), ("lora", "LoRA"))
        for name, trainer in (
            ("ours", "iaa_retrieval, dropout 0.1"),
            ("default", "iaa_retrieval as it is by default, without dropout"),
            ("st", "SentenceTransformerTrainer"),
        )
    ),
    ratios=(
        Ratio("IAA-L, faster than SentenceTransformerTrainer", "iaa_l_ours", "iaa_l_st", 1.2),
        Ratio("LoRA, faster than SentenceTransformerTrainer", "lora_ours", "lora_st", 1.2),
        Ratio("IAA-L by default, faster than SentenceTransformerTrainer", "iaa_l_default", "iaa_l_st", 1.2),
        Ratio("LoRA by default, faster than SentenceTransformerTrainer", "lora_default", "lora_st", 1.2),
    ),
    rounds=3,
)
