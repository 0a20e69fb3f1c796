"""How much of what the machine can multiply, encoding uses."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.scifact import COLLECTION
from benchmarks.section import Round, Section, Value

ROWS, REPEATS, DOCUMENTS, PROFILED = 4096, 20, 2048, 512
SHAPES = ((384, 384), (384, 1536), (1536, 384))
# What a profiler's operator belongs to; the rest is "other".
PARTS = {
    "matrix_products": ("linear", "addmm"),
    "attention": ("bmm", "softmax", "scaled_dot_product"),
    "normalisation": ("layer_norm",),
    "activation": ("gelu",),
}


def measure(directory: Path) -> Round:
    """The model's own matrix products alone, then encoding in this process, then a profile of it."""
    import torch

    from iaa_retrieval.collections.loading import load_collection
    from iaa_retrieval.inference.cpu_kernels import use_cpu_kernels
    from iaa_retrieval.inference.text_encoder import encode_token_ids
    from iaa_retrieval.inference.tokens import tokenize_texts
    from iaa_retrieval.models.bi_encoder import load_bi_encoder
    from iaa_retrieval.process import prepare_process

    prepare_process()  # as the verbs do; without it the products would wait for memory
    found: Round = {
        "bf16_peak": _product_rate(torch.bfloat16),
        "fp32_peak": _product_rate(torch.float32),
    }
    encoder = load_bi_encoder("all-MiniLM-L6-v2", precision="bf16", device="cpu")
    use_cpu_kernels(encoder)
    texts = [document.contents for document in islice(load_collection(COLLECTION).documents(), DOCUMENTS)]
    ids = tokenize_texts(encoder.tokenizer, texts, 256)
    encode_token_ids(encoder, ids[:PROFILED], role="passage", max_length=256)
    start = time.perf_counter()
    encode_token_ids(encoder, ids, role="passage", max_length=256)
    seconds = time.perf_counter() - start
    found["documents_per_second"] = len(ids) / seconds
    found["encoding_rate"] = floating_point_operations(ids, encoder.encoder.config) / seconds / 1e12
    found["share_of_peak"] = 100 * found["encoding_rate"] / found["bf16_peak"]
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        encode_token_ids(encoder, ids[:PROFILED], role="passage", max_length=256)
    found.update(_shares(profile.key_averages()))
    return found


def floating_point_operations(token_ids: Sequence[Sequence[int]], config: Any) -> float:
    """Multiplications and additions of a BERT encoder's matrix products; padding does not count as work."""
    hidden, inner = config.hidden_size, config.intermediate_size
    total = 0
    for row in token_ids:
        projections = 2 * len(row) * (4 * hidden * hidden + 2 * hidden * inner)
        attention = 2 * 2 * len(row) ** 2 * hidden
        total += config.num_hidden_layers * (projections + attention)
    return float(total)


def _product_rate(dtype: Any) -> float:
    """TFLOP/s of the model's projections at a batch's size: the fastest shape's median."""
    import torch

    rates = []
    for inputs, outputs in SHAPES:
        x, weight = torch.randn(ROWS, inputs).to(dtype), torch.randn(outputs, inputs).to(dtype)
        seconds = []
        with torch.inference_mode():
            for _ in range(REPEATS):
                start = time.perf_counter()
                torch.nn.functional.linear(x, weight)
                seconds.append(time.perf_counter() - start)
        rates.append(2 * ROWS * inputs * outputs / statistics.median(seconds) / 1e12)
    return max(rates)


def _shares(averages: Any) -> Round:
    """Per cent of the time of each part of the encoder."""
    spent: dict[str, float] = defaultdict(float)
    for operator in averages:
        part = next((name for name, words in PARTS.items() if any(word in operator.key for word in words)), "other")
        spent[part] += operator.self_cpu_time_total
    total = sum(spent.values())
    return {f"share_{name}": 100 * spent[name] / total for name in (*PARTS, "other")}


SECTION = Section(
    name="peak",
    title="Share of the machine's peak",
    text=(
        f"The peak is what PyTorch reaches on the model's own projections, alone, with {ROWS:,} rows. Encoding is "
        f"counted in this process, on {DOCUMENTS:,} of SciFact's abstracts, without start-up and tokenisation; its "
        "operations are those of the projections and of attention on real tokens. Below it, where the time goes "
        "(PyTorch's profiler)."
    ),
    measure=measure,
    values=(
        Value("bf16_peak", "bf16 matrix products", "TFLOP/s", 3),
        Value("fp32_peak", "fp32 matrix products", "TFLOP/s", 3),
        Value("encoding_rate", "encoding, bf16", "TFLOP/s", 3),
        Value("share_of_peak", "share of the bf16 peak", "%", 0, limit=50, at_least=True),
        Value("documents_per_second", "documents per second", ""),
        Value("share_matrix_products", "time in projections (GELU in the same kernel)", "%", 0),
        Value("share_attention", "time in attention", "%", 0),
        Value("share_normalisation", "time in layer normalisation", "%", 0),
        Value("share_activation", "time in activations apart", "%", 0),
        Value("share_other", "time in everything else (copies, additions, pooling)", "%", 0),
    ),
)
