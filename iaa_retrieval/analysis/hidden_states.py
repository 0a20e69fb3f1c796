"""The hidden states of every layer, seen by hooks while a batch goes through a network in one or several passes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.models.retriever import Retriever
from iaa_retrieval.tuning.architectures import get_architecture, in_layers

QUERIES, PASSAGES, ALL = "queries", "passages", "all"


class Pass(NamedTuple):
    """One call of a network.

    Attributes:
        real: bool [texts, tokens]; whether a token is one of the text, not padding.
        states: of each layer [texts, tokens, d], from the first layer to the last.
    """

    real: Tensor
    states: list[Tensor]


@dataclass(frozen=True)
class Places:
    """Where hidden states are seen.

    Attributes:
        network: what is called with an ``attention_mask`` [texts, tokens] among its keywords.
        layers: the modules inside it (or itself, as the last) whose outputs are the hidden states, in their order.
            An output may be a tuple or a mapping whose first entry they are.
    """

    network: nn.Module
    layers: Sequence[nn.Module]


def places_of(model: Retriever) -> Places:
    """The layers of a retriever of either kind, whatever method is on it.

    The last layer's states are taken where pooling or the task head reads them: behind the aside of IAA-M, and in a
    pre-LN model behind the final normalisation. In other models that is the last layer's own output. What a layer's
    hooks add, such as the aside of IAA-L, belongs to its output.

    Raises:
        UsageError: an architecture whose layers are not known by name, or used several times each.
    """
    layer = re.compile(in_layers(get_architecture(getattr(model.backbone.config, "model_type", None))))
    layers = [module for name, module in model.network.named_modules() if layer.fullmatch(name)]
    if len(layers) != model.backbone.config.num_hidden_layers:
        raise UsageError(
            f"{model.source} uses each of its {len(layers)} layers several times, so that nothing can be said of one "
            "layer; measure another backbone"
        )
    # PEFT calls the forward of a bare encoder past its hooks, so that its output is seen outside; a head, in contrast,
    # is called by the network itself, on the output of the encoder inside.
    last = model.backbone if model.has_task_head else model.network
    return Places(model.network, [*layers[:-1], last])


@contextmanager
def recording(places: Places) -> Iterator[list[Pass]]:
    """Collect the passes that are made inside this block, each with its hidden states as the network computes them.

    Where gradients are kept, every state is part of the graph, even if nothing before it is trained.

    Raises:
        IaaRetrievalError: a layer gives something else than one vector per token.
    """
    passes: list[Pass] = []

    def begin(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        passes.append(Pass(kwargs["attention_mask"].bool(), []))

    def keep(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        state = output if isinstance(output, Tensor) else output[0]
        if state.dim() != 3 or state.shape[:2] != passes[-1].real.shape:
            raise IaaRetrievalError(
                f"{type(module).__name__} gives hidden states {tuple(state.shape)} for texts and tokens "
                f"{tuple(passes[-1].real.shape)}; only backbones that give one vector per token can be measured"
            )
        if torch.is_grad_enabled() and not state.requires_grad:
            state.requires_grad_()
        passes[-1].states.append(state)

    handles = [places.network.register_forward_pre_hook(begin, with_kwargs=True)]
    handles += [layer.register_forward_hook(keep) for layer in places.layers]
    try:
        yield passes
    finally:
        for handle in handles:
            handle.remove()


def sides(passes: Sequence[Pass], inputs: Mapping[str, Tensor]) -> list[str]:
    """Of each pass, whose texts it had: ``queries``, ``passages``, or ``all`` where the two are one input.

    Args:
        inputs: the batch; an objective of bi-encoders puts all of its ``query_ids`` through the network, then the
            passages.
    """
    if "query_ids" not in inputs:
        return [ALL] * len(passes)
    left = inputs["query_ids"].shape[0]
    found = []
    for one in passes:
        found.append(QUERIES if left > 0 else PASSAGES)
        left -= one.real.shape[0]
    return found
