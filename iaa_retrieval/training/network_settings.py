"""How a network is set before it is trained: attention kernel, dropout, checkpointing, precision of its weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from iaa_retrieval.errors import UsageError

_HALF = (torch.bfloat16, torch.float16)


def use_fast_attention(network: Any, device: str) -> None:
    """On a CPU, plain matrix products beat the fused attention kernel, whose backward pass is slow there.

    Must be called before a tuning method is applied: some methods remember the attention function.
    """
    if device == "cpu":
        network.set_attn_implementation("eager")


def use_gradient_checkpointing(network: Any, source: str) -> None:
    """Keep each layer's input only, and run the layer again when its gradient is due.

    Raises:
        UsageError: transformers' class of ``source`` cannot.
    """
    # transformers calls it so since 5.23, and warns of the older name.
    enable = getattr(network, "activation_checkpointing_enable", None) or network.gradient_checkpointing_enable
    try:
        enable({"use_reentrant": False})
    except ValueError as error:
        raise UsageError(
            f"--gradient-checkpointing: transformers has none for {source} ({network.config.model_type}); use "
            "--grad-cache, which saves memory between the texts of a batch"
        ) from error


def keep_trained_weights_in_fp32(model: nn.Module) -> None:
    """Give what is trained fp32 where it came in half precision, in which small steps would be rounded away.

    A module with a trained parameter of its own gets its others in fp32 too: they must be of one dtype.
    """
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        if any(parameter.requires_grad for parameter in own):
            for parameter in own:
                if parameter.dtype in _HALF:
                    parameter.data = parameter.data.float()


def move_what_is_on_the_cpu(model: nn.Module, device: str) -> None:
    """Bring a fresh head and such to ``device``; what was loaded onto GPUs stays where it is."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.device.type == "cpu":
            tensor.data = tensor.data.to(device)


def store_frozen_weights(model: nn.Module, dtype: torch.dtype) -> None:
    """Keep what is not trained in bf16 or fp16, so that autocast need not convert it in every step.

    A module with a trained parameter of its own, such as a bias, keeps its others too: they must be of one dtype.
    """
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        if any(parameter.requires_grad for parameter in own):
            continue
        for parameter in own:
            if parameter.is_floating_point():
                parameter.data = parameter.data.to(dtype)


def set_dropout(network: nn.Module, rate: float) -> None:
    """Set every dropout of a network; without any, a step is about a third faster on a CPU."""
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = rate
        for name in ("attention_dropout", "dropout"):  # a number that an attention hands to its kernel, as T5's does
            if isinstance(vars(module).get(name), float):
                setattr(module, name, rate)
