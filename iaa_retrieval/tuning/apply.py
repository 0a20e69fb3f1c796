"""Puts a tuning method on a model, and counts what is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peft import LoraConfig, TaskType, get_peft_model
from torch import nn

from iaa_retrieval.errors import UsageError
from iaa_retrieval.tuning.architectures import get_architecture, in_layers
from iaa_retrieval.tuning.methods import get_method
from iaa_retrieval.tuning.tuners.bitfit import BitFitConfig
from iaa_retrieval.tuning.tuners.config import IAAConfig

ADAPTER_NAME = "default"
EMBEDDING_TASK = "FEATURE_EXTRACTION"
DEFAULT_SCALING = 1.0
DEFAULT_ACTIVATION = "relu"
IN_POOLER = r"(?:.*\.)?pooler\..*"


def apply_method(
    model: Any,
    method: str,
    dimensions: Mapping[str, int],
    *,
    modules_to_save: list[str] | None = None,
    task_type: str | None = None,
    dropout: float = 0.0,
    scaling: float | None = None,
    activation: str | None = None,
) -> nn.Module:
    """Freeze a transformers model and put a method's trained parameters on it, in place.

    Args:
        model: an encoder (`AutoModel`) or one with a task head (`AutoModelForSequenceClassification`).
        method: a name in the registry.
        dimensions: exactly the method's own, see `Method.dimensions`.
        modules_to_save: modules trained and saved whole; default: the task head, see `head_modules`.
        task_type: PEFT's task type. With "FEATURE_EXTRACTION" the pooler takes no part in the result, so that
            nothing in it is trained (a parameter without a gradient stops distributed training).
        dropout: on the hidden activation of a bottleneck, or LoRA's; a prefix has none.
        scaling: factor on what bottlenecks and LoRA add; default: 1. `lora_alpha` is `2 * r * scaling`, so that
            LoRA's update is `2 * scaling * B A x` at every rank and one learning rate fits all budgets.
        activation: non-linearity of the bottlenecks, by transformers' name; default: relu.

    Returns:
        A `peft.PeftModel` whose adapter is "default"; for `full` the model itself with everything trainable.

    Raises:
        UsageError: an unknown method, dimension, activation or task type; a scaling or activation that the
            method does not have; a backbone type that is not supported; BitFit on a backbone without biases
            (ModernBERT).
    """
    entry = get_method(method)
    if task_type not in (None, *TaskType):
        raise UsageError(f"unknown task type {task_type!r}; known: {', '.join(TaskType)}")
    pooler = _unused_pooler(model) if task_type == EMBEDDING_TASK else None
    if entry.tuner == "none":
        entry.check(dimensions)
        entry.check_overrides(scaling, activation)
        model.requires_grad_(True)
        if pooler is not None:
            pooler.requires_grad_(False)
        trained: nn.Module = model
        return trained
    config = method_config(model, method, dimensions, dropout=dropout, scaling=scaling, activation=activation)
    if entry.tuner == "bitfit" and pooler is not None:
        config.exclude_modules = IN_POOLER
    config.task_type = task_type
    heads = head_modules(model) if modules_to_save is None else list(modules_to_save)
    config.modules_to_save = heads or None
    tuned: nn.Module = get_peft_model(model, config, adapter_name=ADAPTER_NAME)
    return tuned


def method_config(
    model: Any,
    method: str,
    dimensions: Mapping[str, int],
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    activation: str | None = None,
) -> Any:
    """The PEFT configuration of a method on a backbone, for `add_adapter` of transformers or sentence-transformers.

    The arguments are those of `apply_method`, and so are the errors; `full` is no adapter and has none.
    """
    entry = get_method(method)
    dims = entry.check(dimensions)
    entry.check_overrides(scaling, activation)
    factor = DEFAULT_SCALING if scaling is None else scaling
    if entry.tuner == "none":
        raise UsageError(f"method {method} trains the backbone itself and is no adapter; choose another method")
    architecture = get_architecture(getattr(model.config, "model_type", None))
    if entry.tuner == "bitfit":
        return BitFitConfig()
    if entry.tuner == "lora":
        targets = "|".join(in_layers(architecture, module) for module in architecture.lora_targets)
        alpha = 2 * dims["r"] * factor
        return LoraConfig(r=dims["r"], lora_alpha=alpha, lora_dropout=dropout, target_modules=targets)
    return IAAConfig(
        **entry.settings,
        r=dims.get("r"),
        aside_r=dims.get("ar"),
        prefix_length=dims.get("prefix_length", 0),
        dropout=dropout,
        scaling=factor,
        activation=activation or DEFAULT_ACTIVATION,
    )


def head_modules(model: Any) -> list[str]:
    """Names of the modules that make up a model's task head: what must be trained and saved with an adapter.

    These are the children with parameters outside the encoder, and the encoder's pooler, whose weights a
    checkpoint of an encoder may lack. Empty for a bare encoder.
    """
    encoder = model.base_model
    if encoder is model:
        return []
    heads = [
        name
        for name, child in model.named_children()
        if child is not encoder and next(child.parameters(), None) is not None
    ]
    if getattr(encoder, "pooler", None) is not None:
        heads.append("pooler")
    return heads


def count_trainable(model: nn.Module) -> dict[str, int]:
    """How many parameters are trained.

    Returns:
        "weights": what the method itself trains, as `Method.weight_count` counts it (for BitFit its biases,
        for full fine-tuning the whole encoder); "biases": those of the bottlenecks; "heads": modules saved
        whole, or what a fully fine-tuned model has outside its encoder.
    """
    counts = {"weights": 0, "biases": 0, "heads": 0}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            counts[_kind(model, name)] += parameter.numel()
    return counts


def _kind(model: Any, name: str) -> str:
    if ".modules_to_save." in name:
        return "heads"
    if hasattr(model, "peft_config"):
        return "biases" if ".iaa_" in name and name.endswith(".bias") else "weights"
    has_head = getattr(model, "base_model", model) is not model
    return "heads" if has_head and not name.startswith(f"{model.base_model_prefix}.") else "weights"


def _unused_pooler(model: Any) -> nn.Module | None:
    pooler: nn.Module | None = getattr(model.base_model, "pooler", None)
    return pooler if model.base_model is model else None
