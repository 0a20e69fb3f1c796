"""A backbone with a tuning method on it, ready to be trained."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, NamedTuple

from torch import nn

from iaa_retrieval.errors import UsageError
from iaa_retrieval.models.backbone_checkpoint import read_backbone_checkpoint
from iaa_retrieval.models.bi_encoder import BiEncoder
from iaa_retrieval.models.cross_encoder import CrossEncoder
from iaa_retrieval.models.new_retriever import new_bi_encoder, new_cross_encoder
from iaa_retrieval.models.retriever import Retriever
from iaa_retrieval.models.shared_backbone import share_weights, weights_untouched
from iaa_retrieval.models.text_settings import TextSettings, read_text_settings
from iaa_retrieval.training.options import TrainOptions
from iaa_retrieval.training.speed import set_dropout, store_frozen_weights_in_bf16, use_fast_attention
from iaa_retrieval.tuning.apply import EMBEDDING_TASK, apply_method, count_trainable, head_modules
from iaa_retrieval.tuning.budget import choose_dimensions, parse_budget

DEFAULT_QUERY_LENGTH = 64  # of a backbone that says none

LOG = logging.getLogger("iaa_retrieval")


class TunedModel(NamedTuple):
    """A model to train, its method's dimensions, and how many numbers are trained (by kind)."""

    model: BiEncoder | CrossEncoder
    dimensions: dict[str, int]
    trainable_parameters: dict[str, int]


def new_tuned_model(options: TrainOptions, device: str, precision: str) -> TunedModel:
    """Load the backbone on ``device`` and put the method on it; what is not trained is kept in ``precision``.

    Raises:
        UsageError: dimensions, budget or lengths that the method or backbone does not take.
    """
    model = _new_model(options)
    dimensions = _dimensions(options, model)
    network = model.network
    use_fast_attention(network, device)
    method = options.tuning_method
    dropout = options.dropout if options.dropout is not None else method.backbone_dropout
    if dropout is not None:
        set_dropout(network, dropout)
    # Without a task head to train, the pooler takes no part and must not be trained either.
    task: dict[str, Any] = (
        {"modules_to_save": head_modules(network)} if model.has_task_head else {"task_type": EMBEDDING_TASK}
    )

    backbone_parameters = sum(parameter.numel() for parameter in model.backbone.parameters())

    def tune(bare: Any) -> nn.Module:
        return apply_method(bare, method, dimensions, scaling=options.scaling, activation=options.activation, **task)

    networks = [network, share_weights(network)] if options.separate_encoders else [network]
    shared = weights_untouched(network, f"method {options.method_name}") if options.separate_encoders else nullcontext()
    with shared:
        model.set_networks(*[tune(bare) for bare in networks])
    model.config = replace(model.config, separate_encoders=options.separate_encoders)
    counts = _count_trainable(model)
    LOG.info(
        "%s %s on %s%s trains %s weights (%.2f%% of the backbone's %s parameters), %s biases and %s in heads",
        options.method_name,
        options.kind,
        options.backbone,
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
            options.method_name,
        )
    model.to(device)
    if precision == "bf16":
        store_frozen_weights_in_bf16(model)
    return TunedModel(model, dimensions, counts)


def _count_trainable(model: Retriever) -> dict[str, int]:
    """Trained numbers by kind, of both adapters where there are two."""
    parts = [count_trainable(network) for network in model.networks]
    return {kind: sum(part[kind] for part in parts) for kind in parts[0]}


def _new_bi_encoder(options: TrainOptions) -> BiEncoder:
    inherits = BiEncoder.is_kind_of(read_backbone_checkpoint(options.backbone))
    return new_bi_encoder(
        options.backbone,
        settings=None if inherits else _backbone_settings(options.backbone),
        pooling=options.pooling,
        normalize=options.normalize,
        precision="fp32",
        device="cpu",
    )


def _new_cross_encoder(options: TrainOptions) -> CrossEncoder:
    return new_cross_encoder(options.backbone)


_NEW: dict[str, Callable[[TrainOptions], BiEncoder | CrossEncoder]] = {
    BiEncoder.kind: _new_bi_encoder,
    CrossEncoder.kind: _new_cross_encoder,
}


def _new_model(options: TrainOptions) -> BiEncoder | CrossEncoder:
    model = _NEW[options.kind](options)
    limit = model.position_limit
    lengths: dict[str, Any] = {
        name: getattr(model.config, name) if getattr(options, name) is None else getattr(options, name)
        for name in ("query_max_length", "document_max_length")
    }
    for name, length in (*lengths.items(), ("train_max_length", options.train_max_length)):
        if length is not None and not 2 < length <= limit:
            raise UsageError(
                f"--{name.replace('_', '-')} {length} is outside what {options.backbone} takes: 3 to {limit} tokens"
            )
    # An adapter may learn another prefix than the checkpoint that it starts from; it takes the prompt's place.
    prefixes: dict[str, Any] = {
        key: value
        for role in ("query", "document")
        if (prefix := getattr(options, f"{role}_prefix")) is not None
        for key, value in ((f"{role}_prefix", prefix), (f"{role}_prompt", ""))
    }
    model.config = replace(model.config, **lengths, **prefixes)
    return model


def _backbone_settings(backbone: str) -> TextSettings:
    """What a plain backbone says about its use; one that says nothing is pooled as works best untuned."""
    settings = read_text_settings(backbone)
    if settings.from_metadata:
        return settings
    return replace(settings, pooling="mean", normalize=True, query_length=DEFAULT_QUERY_LENGTH)


def _dimensions(options: TrainOptions, model: Retriever) -> dict[str, int]:
    """Explicit dimensions where given, the budget's otherwise; none for PEFT's own methods."""
    if options.peft_config is not None:
        return {}
    given = {"r": options.r, "ar": options.ar, "prefix_length": options.prefix_length, **(options.dimensions or {})}
    explicit = {name: value for name, value in given.items() if value is not None}
    wanted = set(options.tuning_method.dimension_names)
    unknown = sorted(set(explicit) - wanted)
    if unknown:
        raise UsageError(f"method {options.method_name} has no dimension {', '.join(unknown)}")
    if wanted <= set(explicit) and options.budget is None:
        return explicit
    base = model.backbone
    layers = getattr(base.config, "num_hidden_layers", None) or base.config.n_layers
    chosen = choose_dimensions(
        options.method_name,
        parse_budget(options.budget or "0.5%"),
        model.width,
        int(layers),
        sum(parameter.numel() for parameter in base.parameters()),
    )
    return {**chosen, **explicit}
