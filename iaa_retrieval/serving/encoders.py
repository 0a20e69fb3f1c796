"""The checkpoints of a server on their one backbone: vectors of queries, and scores of pairs."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence

import numpy as np

from iaa_retrieval.errors import UsageError
from iaa_retrieval.inference.adapter_server import AdapterServer
from iaa_retrieval.inference.interpolation import learnt_weight, weight_to_use
from iaa_retrieval.models.bi_encoder import BiEncoder
from iaa_retrieval.models.cross_encoder import CrossEncoder
from iaa_retrieval.models.retriever_config import RetrieverConfig, read_retriever_config
from iaa_retrieval.nearest import did_you_mean
from iaa_retrieval.pyserini_plugin.threads import use_all_threads
from iaa_retrieval.serving.config import BACKBONE, DENSE, ServeConfig
from iaa_retrieval.serving.refusals import BadRequest

VECTORS = 1024  # of the latest queries, kept for each server as a whole


class Encoders:
    """Every checkpoint of a configuration, loaded on one backbone.

    Args:
        config: with its paths found.
        precision, device: of the backbone and of all checkpoints, as ``AdapterServer`` takes them.

    Raises:
        UsageError: nothing names a backbone.
        IaaRetrievalError: the backbone or a checkpoint cannot be loaded, or a checkpoint was trained on another one.
    """

    def __init__(self, config: ServeConfig, *, precision: str = "fp32", device: str = "auto") -> None:
        self._backbone = config.backbone or _recorded_backbone(config)
        self._server = AdapterServer(self._backbone, precision=precision, device=device)
        self._paths = dict(config.checkpoints)
        for name, path in self._paths.items():
            self._server.load(name, path)
            weight_to_use(self._server.retriever(name).config, None, advice="")  # for the line that says it
        self._vectors: OrderedDict[tuple[str, str], np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """All names that a request may give: ``backbone``, and the checkpoints'."""
        return (BACKBONE, *self._server.names)

    def name_of(self, encoder: str) -> str:
        """The name of what an index calls its encoder: a name, the backbone's own, or a checkpoint's path.

        A path that is not loaded yet is loaded, and called by itself.
        """
        if encoder in self.names:
            return encoder
        if encoder == self._backbone:
            return BACKBONE
        same = [name for name, path in self._paths.items() if path == encoder]
        if same:
            return same[0]
        if read_retriever_config(encoder) is None:
            raise UsageError(
                f"{encoder} is neither a checkpoint nor the backbone {self._backbone}; known are "
                f"{', '.join(self.names)}{did_you_mean(encoder, self.names)}"
            )
        self._server.load(encoder, encoder)
        self._paths[encoder] = encoder
        return encoder

    def made(self, index: RetrieverConfig) -> str | None:
        """The name of the bi-encoder whose fingerprint an index carries; None where none is loaded that has it.

        One whose queries alone were tuned for such indexes has another, and is taken where it is asked for.
        """
        for name in self.names:
            try:
                if self.bi_encoder(name).fingerprint == index.fingerprint:
                    return name
            except UsageError:
                continue
        return None

    def bi_encoder(self, name: str) -> BiEncoder:
        """The settings of a bi-encoder; it must not be run.

        Raises:
            BadRequest: there is no such checkpoint, or it is a cross-encoder.
        """
        model = self._server.retriever(self._known(name))
        if not isinstance(model, BiEncoder):
            raise BadRequest(f"checkpoint {name} is a {model.kind}, which re-ranks; ask for it with rerank={name}")
        return model

    def require_cross_encoder(self, name: str) -> None:
        """Refuse what cannot re-rank.

        Raises:
            BadRequest: there is no such checkpoint, or it is a bi-encoder.
        """
        model = self._server.retriever(self._known(name))
        if not isinstance(model, CrossEncoder):
            raise BadRequest(f"{name} is a {model.kind}, which does not re-rank; ask for it with checkpoint={name}")

    def weight(self, name: str) -> float:
        """How much of a cross-encoder's score goes into a re-ranked hit's: what its training chose, else all of it.

        Raises:
            BadRequest: no cross-encoder of that name.
        """
        self.require_cross_encoder(name)
        return learnt_weight(self._server.retriever(self._known(name)).config)

    def query_vector(self, name: str, text: str) -> np.ndarray:
        """The vector of a query, float32 [d]; those of the latest queries are kept.

        Raises:
            BadRequest: no bi-encoder of that name.
        """
        known, key = self._known(name), (name, text)
        with self._lock:
            if key in self._vectors:
                self._vectors.move_to_end(key)
                return self._vectors[key]
        use_all_threads()  # of this thread too, in which a search with Faiss may have set another number
        self.bi_encoder(name)
        vector: np.ndarray = self._server.encode_queries(known, [text])[0]
        with self._lock:
            self._vectors[key] = vector
            while len(self._vectors) > VECTORS:
                self._vectors.popitem(last=False)
        return vector

    def score_pairs(self, name: str, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """Scores of (query, passage) pairs, float32 [len(pairs)].

        Raises:
            BadRequest: no cross-encoder of that name.
        """
        self.require_cross_encoder(name)
        use_all_threads()
        return self._server.score_pairs(name, pairs)

    def _known(self, name: str) -> str:
        """The name as ``AdapterServer`` knows it."""
        if name not in self.names:
            raise BadRequest(
                f"no checkpoint {name!r}; there are {', '.join(self.names)}{did_you_mean(name, self.names)}"
            )
        return "" if name == BACKBONE else name


def needs_encoders(config: ServeConfig) -> bool:
    """Whether anything of a configuration encodes or scores."""
    dense = any(index.index_type in DENSE for index in config.indexes.values())
    return dense or bool(config.checkpoints) or config.backbone is not None


def _recorded_backbone(config: ServeConfig) -> str:
    """The backbone that the checkpoints name, or else the indexes."""
    for path in _directories(config):
        recorded = read_retriever_config(path)
        if recorded is not None and recorded.backbone:
            return recorded.backbone
    names = [index.encoder for index in config.indexes.values() if index.encoder is not None]
    if names:
        return names[0]
    raise UsageError("backbone: nothing says which encoder the indexes were made with; name it")


def _directories(config: ServeConfig) -> Iterable[str]:
    yield from config.checkpoints.values()
    for index in config.indexes.values():
        if index.index_type in DENSE:
            yield from (index.encoder or index.path, index.path)
