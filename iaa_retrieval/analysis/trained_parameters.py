"""Which parameters of a checkpoint were trained."""

from __future__ import annotations

import re
from typing import Any

from torch import nn

from iaa_retrieval.models.retriever import Retriever
from iaa_retrieval.tuning.methods.base import IN_POOLER


def trained_parameters(model: Retriever) -> dict[str, nn.Parameter]:
    """The parameters that the method of a checkpoint trained, by name, of all its networks.

    An adapter's are those of its tuner and of the modules that are saved whole with it, such as a task head. Where the
    whole network was trained, the pooler of a bi-encoder, which takes no part, is left out.
    """
    found: dict[str, nn.Parameter] = {}
    for number, network in enumerate(model.networks):
        for name, parameter in network.named_parameters():
            if parameter.is_floating_point() and _is_trained(model, network, name):
                found[f"{number}.{name}"] = parameter
    return found


def _is_trained(model: Retriever, network: Any, name: str) -> bool:
    if hasattr(network, "peft_config"):
        return f".{network.base_model.prefix}" in name or ".modules_to_save." in name
    return model.has_task_head or re.fullmatch(IN_POOLER, name) is None
