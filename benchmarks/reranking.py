"""Scoring the pairs of TREC DL 2019's BM25 top-100 with a cross-encoder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks import msmarco
from benchmarks.section import Ratio, Round, Section, Value

WARM_UP = 300
BACKBONE = "all-MiniLM-L6-v2"


def measure(directory: Path) -> Round:
    """Score all pairs with ours, then with sentence-transformers in both precisions."""
    import torch
    from sentence_transformers import CrossEncoder

    from iaa_retrieval.inference.cpu_kernels import use_cpu_kernels
    from iaa_retrieval.inference.pair_scorer import score_pairs
    from iaa_retrieval.models.new_retriever import new_cross_encoder

    torch.manual_seed(1)
    ours = new_cross_encoder(BACKBONE)
    plain = directory / "cross-encoder"
    ours.classifier.save_pretrained(plain)
    ours.tokenizer.save_pretrained(plain)
    ours.to(torch.bfloat16).eval()
    use_cpu_kernels(ours)
    pairs = msmarco.pairs()
    peers: dict[str, Any] = {
        name: CrossEncoder(str(plain), num_labels=1, max_length=256, device="cpu", model_kwargs=options)
        for name, options in (("st_bf16", {"dtype": torch.bfloat16}), ("st_fp32", {}))
    }
    score = {
        "ours": lambda some: score_pairs(ours, some),
        **{name: (lambda some, peer=peer: peer.predict(some, show_progress_bar=False)) for name, peer in peers.items()},
    }
    found: Round = {}
    for name, function in score.items():
        function(pairs[:WARM_UP])
        start = time.perf_counter()
        function(pairs)
        found[f"{name}_rate"] = len(pairs) / (time.perf_counter() - start)
    return found


SECTION = Section(
    name="reranking",
    title="Re-ranking",
    text=(
        "The 43 x 100 pairs of the published BM25 top-100 of TREC DL 2019 (passages of about 80 tokens, at most 256 a "
        "pair), one-output MiniLM classifier: texts in, scores out, in one process. sentence-transformers' "
        "`CrossEncoder.predict` with its defaults, and with bf16 weights."
    ),
    measure=measure,
    values=(
        Value("ours_rate", "iaa_retrieval, bf16", "pairs/s", 0),
        Value("st_bf16_rate", "CrossEncoder.predict, bf16", "pairs/s", 0),
        Value("st_fp32_rate", "CrossEncoder.predict, fp32 (its default)", "pairs/s", 0),
    ),
    ratios=(
        Ratio("faster than CrossEncoder.predict, fp32", "ours_rate", "st_fp32_rate", 2.5),
        Ratio("faster than CrossEncoder.predict, bf16", "ours_rate", "st_bf16_rate", 1.1),
    ),
)
