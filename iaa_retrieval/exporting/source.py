"""What is exported: a checkpoint, or a plain encoder, in fp32 on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from iaa_retrieval.errors import UsageError
from iaa_retrieval.files import read_json, write_json
from iaa_retrieval.models.bi_encoder import BiEncoder
from iaa_retrieval.models.checkpoint import save_tokenizer, weights_fingerprint
from iaa_retrieval.models.kinds import load_retriever
from iaa_retrieval.models.retriever import Retriever
from iaa_retrieval.models.retriever_config import RetrieverConfig


class Source:
    """A loaded model, and what every format needs to know about it.

    Attributes:
        name: the checkpoint's directory, or how a plain encoder was called.
        model: the model in evaluation mode.
        config: its settings.
    """

    def __init__(self, name: str, model: Retriever) -> None:
        self.name = name
        self.model = model
        self.config: RetrieverConfig = model.config

    @property
    def network(self) -> Any:
        """The Hugging Face (or PEFT) network inside the model."""
        return self.model.network

    @network.setter
    def network(self, network: Any) -> None:
        self.model.set_networks(network)

    @property
    def is_stock_network(self) -> bool:
        """Whether transformers itself reads the network with all that is in it, see ``Retriever``."""
        return self.model.is_stock_network(self.config)

    @property
    def input_names(self) -> tuple[str, ...]:
        """What the network is fed, as our inference feeds it: bi-encoders never get segment ids."""
        return self.model.input_names

    @property
    def max_length(self) -> int:
        """The longest input in tokens: of a text, or of a pair."""
        return self.model.max_length

    @torch.inference_mode()
    def run(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Vectors [batch, d] or scores [batch] of one batch of inputs by name, each [batch, tokens].

        Separate encoders give the queries' and then the passages' vectors of the same texts, [2 * batch, d].
        """
        return torch.cat(self.model.outputs(inputs))

    def save_tokenizer(self, directory: Path, input_names: Sequence[str] | None = None) -> None:
        """Write the tokenizer so that a tool which asks nothing else does what our inference does.

        Args:
            input_names: what it gives; default: ``input_names`` of the source.
        """
        save_tokenizer(self.model.tokenizer, directory)
        # A tokenizer writes only those of its settings that it was made with.
        file = directory / "tokenizer_config.json"
        settings = {
            "model_max_length": self.max_length,
            "model_input_names": list(input_names or self.input_names),
            "padding_side": "right",
        }
        write_json(file, {**read_json(file), **settings})

    def fingerprint_of(self, directory: Path) -> str:
        """The fingerprint of this model with the weights that are in ``directory``."""
        return self.model.fingerprint_of(self.config, weights_fingerprint(directory))


def load_source(name: str, truncate_dim: int | None = None) -> Source:
    """Load a checkpoint or a plain encoder.

    Args:
        truncate_dim: numbers to keep of each vector; None is all, or what it says.

    Raises:
        UsageError: vectors of fewer numbers, or none at all.
        IaaRetrievalError: it cannot be loaded, or its files do not fit together.
    """
    model = load_retriever(name, precision="fp32", device="cpu")
    if truncate_dim is None:
        return Source(name, model)
    if not isinstance(model, BiEncoder):
        raise UsageError(
            f"--truncate-dim {truncate_dim}: {name} is a {model.kind}, which makes no vectors; leave it out"
        )
    return Source(name, model.cut_to(truncate_dim).eval())
