"""Several networks on one backbone: each has modules of its own, all of them use the same weight tensors.

So adapters of any type stand side by side without a switch between them: nothing changes which adapter is
active, neither another thread nor the recomputation of gradient checkpointing.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from iaa_retrieval.errors import IaaRetrievalError


def share_weights(network: Any) -> Any:
    """A second network like ``network``, with modules and configuration of its own on the very same parameters.

    The parameters are the same objects, so that moving one network to a device or precision moves both.
    """
    same = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    return copy.deepcopy(network, same)


@contextmanager
def weights_untouched(network: nn.Module, adapter: str) -> Iterator[None]:
    """Put an adapter on a shared network inside this; the backbone's weights must come out as they went in.

    Raises:
        IaaRetrievalError: the adapter's initialisation replaces some of them (as LoRA's PiSSA does), which would
            change every other network too; they are put back. ``adapter`` names it.
    """
    before = [(name, parameter, parameter.data) for name, parameter in network.named_parameters()]
    yield
    changed = [name for name, parameter, data in before if parameter.data_ptr() != data.data_ptr()]
    if changed:
        for _, parameter, data in before:
            parameter.data = data
        raise IaaRetrievalError(
            f"{adapter} starts by changing weights of the backbone ({changed[0]}), which it would share with other "
            "adapters; use a method that leaves them as they are"
        )


class SharedBackbone:
    """One encoder in memory, on which many checkpoints are loaded; it is never run itself.

    Attributes:
        name: what it was loaded from.
        fingerprint: of its weights in fp32.
    """

    def __init__(self, encoder: nn.Module, name: str, fingerprint: str) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self._encoder = encoder

    def network(self, auto_class: Any, **options: Any) -> Any:
        """A bare network on the backbone's weights: its encoder, or one with a fresh task head.

        Args:
            auto_class: ``AutoModel`` or ``AutoModelForSequenceClassification``.
            options: settings that its configuration gets, such as ``num_labels=1`` (see ``Retriever``).
        """
        from transformers import AutoModel

        # Parameters of its own on the same storage, so that what is done to these leaves the other networks' alone.
        own = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in self._encoder.parameters()}
        encoder: Any = copy.deepcopy(self._encoder, own)
        if auto_class is AutoModel:
            return encoder
        for name, value in options.items():
            setattr(encoder.config, name, value)
        network = auto_class.from_config(encoder.config).eval()
        for name, parameter in encoder.named_parameters():
            module, _, leaf = name.rpartition(".")
            holder = _submodule(network.base_model, module)
            if holder is not None:  # some task models leave the encoder's pooler out
                setattr(holder, leaf, parameter)
        return network


def _submodule(network: nn.Module, name: str) -> nn.Module | None:
    try:
        return network.get_submodule(name)
    except AttributeError:
        return None
