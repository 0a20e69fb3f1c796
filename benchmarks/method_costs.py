"""What each tuning method costs: ``python benchmarks/method_costs.py`` writes docs/method_costs.json.

Every measurement runs in a process of its own, and the methods take turns in each round, so that what else the machine
does falls on all of them. Afterwards, ``python -m iaa_retrieval.train --list-methods markdown > docs/methods.md``.
"""

from __future__ import annotations

import datetime
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click

BACKBONE, BATCH, TOKENS, DOCUMENTS = "all-MiniLM-L6-v2", 32, 128, 96
WARM_UP_STEPS, STEPS, ENCODINGS = 2, 5, 3
CASES = [
    *(("full", "all"), ("bitfit", "fixed")),
    *((method, "0.5%") for method in ("prefix", "adapter", "mam", "lora", "iaa-s", "iaa-l", "iaa-m")),
    ("iaa-l", "6.7%"),
]


def measure(method: str, budget: str) -> dict[str, Any]:
    """Steps of training a bi-encoder, then encoding with it and with the bare backbone by turns; in this process."""
    from iaa_retrieval.analysis.training_cost import measure_training
    from iaa_retrieval.collections.loading import load_collection
    from iaa_retrieval.inference.cpu_kernels import use_cpu_kernels
    from iaa_retrieval.inference.text_encoder import encode_passages
    from iaa_retrieval.models.bi_encoder import load_bi_encoder
    from iaa_retrieval.models.precision import DTYPES
    from iaa_retrieval.training.options import TrainOptions

    texts = [document.contents for document in load_collection("embedded").documents() if len(document.contents) > 400]
    options = TrainOptions.of(
        kind="bi-encoder",
        collection="embedded",
        output="",
        backbone=BACKBONE,
        method=method,
        budget=budget if "%" in budget else None,
        batch_size=BATCH,
        negatives_per_query=1,
        train_max_length=TOKENS,
        device="cpu",
    )
    cost, tuned = measure_training(options, [text[:100] for text in texts], texts, WARM_UP_STEPS, STEPS)

    bare = load_bi_encoder(BACKBONE, document_max_length=TOKENS, device="cpu")
    ours = tuned.model.with_config(document_max_length=TOKENS)  # type: ignore[union-attr]
    ours.encoder.set_attn_implementation("sdpa")
    ours.to(DTYPES[cost.precision]).eval()
    for encoder in (bare, ours):  # as the commands do
        use_cpu_kernels(encoder)
    slowdowns = []
    for turn in range(ENCODINGS + 1):
        times = []
        for encoder in (bare, ours):
            start = time.perf_counter()
            encode_passages(encoder, texts[:DOCUMENTS])
            times.append(time.perf_counter() - start)
        if turn:  # the first compiles kernels
            slowdowns.append(times[1] / times[0])
    return {
        "weights": cost.trainable_parameters["weights"],
        "biases": cost.trainable_parameters["biases"],
        "checkpoint_bytes": cost.checkpoint_bytes,
        "step_seconds": cost.step_seconds,
        "peak_train_memory_bytes": cost.peak_bytes,
        "encode_slowdowns": slowdowns,
        "precision": cost.precision,
    }


def summary(method: str, budget: str, rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """One row of the table: medians over all steps and rounds, and the lowest and highest."""
    per_1000 = [seconds * 1000 / BATCH for found in rounds for seconds in found["step_seconds"]]
    slowdowns = [ratio for found in rounds for ratio in found["encode_slowdowns"]]
    return {
        "method": method,
        "budget": budget,
        "kind": "bi-encoder",
        **{key: rounds[0][key] for key in ("weights", "biases", "checkpoint_bytes")},
        "train_seconds_per_1000": round(statistics.median(per_1000), 2),
        "train_seconds_spread": [round(min(per_1000), 2), round(max(per_1000), 2)],
        "peak_train_memory_bytes": int(statistics.median(found["peak_train_memory_bytes"] for found in rounds)),
        "encode_slowdown": round(statistics.median(slowdowns), 3),
        "encode_slowdown_spread": [round(min(slowdowns), 3), round(max(slowdowns), 3)],
    }


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", type=int, default=2, show_default=True, help="How often every method is measured.")
@click.option("--output", default="docs/method_costs.json", show_default=True, help="File to write.")
@click.option("--one", nargs=2, hidden=True, help="Measure one METHOD BUDGET here, and print what was found.")
def main(rounds: int, output: str, one: tuple[str, str] | None) -> None:
    """Measure what each tuning method costs (about six minutes a round on two cores)."""
    if one:
        click.echo(json.dumps(measure(*one)))
        return
    from iaa_retrieval.files import write_json
    from iaa_retrieval.models.precision import hardware_class
    from iaa_retrieval.versions import library_versions

    found: dict[tuple[str, str], list[dict[str, Any]]] = {case: [] for case in CASES}
    for number in range(rounds):
        for case, results in found.items():
            command = [sys.executable, __file__, "--one", *case]
            finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            results.append(json.loads(finished.stdout.splitlines()[-1]))
            click.echo(f"round {number + 1}: {' '.join(case)} {results[-1]['step_seconds'][-1]:.2f} s/step", err=True)
    precision = found[CASES[0]][0]["precision"]
    write_json(
        Path(output),
        {
            "hardware": hardware_class(),
            "versions": library_versions(),
            "date": datetime.date.today().isoformat(),
            "backbone": BACKBONE,
            "settings": f"{precision}, batches of {BATCH} queries with {2 * BATCH} passages of at most {TOKENS} "
            f"tokens, {STEPS} steps in each of {rounds} round(s); {DOCUMENTS} documents encoded {ENCODINGS} times",
            "rows": [summary(*case, results) for case, results in found.items()],
        },
    )


if __name__ == "__main__":
    main()
