"""What the kinds of retriever have in common: networks with a tokenizer and settings, loaded in the same steps."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self

import torch
from torch import nn

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.models.architecture import require_rows
from iaa_retrieval.models.checkpoint import load_networks, load_tuned_tokenizer, require_weights
from iaa_retrieval.models.precision import DTYPES, choose_device, choose_precision
from iaa_retrieval.models.retriever_config import RetrieverConfig, read_retriever_config
from iaa_retrieval.models.shared_backbone import SharedBackbone
from iaa_retrieval.models.sizes import encoder_width, position_limit


class Retriever(nn.Module, ABC):
    """A model that ranks passages for a query, as ``BiEncoder`` or as ``CrossEncoder``.

    ``kinds.load_retriever`` loads one. What differs between the kinds is asked of the object or its class, so
    that nothing else needs to know which kind it has.

    Args:
        network: the Hugging Face (or PEFT) network; of separate encoders that of queries.
        tokenizer: its fast tokenizer.
        config: its settings and where its weights came from.
        source: what it was loaded from, for messages.
        others: further networks, for a kind that can have them.

    Attributes:
        kind: ``bi-encoder`` or ``cross-encoder``, as in ``retriever.json``.
        reads_pairs: whether query and passage are one input, and the output a score; else each text is an input, and
            the output its vector.
        has_task_head: whether the network ends in a task head, which is trained with it.
        network_options: what ``auto_class`` needs to load a network, besides its place.
        document_inputs: what it reads of at most ``config.document_max_length`` tokens each, in the plural.
        pipeline_tag: what the Hugging Face hub calls its task.
    """

    kind: ClassVar[str]
    reads_pairs: ClassVar[bool]
    has_task_head: ClassVar[bool]
    network_options: ClassVar[Mapping[str, Any]]
    document_inputs: ClassVar[str]
    pipeline_tag: ClassVar[str]

    def __init__(
        self, network: nn.Module, tokenizer: Any, config: RetrieverConfig, source: str, *others: nn.Module
    ) -> None:
        super().__init__()
        self.set_networks(network, *others)
        self.tokenizer = tokenizer
        self.config = config
        self.source = source

    @staticmethod
    @abstractmethod
    def auto_class() -> Any:
        """The class of transformers whose ``from_pretrained`` gives such a network."""

    @staticmethod
    @abstractmethod
    def fingerprint_settings(config: RetrieverConfig) -> tuple[str, ...]:
        """The settings that an output depends on, beside weights, tokenizer and lengths."""

    @staticmethod
    def is_stock_network(config: RetrieverConfig) -> bool:
        """Whether such a network is one of transformers' own, which ``auto_class`` loads with all that is in it."""
        return True

    @property
    @abstractmethod
    def networks(self) -> tuple[nn.Module, ...]:
        """The network; with separate encoders that of queries, then that of passages."""

    @abstractmethod
    def set_networks(self, network: nn.Module, *others: nn.Module) -> None:
        """Put other networks, such as tuned ones, in the places of ``networks``.

        Raises:
            ValueError: more than this kind can have.
        """

    @property
    @abstractmethod
    def input_names(self) -> tuple[str, ...]:
        """What a network is fed, each an int64 tensor [batch, tokens]."""

    @property
    @abstractmethod
    def query_limit(self) -> int:
        """The most tokens that are read of a query."""

    @property
    @abstractmethod
    def max_length(self) -> int:
        """The longest input in tokens: of a text, or of a pair."""

    @abstractmethod
    def require_lengths(self, *, query: int | None = None, document: int | None = None) -> None:
        """Refuse a length in tokens that the network cannot take; None, one that was not given, always passes.

        Args:
            query: of a query.
            document: of a document or, where query and passage are one input, of such a pair.

        Raises:
            UsageError: names the length and what the network takes.
        """

    @abstractmethod
    def outputs(self, inputs: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """What each of the networks gives for the same inputs.

        Args:
            inputs: by name (see ``input_names``), each [batch, tokens].

        Returns:
            For every network fp32 vectors [batch, d], or fp32 scores [batch].
        """

    @property
    def network(self) -> Any:
        """The only network, or of separate encoders that of queries."""
        return self.networks[0]

    @property
    def backbone(self) -> Any:
        """The encoder inside ``network``, without a task head; an adapter's own layers stay inside it."""
        adapted = getattr(self.network, "get_base_model", None)
        whole = self.network if adapted is None else adapted()
        return whole.base_model if self.has_task_head else whole

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return next(self.parameters()).dtype

    @property
    def width(self) -> int:
        """Hidden size d of the network."""
        return encoder_width(self.network)

    @property
    def position_limit(self) -> int:
        """The longest input in tokens that the network can take; ``max_length`` may be lower."""
        return position_limit(self.network)

    @property
    def fingerprint(self) -> str:
        """Hash of all that an output depends on (see ``fingerprint_of``), hex; of a new model, empty."""
        return self.config.fingerprint

    @classmethod
    def fingerprint_of(cls, config: RetrieverConfig, weights: str) -> str:
        """SHA-256 (hex) of all that makes two outputs comparable: weights, tokenizer and settings, lengths apart.

        Args:
            config: the settings, with the fingerprints of backbone and tokenizer.
            weights: hash of the tuned weights, see ``checkpoint.weights_fingerprint``; of a plain encoder, the
                backbone's.
        """
        parts = (
            config.backbone_fingerprint,
            weights,
            *cls.fingerprint_settings(config),
            config.tokenizer_fingerprint,
        )
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @classmethod
    def is_kind_of(cls, config: RetrieverConfig | None) -> bool:
        """Whether these are the settings of a checkpoint of this kind; None stands for a plain encoder's."""
        return config is not None and config.kind == cls.kind

    @classmethod
    def read_config(cls, path: str) -> RetrieverConfig:
        """The settings of a checkpoint of this kind.

        Raises:
            IaaRetrievalError: a checkpoint of another kind, or none.
        """
        config = read_retriever_config(path)
        if config is None or not cls.is_kind_of(config):
            found = f"a {config.kind}" if config else "no checkpoint of this project (it has no retriever.json)"
            raise IaaRetrievalError(f"{path} is {found}; a {cls.kind} is needed here")
        return config

    @classmethod
    def from_checkpoint(cls, path: str, config: RetrieverConfig, backbone: SharedBackbone | None = None) -> Self:
        """A checkpoint's networks and tokenizer, in fp32 on the CPU or on a ``backbone`` that is in memory.

        Args:
            path: its directory.
            config: its settings, from ``read_config``.

        Raises:
            IaaRetrievalError: weights, tokenizer or backbone are not those that ``config`` describes.
        """
        require_weights(path, config, cls.fingerprint_of)
        network, *others = cls._load_networks(path, config, backbone)
        return cls(network, load_tuned_tokenizer(path, config), config, path, *others)

    @classmethod
    def _load_networks(cls, path: str, config: RetrieverConfig, backbone: SharedBackbone | None) -> tuple[Any, ...]:
        return load_networks(cls.auto_class(), path, config, backbone, **cls.network_options)

    def prepare(self, precision: str, device: str) -> Self:
        """Move to ``device`` in ``precision``, for inference, and return the retriever itself.

        Raises:
            UsageError, IaaRetrievalError: the tokenizer is not the network's, or the machine has no such device or
                precision.
        """
        self.ready()
        device = choose_device(device)
        self.to(device=device, dtype=DTYPES[choose_precision(precision, device)])
        return self

    def ready(self) -> Self:
        """The retriever itself in evaluation mode, in the form and place that it has.

        Raises:
            IaaRetrievalError: the tokenizer is not the network's.
        """
        require_rows(self.network, self.tokenizer, self.source)
        return self.eval()

    def with_lengths(self, *, query: int | None = None, document: int | None = None) -> Self:
        """The same networks under other lengths; None keeps one. Arguments and errors are ``require_lengths``'s."""
        self.require_lengths(query=query, document=document)
        lengths = {"query_max_length": query, "document_max_length": document}
        changes = {name: length for name, length in lengths.items() if length is not None}
        return self.with_config(**changes) if changes else self

    def with_config(self, **changes: Any) -> Self:
        """The same networks and tokenizer under changed settings (fields of ``RetrieverConfig``)."""
        network, *others = self.networks
        return type(self)(network, self.tokenizer, replace(self.config, **changes), self.source, *others)
