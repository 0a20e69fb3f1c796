"""Memory while encoding corpora of three sizes."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

from benchmarks.processes import MEBIBYTE, MINILM, run
from benchmarks.section import Ratio, Round, Section, Value

SIZES = (10_000, 100_000, 1_000_000)
WORDS = 10
DIMENSION = 384


def measure(directory: Path) -> Round:
    """Encode synthetic passages with MiniLM's first layer, which leaves more of the memory to the corpus."""
    encoder = directory / "one-layer"
    _one_layer(encoder)
    found: Round = {}
    for size in SIZES:
        corpus = directory / f"passages-{size}.jsonl"
        _write_passages(corpus, size)
        output = directory / "index"
        shutil.rmtree(output, ignore_errors=True)
        arguments = ["-m", "iaa_retrieval.encode", "input", "--corpus", corpus, "output", "--embeddings", output]
        arguments += ["--to-faiss", "encoder", "--encoder", encoder, "--pooling", "mean", "--max-length", "16"]
        cost = run(arguments, directory / "encode.log")
        found[f"peak_{size}"] = cost.peak_bytes / MEBIBYTE
        found[f"apart_{size}"] = (cost.peak_bytes - size * DIMENSION * 4) / MEBIBYTE
        found[f"rate_{size}"] = size / cost.seconds
        corpus.unlink()
    shutil.rmtree(directory / "index")
    return found


def _one_layer(path: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    if path.is_dir():
        return
    model = AutoModel.from_pretrained(MINILM, num_hidden_layers=1)
    AutoTokenizer.from_pretrained(MINILM).save_pretrained(path)
    model.save_pretrained(path)


def _write_passages(path: Path, count: int) -> None:
    words = "retrieval of passages with small parts trained beside frozen encoders and dense vectors".split()
    random_words = random.Random(1)
    with open(path, "w", encoding="utf-8") as stream:
        for number in range(count):
            record = {"id": f"passage-{number}", "contents": " ".join(random_words.choices(words, k=WORDS))}
            stream.write(json.dumps(record) + "\n")


SECTION = Section(
    name="memory",
    title="Memory while encoding",
    text=(
        f"Synthetic passages of {WORDS} words through `iaa_retrieval.encode ... --to-faiss`, with an encoder of one "
        "layer. The process's peak resident size, and the same without the vectors of the flat index, which is built "
        "in memory at the end (4 bytes x 384 a passage; `--shard-num` makes several smaller ones)."
    ),
    measure=measure,
    values=tuple(
        value
        for size in SIZES
        for value in (
            Value(f"peak_{size}", f"{size:,} passages: peak memory", "MiB", 0),
            Value(f"apart_{size}", f"{size:,} passages: apart from the index", "MiB", 0),
            Value(f"rate_{size}", f"{size:,} passages: passages per second, start-up included", "", 0),
        )
    ),
    ratios=(
        Ratio("1,000,000 against 100,000 passages, apart from the index", "apart_1000000", "apart_100000", 1.1, False),
        Ratio("1,000,000 against 10,000 passages, apart from the index", "apart_1000000", "apart_10000", 1.1, False),
    ),
    rounds=2,
)
