"""What the tests of tuning share: the matrix of methods and backbones, tiny inputs, randomised adapters."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from iaa_retrieval.models.architecture import choose_network_class
from iaa_retrieval.tuning.apply import apply_method
from iaa_retrieval.tuning.methods import get_method, method_names

BACKBONES = ("bert", "roberta", "xlm-roberta", "electra", "mpnet", "distilbert", "modernbert")
# The families whose every method goes through ``test_families.py``, several properties at a time.
ENCODERS = ("camembert", "albert", "deberta-v2", "nomic_bert", "gte", "eurobert", "t5", "mt5", "umt5")
DECODERS = ("qwen2", "qwen3", "llama", "mistral", "gemma2", "gemma3_text", "embedding-gemma", "modernbert-decoder")
SIZES = {"r": 4, "ar": 3, "prefix_length": 5}
PEFT_METHODS = tuple(name for name in method_names() if name != "full")
# ModernBERT has no bias to train; the refusal has a test of its own.
MATRIX = [(m, b) for b in BACKBONES for m in PEFT_METHODS if (m, b) != ("bitfit", "modernbert")]
MERGEABLE = ("bitfit", "lora")
WITH_PREFIX = ("prefix", "mam")

Backbone = Callable[[str], Path]
_loaded: dict[tuple[Path, Any, str | None], Any] = {}


def sizes_of(method: str) -> dict[str, int]:
    return {name: SIZES[name] for name in get_method(method).dimension_names}


def load(directory: Path, auto: Any = AutoModel, attention: str | None = None) -> Any:
    """A fresh copy of the backbone in ``directory``, in evaluation mode."""
    key = (directory, auto, attention)
    if key not in _loaded:
        head = {"num_labels": 1} if auto is AutoModelForSequenceClassification else {}
        torch.manual_seed(1)
        config = AutoConfig.from_pretrained(directory)
        network_class = choose_network_class(auto, config, str(directory))  # of T5 the encoder alone
        _loaded[key] = network_class.from_pretrained(directory, attn_implementation=attention, **head).eval()
    return copy.deepcopy(_loaded[key])


def tuned(model: Any, method: str, seed: int = 0, **options: Any) -> Any:
    """The model with the method on it, its trained parameters moved away from where they start."""
    torch.manual_seed(seed)
    model = apply_method(model, method, sizes_of(method), **options).eval()
    randomise(model, seed)
    return model


def randomise(model: torch.nn.Module, seed: int, deviation: float = 0.3) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += deviation * torch.randn(parameter.shape, generator=generator)


def batch(padded: bool = True) -> dict[str, torch.Tensor]:
    """Two texts of 9 and 6 tokens."""
    ids = torch.randint(5, 100, (2, 9), generator=torch.Generator().manual_seed(3))
    mask = torch.ones_like(ids)
    if padded:
        ids[1, 6:] = 0
        mask[1, 6:] = 0
    return {"input_ids": ids, "attention_mask": mask}


@torch.no_grad()
def states(model: Any, inputs: dict[str, torch.Tensor] | None = None) -> torch.Tensor:
    """Last hidden states of the real tokens (or the scores of a model with a head)."""
    inputs = batch() if inputs is None else inputs
    output = model(**inputs)
    if "logits" in output:
        return output.logits
    return output.last_hidden_state[inputs["attention_mask"].bool()]


def close(left: torch.Tensor, right: torch.Tensor, tolerance: float = 1e-5) -> bool:
    return torch.allclose(left, right, rtol=tolerance, atol=tolerance)
