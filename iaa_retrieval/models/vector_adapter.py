"""A small residual map over query vectors, for encoders whose weights are out of reach.

``q' = q + W_up f(W_down q)``, of unit length where the vectors that it was trained on are. It needs no encoder: only
vectors of queries, and judgments of documents whose vectors are somewhere. The idea is that of PEMA (Kim et al.,
arXiv:2311.08590), which tunes models through what their interface gives out.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.files import read_json, sha256_of, write_json
from iaa_retrieval.models.retriever_config import FILE_NAME, VECTOR_ADAPTER

WEIGHTS_FILE = "vector_adapter.safetensors"
ACTIVATIONS = ("linear", "relu", "gelu")
INITIAL_STD = 0.02  # of W_down, as of every bottleneck here

_AT_A_TIME = 4096


@dataclass(frozen=True, kw_only=True)
class VectorAdapterConfig:
    """``retriever.json`` of a vector adapter.

    Attributes:
        kind: ``vector-adapter``.
        dimension: numbers of a vector.
        r: numbers between the two matrices.
        activation: what stands between them: ``linear`` (nothing), ``relu`` or ``gelu``.
        normalize: whether what comes out has unit length.
        fingerprint: hash of all of the above and of the weights.
        encoder_fingerprint: of the encoder that made the queries' vectors; empty where nothing says which.
        index_fingerprint: of the encoder that made the documents' vectors, likewise.
        training: data, seed, steps, loss, hyper-parameters.
        versions: of the libraries.
        dev_scores: of the weights that were kept, and of the vectors as they were given.
    """

    kind: str = VECTOR_ADAPTER
    dimension: int
    r: int
    activation: str
    normalize: bool
    fingerprint: str = ""
    encoder_fingerprint: str = ""
    index_fingerprint: str = ""
    training: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    dev_scores: dict[str, float] = field(default_factory=dict)


class VectorAdapter(nn.Module):
    """The map from vectors to vectors; as it is made it changes none.

    Args:
        dimension: numbers of a vector.
        r: numbers between the two matrices.
        activation: one of ``ACTIVATIONS``.
        normalize: whether what comes out has unit length, as what goes in must then have.
    """

    def __init__(self, dimension: int, r: int, activation: str, *, normalize: bool) -> None:
        super().__init__()
        self.down = nn.Linear(dimension, r)
        self.up = nn.Linear(r, dimension)
        self.activation = {"linear": nn.Identity, "relu": nn.ReLU, "gelu": nn.GELU}[activation]()
        self.normalize = normalize
        nn.init.normal_(self.down.weight, std=INITIAL_STD)
        for parameter in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(parameter)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Vectors fp32 [n, d] to vectors of the same shape."""
        moved = vectors + self.up(self.activation(self.down(vectors)))
        return nn.functional.normalize(moved, dim=-1) if self.normalize else moved

    @torch.inference_mode()
    def map(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors [n, d] of queries to float32 [n, d].

        Raises:
            IaaRetrievalError: they have another length than the adapter was trained on.
        """
        given = np.ascontiguousarray(vectors, dtype=np.float32)
        if given.ndim != 2 or given.shape[1] != self.down.in_features:
            raise IaaRetrievalError(
                f"this vector adapter takes vectors of {self.down.in_features} numbers, and these have "
                f"{given.shape[-1]}; use the encoder that it was trained for"
            )
        if not len(given):
            return given
        return torch.cat([self(part) for part in torch.split(torch.from_numpy(given), _AT_A_TIME)]).numpy()


def save_vector_adapter(adapter: VectorAdapter, config: VectorAdapterConfig, directory: Path) -> VectorAdapterConfig:
    """Write weights and ``retriever.json`` into ``directory``, and return the settings with their fingerprint."""
    from safetensors.torch import save_file

    save_file({name: tensor.contiguous() for name, tensor in adapter.state_dict().items()}, directory / WEIGHTS_FILE)
    values = asdict(config) | {"fingerprint": _fingerprint(config, directory)}
    write_json(directory / FILE_NAME, values)
    return VectorAdapterConfig(**values)


def load_vector_adapter(path: str | Path) -> tuple[VectorAdapter, VectorAdapterConfig]:
    """A vector adapter and its settings.

    Raises:
        IaaRetrievalError: there is none, or its files do not fit together.
    """
    from safetensors.torch import load_file

    directory = Path(path)
    if not (directory / FILE_NAME).is_file():
        raise IaaRetrievalError(
            f"{path} is no vector adapter (it has no {FILE_NAME}); train one with: train vector-adapter"
        )
    values = read_json(directory / FILE_NAME)
    if not isinstance(values, dict) or values.get("kind") != VECTOR_ADAPTER:
        found = values.get("kind") if isinstance(values, dict) else "something else"
        raise IaaRetrievalError(
            f"{path} is a {found}; a vector adapter is needed here (train vector-adapter makes one)"
        )
    if set(values) != {entry.name for entry in fields(VectorAdapterConfig)}:
        raise IaaRetrievalError(f"{directory / FILE_NAME} is not of a vector adapter of this version")
    config = VectorAdapterConfig(**values)
    if not (directory / WEIGHTS_FILE).is_file():
        raise IaaRetrievalError(f"{path} lacks {WEIGHTS_FILE}; copy the whole directory again")
    if _fingerprint(config, directory) != config.fingerprint:
        raise IaaRetrievalError(f"{path}: its weights are not those that {FILE_NAME} describes; train or copy it again")
    adapter = VectorAdapter(config.dimension, config.r, config.activation, normalize=config.normalize)
    adapter.load_state_dict(load_file(directory / WEIGHTS_FILE))
    return adapter.eval(), config


def _fingerprint(config: VectorAdapterConfig, directory: Path) -> str:
    parts = (config.dimension, config.r, config.activation, config.normalize, config.encoder_fingerprint)
    text = "\n".join(map(str, (*parts, sha256_of(directory / WEIGHTS_FILE))))
    return hashlib.sha256(text.encode()).hexdigest()
