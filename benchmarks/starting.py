"""How long commands take before they do anything."""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path

from benchmarks.processes import run
from benchmarks.scifact import COLLECTION
from benchmarks.section import Round, Section, Value

REPEATS = 3


def measure(directory: Path) -> Round:
    """Each verb's --help, and encoding up to the first batch; medians of a few runs."""
    from iaa_retrieval.cli import VERBS

    log = directory / "out.log"
    helps = {
        verb: statistics.median(run(["-m", f"iaa_retrieval.{verb}", "--help"], log).seconds for _ in range(REPEATS))
        for verb in VERBS
    }
    command = ["-m", "benchmarks.workers.first_batch", "input", "--corpus", COLLECTION]
    command += ["output", "--embeddings", str(directory / "index"), "--to-faiss"]
    command += ["encoder", "--encoder", "all-MiniLM-L6-v2"]
    seconds = []
    for _ in range(REPEATS):
        seconds.append(run(command, log).seconds)
        shutil.rmtree(directory / ".index.encoding", ignore_errors=True)
    return {"slowest_help": max(helps.values()), "first_batch": statistics.median(seconds)}


SECTION = Section(
    name="starting",
    title="Starting",
    text=(
        f"Whole processes, medians of {REPEATS} runs each with warm file caches: the slowest `--help` of all verbs, "
        "and `encode` on SciFact from start until its first batch goes into the model."
    ),
    measure=measure,
    values=(
        Value("slowest_help", "slowest --help of a verb", "s", 2, limit=0.5),
        Value("first_batch", "encode until the first batch", "s", 2, limit=5.0),
    ),
    findings=(
        "Nearly all of `encode`'s start is importing what others wrote. By Python's `-X importtime`, on 2026-11-27 and "
        "on a machine where the whole took 4.2 s: 3.7 s of imports, of which PyTorch 1.5, transformers 0.8, sympy and "
        "scipy (which those two import) 0.5, Faiss 0.2, this package 0.04; then 0.3 s of loading the model. Whether it "
        "stays below five seconds depends on how fast one core is that day."
    ),
)
