"""A backbone with a tuning method on it, ready to be trained."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, NamedTuple

from torch import nn

from iaa_retrieval.errors import UsageError
from iaa_retrieval.models.backbone_checkpoint import new_bi_encoder, read_backbone_checkpoint
from iaa_retrieval.models.bi_encoder import BiEncoder, position_limit
from iaa_retrieval.models.cross_encoder import CrossEncoder, new_cross_encoder
from iaa_retrieval.models.shared_backbone import share_weights, weights_untouched
from iaa_retrieval.models.text_settings import TextSettings, read_text_settings
from iaa_retrieval.training.network_settings import set_dropout, store_frozen_weights_in_bf16, use_fast_attention
from iaa_retrieval.training.option_groups import DEFAULT_BUDGET
from iaa_retrieval.training.options import TrainOptions
from iaa_retrieval.tuning.apply import EMBEDDING_TASK, apply_method, count_trainable, head_modules
from iaa_retrieval.tuning.budget import choose_dimensions, parse_budget
from iaa_retrieval.tuning.methods import get_method
from iaa_retrieval.tuning.peft_configs import apply_peft_config, loads_with_peft_model_only

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
    tuning = options.tuning
    model = _new_model(options)
    dimensions = _dimensions(options, model)
    network = network_of(model)
    use_fast_attention(network, device)
    dropout = tuning.dropout if tuning.dropout is not None else (None if tuning.method_name == "full" else 0.0)
    if dropout is not None:
        set_dropout(network, dropout)
    # Without a task head to train, the pooler takes no part and must not be trained either.
    task: dict[str, Any] = (
        {"modules_to_save": head_modules(network)} if isinstance(model, CrossEncoder) else {"task_type": EMBEDDING_TASK}
    )

    backbone_parameters = sum(parameter.numel() for parameter in _backbone(model).parameters())

    def tune(bare: Any) -> nn.Module:
        if tuning.peft_config is not None:
            return apply_peft_config(bare, tuning.peft_config, **task)
        return apply_method(
            bare, tuning.method_name, dimensions, scaling=tuning.scaling, activation=tuning.activation, **task
        )

    if isinstance(model, BiEncoder) and tuning.separate_encoders:
        for_passages = share_weights(network)
        with weights_untouched(network, f"method {tuning.method_name}"):
            model.encoder, model.passage_encoder = tune(network), tune(for_passages)
        model.config = replace(model.config, separate_encoders=True)
    else:
        _set_network(model, tune(network))
    counts = _count_trainable(model)
    LOG.info(
        "%s %s on %s%s trains %s weights (%.2f%% of the backbone's %s parameters), %s biases and %s in heads",
        tuning.method_name,
        options.kind,
        tuning.backbone,
        "".join(f", {key} = {value}" for key, value in dimensions.items()),
        f"{counts['weights']:,}",
        100 * counts["weights"] / backbone_parameters,
        f"{backbone_parameters:,}",
        f"{counts['biases']:,}",
        f"{counts['heads']:,}",
    )
    if loads_with_peft_model_only(tuning.method_name):
        LOG.warning(
            "only peft.PeftModel and this package load a %s checkpoint; AutoModel.from_pretrained, load_adapter and "
            "sentence-transformers do not",
            tuning.method_name,
        )
    model.to(device)
    if precision == "bf16":
        store_frozen_weights_in_bf16(model)
    return TunedModel(model, dimensions, counts)


def network_of(model: BiEncoder | CrossEncoder) -> Any:
    """The Hugging Face (or PEFT) network inside a model."""
    return model.encoder if isinstance(model, BiEncoder) else model.classifier


def _count_trainable(model: BiEncoder | CrossEncoder) -> dict[str, int]:
    """Trained numbers by kind, of both adapters where there are two."""
    parts = [count_trainable(network) for network in model.networks]
    return {kind: sum(part[kind] for part in parts) for kind in parts[0]}


def _backbone(model: BiEncoder | CrossEncoder) -> Any:
    """The bare encoder, before a method is put on it."""
    return network_of(model).base_model if isinstance(model, CrossEncoder) else network_of(model)


def _set_network(model: BiEncoder | CrossEncoder, network: nn.Module) -> None:
    if isinstance(model, BiEncoder):
        model.encoder = network
    else:
        model.classifier = network


def _new_model(options: TrainOptions) -> BiEncoder | CrossEncoder:
    if options.kind == "cross-encoder":
        model: BiEncoder | CrossEncoder = new_cross_encoder(options.tuning.backbone)
    else:
        checkpoint = read_backbone_checkpoint(options.tuning.backbone)
        inherits = checkpoint is not None and checkpoint.kind == "bi-encoder"
        model = new_bi_encoder(
            options.tuning.backbone,
            settings=None if inherits else _backbone_settings(options.tuning.backbone),
            pooling=options.text.pooling,
            normalize=options.text.normalize,
            precision="fp32",
            device="cpu",
        )
    limit = position_limit(network_of(model))
    lengths: dict[str, Any] = {
        name: getattr(model.config, name) if getattr(options.text, name) is None else getattr(options.text, name)
        for name in ("query_max_length", "document_max_length")
    }
    for name, length in (*lengths.items(), ("train_max_length", options.text.train_max_length)):
        if length is not None and not 2 < length <= limit:
            raise UsageError(
                f"--{name.replace('_', '-')} {length} is outside what {options.tuning.backbone} takes: "
                f"3 to {limit} tokens"
            )
    # An adapter may learn another prefix than the checkpoint that it starts from; it takes the prompt's place.
    prefixes: dict[str, Any] = {
        key: value
        for role in ("query", "document")
        if (prefix := getattr(options.text, f"{role}_prefix")) is not None
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


def _dimensions(options: TrainOptions, model: BiEncoder | CrossEncoder) -> dict[str, int]:
    """Explicit dimensions where given, the budget's otherwise; none for PEFT's own methods."""
    if options.tuning.peft_config is not None:
        return {}
    explicit = dict(options.tuning.dimensions)
    wanted = set(get_method(options.tuning.method_name).dimensions)
    unknown = sorted(set(explicit) - wanted)
    if unknown:
        raise UsageError(f"method {options.tuning.method_name} has no dimension {', '.join(unknown)}")
    if wanted <= set(explicit) and options.tuning.budget is None:
        return explicit
    base = _backbone(model)
    layers = getattr(base.config, "num_hidden_layers", None) or base.config.n_layers
    width = getattr(base.config, "hidden_size", None) or base.config.dim
    chosen = choose_dimensions(
        options.tuning.method_name,
        parse_budget(options.tuning.budget or DEFAULT_BUDGET),
        int(width),
        int(layers),
        sum(parameter.numel() for parameter in base.parameters()),
    )
    return {**chosen, **explicit}
