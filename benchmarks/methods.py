"""What tuned parameters cost at encoding time, against the bare backbone."""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.scifact import COLLECTION
from benchmarks.section import Ratio, Round, Section, Value

DOCUMENTS = 1024
DIMENSIONS = {"iaa-l": {"r": 10, "ar": 10}, "adapter": {"r": 13}, "lora": {"r": 13}}


def measure(directory: Path) -> Round:
    """Encode with the bare backbone and with each method, by turns; the first documents warm each up."""
    from iaa_retrieval.collections.loading import load_collection
    from iaa_retrieval.inference.text_encoder import encode_token_ids
    from iaa_retrieval.inference.tokens import tokenize_texts

    encoders = {"bare": _encoder(None), **{name: _encoder(name) for name in DIMENSIONS}}
    encoders["merged_lora"] = _encoder("lora", merge=True)
    texts = [document.contents for document in islice(load_collection(COLLECTION).documents(), DOCUMENTS)]
    ids = tokenize_texts(encoders["bare"].tokenizer, texts, 256)
    found: Round = {}
    for warm_up in (True, False):
        for name, encoder in encoders.items():
            start = time.perf_counter()
            encode_token_ids(encoder, ids[:128] if warm_up else ids, role="passage", max_length=256)
            found[f"{name.replace('-', '_')}_seconds"] = time.perf_counter() - start
    return found


def _encoder(method: str | None, *, merge: bool = False) -> Any:
    """MiniLM with a method's parameters at 0.5%; untrained ones take as long as trained ones."""
    import torch

    from iaa_retrieval.inference.cpu_kernels import use_cpu_kernels
    from iaa_retrieval.models.bi_encoder import load_bi_encoder
    from iaa_retrieval.tuning.apply import apply_method
    from iaa_retrieval.tuning.merging import merge_into_backbone

    encoder = load_bi_encoder("all-MiniLM-L6-v2", precision="fp32", device="cpu")
    if method is not None:
        encoder.encoder = apply_method(encoder.encoder, method, DIMENSIONS[method])
        if merge:
            encoder.encoder = merge_into_backbone(encoder.encoder)
    encoder.to(torch.bfloat16).eval()
    use_cpu_kernels(encoder)
    return encoder


SECTION = Section(
    name="methods",
    title="Encoding with a tuned encoder",
    text=(
        f"{DOCUMENTS:,} of SciFact's abstracts, cut at 256 tokens, in one process and in bf16: the bare backbone, and "
        "the backbone with the parameters of a method at 0.5% (their values do not matter for time)."
    ),
    measure=measure,
    values=tuple(
        Value(f"{name}_seconds", label, "s")
        for name, label in (
            ("bare", "bare backbone"),
            ("iaa_l", "IAA-L (r = ar = 10)"),
            ("adapter", "adapter (r = 13)"),
            ("lora", "LoRA (r = 13), not merged"),
            ("merged_lora", "LoRA, merged (`export --format merged`)"),
        )
    ),
    ratios=(
        Ratio("IAA-L, times the bare backbone", "iaa_l_seconds", "bare_seconds", 1.12, at_least=False),
        Ratio("adapter, times the bare backbone", "adapter_seconds", "bare_seconds", 1.12, at_least=False),
        Ratio("LoRA not merged, times the bare backbone", "lora_seconds", "bare_seconds", 1.12, at_least=False),
        Ratio(
            "LoRA merged, times the bare backbone", "merged_lora_seconds", "bare_seconds", 1.0, at_least=False, digits=1
        ),
    ),
)
