"""Puts a tuning method on a model, and counts what is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from peft import TaskType
from torch import nn

from iaa_retrieval.errors import UsageError
from iaa_retrieval.tuning.methods import Method, Settings, check_overrides, get_method

EMBEDDING_TASK = "FEATURE_EXTRACTION"


def apply_method(
    model: Any,
    method: str | Method,
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
        model: an encoder (``AutoModel``) or one with a task head (``AutoModelForSequenceClassification``).
        method: a name in the registry, or a method, such as ``peft_method`` makes of a PEFT configuration.
        dimensions: exactly the method's own, see ``Method.dimensions``.
        modules_to_save: modules trained and saved whole; default: the task head, see ``head_modules``.
        task_type: PEFT's task type. With "FEATURE_EXTRACTION" the pooler takes no part in the result, so that
            nothing in it is trained (a parameter without a gradient stops distributed training).
        dropout: on the hidden activation of a bottleneck, or LoRA's; a prefix has none.
        scaling: factor on what bottlenecks and LoRA add; default: 1. ``lora_alpha`` is ``2 * r * scaling``, so that
            LoRA's update is ``2 * scaling * B A x`` at every rank and one learning rate fits all budgets.
        activation: non-linearity of the bottlenecks, by transformers' name; default: relu.

    Returns:
        A ``peft.PeftModel`` whose adapter is "default"; for ``full`` the model itself with everything trainable.

    Raises:
        UsageError: an unknown method, dimension, activation or task type; a scaling or activation that the
            method does not have; a backbone type that is not supported; BitFit on a backbone without biases
            (ModernBERT).
    """
    entry = get_method(method) if isinstance(method, str) else method
    if task_type not in (None, *TaskType):
        raise UsageError(f"unknown task type {task_type!r}; known: {', '.join(TaskType)}")
    dims, settings = _checked(entry, dimensions, dropout, scaling, activation)
    settings = replace(
        settings,
        modules_to_save=tuple(head_modules(model) if modules_to_save is None else modules_to_save),
        task_type=task_type,
        unused_pooler=_has_unused_pooler(model, task_type),
    )
    tuned: nn.Module = entry.apply(model, dims, settings)
    return tuned


def method_config(
    model: Any,
    method: str | Method,
    dimensions: Mapping[str, int],
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    activation: str | None = None,
) -> Any:
    """The PEFT configuration of a method on a backbone, for ``add_adapter`` of transformers or sentence-transformers.

    The arguments are those of ``apply_method``, and so are the errors; ``full`` is no adapter and has none.
    """
    entry = get_method(method) if isinstance(method, str) else method
    return entry.peft_config(model, *_checked(entry, dimensions, dropout, scaling, activation))


def head_modules(model: Any) -> list[str]:
    """Names of the modules that make up a model's task head: what must be trained and saved with an adapter.

    These are the children with parameters outside the encoder, and the encoder's pooler, whose weights a
    checkpoint of an encoder may lack, unless the model says that the head does not use it (``leaves_pooler_unused``).
    Empty for a bare encoder.
    """
    encoder = model.base_model
    if encoder is model:
        return []
    heads = [
        name
        for name, child in model.named_children()
        if child is not encoder and next(child.parameters(), None) is not None
    ]
    if getattr(encoder, "pooler", None) is not None and not getattr(model, "leaves_pooler_unused", False):
        heads.append("pooler")
    return heads


def count_trainable(model: nn.Module, method: str | Method) -> dict[str, int]:
    """How many parameters of a model are trained that ``apply_method`` put the method on.

    Returns:
        "weights": what the method itself trains, as ``Method.weight_count`` counts it (for BitFit its biases,
        for full fine-tuning the whole encoder); "biases": those that come on top, of the bottlenecks; "heads": modules
        saved whole, or what a fully fine-tuned model has outside its encoder.
    """
    entry = get_method(method) if isinstance(method, str) else method
    counts = {"weights": 0, "biases": 0, "heads": 0}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            counts[_part(model, entry, name)] += parameter.numel()
    return counts


def _part(model: Any, method: Method, name: str) -> str:
    if ".modules_to_save." in name:
        return "heads"
    if method.is_adapter:
        return "biases" if method.is_extra_bias(name) else "weights"
    has_head = getattr(model, "base_model", model) is not model
    return "heads" if has_head and not name.startswith(f"{model.base_model_prefix}.") else "weights"


def _checked(
    method: Method, dimensions: Mapping[str, int], dropout: float, scaling: float | None, activation: str | None
) -> tuple[dict[str, int], Settings]:
    """The dimensions in the method's order, and its settings with the defaults filled in."""
    dims = method.check(dimensions)
    check_overrides(method, scaling, activation)
    settings = Settings(dropout=dropout)
    if scaling is not None:
        settings = replace(settings, scaling=scaling)
    if activation is not None:
        settings = replace(settings, activation=activation)
    return dims, settings


def _has_unused_pooler(model: Any, task_type: str | None) -> bool:
    if getattr(model.base_model, "pooler", None) is None:
        return False
    if model.base_model is model:
        return task_type == EMBEDDING_TASK
    return bool(getattr(model, "leaves_pooler_unused", False))
