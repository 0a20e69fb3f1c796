"""A backbone with a tuning method on it, ready to be trained."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, NamedTuple

from torch import nn

from iaa_retrieval.errors import UsageError
from iaa_retrieval.models.loading import IN_FP32, Loading
from iaa_retrieval.models.new_retriever import inherited_settings
from iaa_retrieval.models.precision import DTYPES
from iaa_retrieval.models.prompts import Asked, asked_frames, require_room
from iaa_retrieval.models.retriever import Retriever
from iaa_retrieval.models.shared_backbone import share_weights, weights_untouched
from iaa_retrieval.models.sizes import parameter_count
from iaa_retrieval.training.kinds import TrainingKind
from iaa_retrieval.training.memory_options import MemoryOptions
from iaa_retrieval.training.network_settings import (
    keep_trained_weights_in_fp32,
    move_what_is_on_the_cpu,
    set_dropout,
    store_frozen_weights,
    use_fast_attention,
    use_gradient_checkpointing,
)
from iaa_retrieval.training.option_groups import DEFAULT_BUDGET, TuningOptions
from iaa_retrieval.training.starting_point import StartingPoint, read_starting_point
from iaa_retrieval.training.text_options import TextOptions
from iaa_retrieval.tuning.apply import EMBEDDING_TASK, apply_method, count_trainable, head_modules
from iaa_retrieval.tuning.budget import dimensions_on, parse_budget
from iaa_retrieval.tuning.methods import Method, sizes_of
from iaa_retrieval.tuning.methods.lora import Lora
from iaa_retrieval.tuning.tuners.bitfit import count_biases

LOG = logging.getLogger("iaa_retrieval")


class TunedModel(NamedTuple):
    """A model to train, its method's dimensions, and how many numbers are trained (by kind)."""

    model: Retriever
    dimensions: dict[str, int]
    trainable_parameters: dict[str, int]


def new_tuned_model(
    kind: TrainingKind,
    tuning: TuningOptions,
    text: TextOptions,
    device: str,
    precision: str,
    memory: MemoryOptions = MemoryOptions(),  # noqa: B008 (frozen)
) -> TunedModel:
    """Load the backbone on ``device`` and put the method on it.

    What is not trained is kept in ``precision``, and comes into memory in it where all of the backbone is frozen; what
    is trained is in fp32.

    Raises:
        UsageError: dimensions, budget or lengths that the method or backbone does not take; a checkpoint to start from
            that does not fit.
    """
    start = None if tuning.start_from is None else read_starting_point(tuning.start_from)
    method = tuning.chosen_method
    loading = memory.loading(precision if method.is_adapter else "fp32", device)
    model = new_untuned_model(kind, tuning.backbone, text, start, loading)
    if start is not None:
        start.require_same(model, tuning, queries_alone=kind.tunes_queries)
    dimensions = _dimensions(tuning, model, start)
    network = model.network
    if memory.attn_implementation is None:
        use_fast_attention(network, device)
    dropout = tuning.dropout if tuning.dropout is not None else method.backbone_dropout
    if dropout is not None:
        set_dropout(network, dropout)
    # Without a task head to train, the pooler takes no part and must not be trained either.
    task: dict[str, Any] = (
        {"modules_to_save": head_modules(network)} if model.has_task_head else {"task_type": EMBEDDING_TASK}
    )

    backbone_parameters = parameter_count(model.backbone)

    def tune(bare: Any) -> nn.Module:
        return apply_method(bare, method, dimensions, scaling=tuning.scaling, activation=tuning.activation, **task)

    networks = [network, share_weights(network)] if tuning.separate_encoders else [network]
    shared = weights_untouched(network, f"method {method.name}") if tuning.separate_encoders else nullcontext()
    with shared:
        model.set_networks(*[tune(bare) for bare in networks])
    keep_trained_weights_in_fp32(model)
    model.config = replace(model.config, separate_encoders=tuning.separate_encoders)
    if start is not None:
        start.put_into(model)
    counts = _count_trainable(model, method)
    _say_what_is_trained(kind, tuning, dimensions, counts, backbone_parameters)
    _bring_into_place(model, loading, precision)
    if kind.finish_model is not None:
        kind.finish_model(model, tuning)
    if memory.gradient_checkpointing:
        for network in model.networks:
            use_gradient_checkpointing(network, tuning.backbone)
    return TunedModel(model, dimensions, counts)


def _say_what_is_trained(
    kind: TrainingKind,
    tuning: TuningOptions,
    dimensions: dict[str, int],
    counts: dict[str, int],
    backbone_parameters: int,
) -> None:
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
    if tuning.chosen_method.loads_with_peft_model_only():
        LOG.warning(
            "only peft.PeftModel and this package load a %s checkpoint; AutoModel.from_pretrained, load_adapter and "
            "sentence-transformers do not",
            tuning.method_name,
        )


def _bring_into_place(model: Retriever, loading: Loading, precision: str) -> None:
    """Move a tuned model to its device, its frozen weights in ``precision``."""
    if loading.is_placed:
        move_what_is_on_the_cpu(model, loading.device)
    else:
        model.to(loading.device)
    if precision != "fp32":
        store_frozen_weights(model, DTYPES[precision])


def _count_trainable(model: Retriever, method: Method) -> dict[str, int]:
    """Trained numbers by kind, of both adapters where there are two."""
    parts = [count_trainable(network, method) for network in model.networks]
    return {kind: sum(part[kind] for part in parts) for kind in parts[0]}


def new_untuned_model(
    kind: TrainingKind,
    backbone: str,
    text: TextOptions,
    start: StartingPoint | None = None,
    loading: Loading = IN_FP32,
) -> Retriever:
    """The backbone as a model of the kind, with the lengths, prefixes and prompts that ``text`` asks for.

    Where ``text`` says nothing, those of ``start`` count, if it is of this kind.

    Raises:
        UsageError: a length that the backbone does not take, or prompts that contradict each other or do not exist.
    """
    frames = asked_frames(backbone, {role: Asked(*said) for role, said in text.around.items()})
    if start is not None:
        text = start.text_options(kind.name, text)
    model = kind.new_model(backbone, text, loading)
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
    changes = dict(lengths)
    for role, frame in frames.items():
        changes |= frame.settings(role)
    model.config = replace(model.config, **changes)
    document = min(model.config.document_max_length, text.train_max_length or model.config.document_max_length)
    require_room(model.tokenizer, model.config, query=model.query_limit, document=document)
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
    chosen = dimensions_on(
        sizes_of(base.config, count_biases(base)),
        tuning.method_name,
        parse_budget(tuning.budget or DEFAULT_BUDGET),
        parameter_count(base),
    )
    method = tuning.chosen_method
    if isinstance(method, Lora) and method.targets == "all":
        chosen = method.spread(base, chosen)
    return {**chosen, **explicit}
