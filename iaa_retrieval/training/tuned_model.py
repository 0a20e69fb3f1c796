"""A backbone with a tuning method on it, ready to be trained."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, NamedTuple

from torch import nn

from iaa_retrieval.errors import UsageError
from iaa_retrieval.models.new_retriever import inherited_settings
from iaa_retrieval.models.retriever import Retriever
from iaa_retrieval.models.shared_backbone import share_weights, weights_untouched
from iaa_retrieval.training.kinds import TrainingKind
from iaa_retrieval.training.network_settings import set_dropout, store_frozen_weights_in_bf16, use_fast_attention
from iaa_retrieval.training.option_groups import DEFAULT_BUDGET, TextOptions, TuningOptions
from iaa_retrieval.training.starting_point import StartingPoint, read_starting_point
from iaa_retrieval.tuning.apply import EMBEDDING_TASK, apply_method, count_trainable, head_modules
from iaa_retrieval.tuning.budget import choose_dimensions, parse_budget
from iaa_retrieval.tuning.methods import Method

LOG = logging.getLogger("iaa_retrieval")


class TunedModel(NamedTuple):
    """A model to train, its method's dimensions, and how many numbers are trained (by kind)."""

    model: Retriever
    dimensions: dict[str, int]
    trainable_parameters: dict[str, int]


def new_tuned_model(
    kind: TrainingKind, tuning: TuningOptions, text: TextOptions, device: str, precision: str
) -> TunedModel:
    """Load the backbone on ``device`` and put the method on it; what is not trained is kept in ``precision``.

    Raises:
        UsageError: dimensions, budget or lengths that the method or backbone does not take; a checkpoint to start from
            that does not fit.
    """
    start = None if tuning.start_from is None else read_starting_point(tuning.start_from)
    model = new_untuned_model(kind, tuning.backbone, text, start)
    if start is not None:
        start.require_same(model, tuning, queries_alone=kind.tunes_queries)
    dimensions = _dimensions(tuning, model, start)
    network = model.network
    use_fast_attention(network, device)
    method = tuning.chosen_method
    dropout = tuning.dropout if tuning.dropout is not None else method.backbone_dropout
    if dropout is not None:
        set_dropout(network, dropout)
    # Without a task head to train, the pooler takes no part and must not be trained either.
    task: dict[str, Any] = (
        {"modules_to_save": head_modules(network)} if model.has_task_head else {"task_type": EMBEDDING_TASK}
    )

    backbone_parameters = sum(parameter.numel() for parameter in model.backbone.parameters())

    def tune(bare: Any) -> nn.Module:
        return apply_method(bare, method, dimensions, scaling=tuning.scaling, activation=tuning.activation, **task)

    networks = [network, share_weights(network)] if tuning.separate_encoders else [network]
    shared = weights_untouched(network, f"method {method.name}") if tuning.separate_encoders else nullcontext()
    with shared:
        model.set_networks(*[tune(bare) for bare in networks])
    model.config = replace(model.config, separate_encoders=tuning.separate_encoders)
    if start is not None:
        start.put_into(model)
    counts = _count_trainable(model, method)
    LOG.info(
        "%s %s on %s%s trains %s weights (%.2f%% of the backbone's %s parameters), %s biases and %s in heads",
        tuning.method_name,
        kind.name,
        tuning.backbone,
        "".join(f", {key} = {value}" for key, value in dimensions.items()),
        f"{counts['weights']:,}",
        100 * counts["weights"] / backbone_parameters,
        f"{backbone_parameters:,}",
        f"{counts['biases']:,}",
        f"{counts['heads']:,}",
    )
    if method.loads_with_peft_model_only():
        LOG.warning(
            "only peft.PeftModel and this package load a %s checkpoint; AutoModel.from_pretrained, load_adapter and "
            "sentence-transformers do not",
            tuning.method_name,
        )
    model.to(device)
    _finish(kind, model, tuning, precision)
    return TunedModel(model, dimensions, counts)


def _finish(kind: TrainingKind, model: Retriever, tuning: TuningOptions, precision: str) -> None:
    """What comes after the method is on the model: precision, and what the kind records of it."""
    if precision == "bf16":
        store_frozen_weights_in_bf16(model)
    if kind.finish_model is not None:
        kind.finish_model(model, tuning)


def _count_trainable(model: Retriever, method: Method) -> dict[str, int]:
    """Trained numbers by kind, of both adapters where there are two."""
    parts = [count_trainable(network, method) for network in model.networks]
    return {kind: sum(part[kind] for part in parts) for kind in parts[0]}


def new_untuned_model(
    kind: TrainingKind, backbone: str, text: TextOptions, start: StartingPoint | None = None
) -> Retriever:
    """The backbone as a model of the kind on the CPU, with the lengths and prefixes that ``text`` asks for.

    Where ``text`` says nothing, those of ``start`` count, if it is of this kind.

    Raises:
        UsageError: a length that the backbone does not take.
    """
    if start is not None:
        text = start.text_options(kind.name, text)
    model = kind.new_model(backbone, text)
    if start is not None:
        model.config = replace(model.config, **inherited_settings(start.config, type(model)))
    limit = model.position_limit
    lengths: dict[str, Any] = {
        name: getattr(model.config, name) if getattr(text, name) is None else getattr(text, name)
        for name in ("query_max_length", "document_max_length")
    }
    for name, length in (*lengths.items(), ("train_max_length", text.train_max_length)):
        if length is not None and not 2 < length <= limit:
            raise UsageError(
                f"--{name.replace('_', '-')} {length} is outside what {backbone} takes: 3 to {limit} tokens"
            )
    # An adapter may learn another prefix than the checkpoint that it starts from; it takes the prompt's place.
    prefixes: dict[str, Any] = {
        key: value
        for role in ("query", "document")
        if (prefix := getattr(text, f"{role}_prefix")) is not None
        for key, value in ((f"{role}_prefix", prefix), (f"{role}_prompt", ""))
    }
    model.config = replace(model.config, **lengths, **prefixes)
    return model


def _dimensions(tuning: TuningOptions, model: Retriever, start: StartingPoint | None) -> dict[str, int]:
    """Those of the start where nothing is said about them; nothing else fits on it."""
    if start is None:
        return _own_dimensions(tuning, model)
    if tuning.budget is None and not tuning.dimensions:
        return dict(start.config.dimensions)
    dimensions = _own_dimensions(tuning, model)
    start.require_dimensions(dimensions)
    return dimensions


def _own_dimensions(tuning: TuningOptions, model: Retriever) -> dict[str, int]:
    """Explicit dimensions where given, the budget's otherwise; none for PEFT's own methods."""
    if tuning.peft_config is not None:
        return {}
    explicit = dict(tuning.dimensions)
    wanted = set(tuning.chosen_method.dimension_names)
    unknown = sorted(set(explicit) - wanted)
    if unknown:
        raise UsageError(f"method {tuning.method_name} has no dimension {', '.join(unknown)}")
    if wanted <= set(explicit) and tuning.budget is None:
        return explicit
    base = model.backbone
    layers = getattr(base.config, "num_hidden_layers", None) or base.config.n_layers
    chosen = choose_dimensions(
        tuning.method_name,
        parse_budget(tuning.budget or DEFAULT_BUDGET),
        model.width,
        int(layers),
        sum(parameter.numel() for parameter in base.parameters()),
    )
    return {**chosen, **explicit}
