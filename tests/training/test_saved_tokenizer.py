"""A checkpoint's tokenizer is its backbone's: no batch that it was used for has left a trace."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from iaa_retrieval.training.options import TrainOptions
from iaa_retrieval.training.run import train_retriever


@pytest.mark.parametrize("kind", ["bi-encoder", "cross-encoder"])
def test_it_is_saved_without_the_last_batchs_truncation_and_padding(
    kind: str, toy_options: Callable[..., TrainOptions], toy: Any
) -> None:
    output = train_retriever(toy_options(kind, method="lora", r=2, max_steps=1, epochs=1.0)).output
    saved, original = (json.loads((Path(path) / "tokenizer.json").read_text()) for path in (output, toy.backbone))
    assert saved["truncation"] is None and saved["padding"] is None
    assert saved == original
