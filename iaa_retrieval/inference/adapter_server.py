"""One backbone in memory, many checkpoints trained on it, chosen call by call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.inference import pair_scorer, text_encoder
from iaa_retrieval.inference.cuts import Cuts, document_cuts, query_cuts
from iaa_retrieval.models.backbone_checkpoint import holds_adapter
from iaa_retrieval.models.bi_encoder import BiEncoder
from iaa_retrieval.models.cross_encoder import CrossEncoder
from iaa_retrieval.models.encoder_classes import stock_class_of
from iaa_retrieval.models.kinds import load_retriever
from iaa_retrieval.models.new_retriever import new_bi_encoder
from iaa_retrieval.models.precision import choose_device, choose_precision
from iaa_retrieval.models.retriever import Retriever
from iaa_retrieval.models.retriever_config import read_retriever_config
from iaa_retrieval.models.shared_backbone import SharedBackbone, share_weights
from iaa_retrieval.models.text_settings import TextSettings

Model = TypeVar("Model", bound=Retriever)

# What a checkpoint of each kind is used with.
_METHODS = {BiEncoder.kind: "encode_queries or encode_passages", CrossEncoder.kind: "score_pairs"}


class AdapterServer:
    """Encodes and scores with any of the checkpoints it has loaded, of any method, on one copy of the backbone.

    A checkpoint keeps its own pooling, normalisation, prefixes and lengths, and takes little more memory than its
    adapter. Every method may be called from several threads at once; the calls take turns.

    ```python
    server = AdapterServer("all-MiniLM-L6-v2")
    server.load("scifact", "runs/scifact-iaa-l")
    vectors = server.encode_queries("scifact", ["Does aspirin thin the blood?"])
    ```

    Args:
        backbone: a directory, hub id or ``all-MiniLM-L6-v2``; a checkpoint only where it is a whole network, on
            which others were trained.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``, of the backbone and of all adapters.
        device: ``auto``, ``cpu``, ``cuda:0``, ...

    Raises:
        IaaRetrievalError: the backbone cannot be loaded, or is itself an adapter.
    """

    def __init__(self, backbone: str, *, precision: str = "auto", device: str = "auto") -> None:
        self._device = choose_device(device)
        self._precision = choose_precision(precision, self._device)
        if read_retriever_config(backbone) is not None and holds_adapter(backbone):
            raise IaaRetrievalError(f"{backbone} is a trained checkpoint; start with its backbone, then load it")
        # What only Pyserini's own class can do with it is refused when it is asked for, not its use as a backbone.
        self._stock_class = stock_class_of(backbone)
        settings = None if self._stock_class is None else TextSettings()
        plain = new_bi_encoder(backbone, settings=settings, precision=self._precision, device=self._device)
        self._backbone = SharedBackbone(share_weights(plain.encoder), backbone, plain.config.backbone_fingerprint)
        self._plain = plain
        self._served: dict[str, Retriever] = {"": plain}
        self._cuts: dict[tuple[str, str], Cuts] = {}
        # Around calls because a tokenizer keeps the truncation of its last call; around loading because transformers
        # changes settings of the whole process meanwhile, such as the default precision.
        self._turn = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """What is loaded, oldest first, without the bare backbone."""
        return tuple(name for name in list(self._served) if name)

    def load(self, name: str, checkpoint: str | Path) -> None:
        """Put a checkpoint's adapter (both, where its encoders are separate) on the backbone, to be called ``name``.

        Args:
            name: any text but the empty one.
            checkpoint: a directory, of either kind and any method.

        Raises:
            UsageError: the name is empty or taken.
            IaaRetrievalError: not a checkpoint, or damaged, or trained on another backbone, or fully fine-tuned.
        """
        path = str(checkpoint)
        with self._turn:
            if name in self._served:  # the empty name is the bare backbone's
                raise UsageError(f"the name {name!r} is taken; unload it first, or choose another")
            if read_retriever_config(path) is None:
                raise IaaRetrievalError(f"{path} is no checkpoint of this project (it has no retriever.json)")
            model = load_retriever(path, precision=self._precision, device=self._device, backbone=self._backbone)
            if model.config.tokenizer_fingerprint == self._plain.config.tokenizer_fingerprint:
                model.tokenizer = self._plain.tokenizer  # a tokenizer takes more memory than most adapters
            self._served[name] = model

    def retriever(self, name: str | None) -> Retriever:
        """What is loaded as ``name`` (None or "": the bare backbone), to look at its settings; it must not be run.

        Raises:
            UsageError: nothing of that name is loaded.
        """
        model = self._served.get(name or "")
        if model is None:
            raise self._unknown(name)
        return model

    def unload(self, name: str) -> None:
        """Forget a checkpoint.

        Raises:
            UsageError: nothing of that name is loaded.
        """
        with self._turn:
            if not name or self._served.pop(name, None) is None:
                raise self._unknown(name)
            self._cuts = {key: cuts for key, cuts in self._cuts.items() if key[0] != name}

    def encode_queries(self, name: str | None, texts: Sequence[str], *, batch_size: int | None = None) -> np.ndarray:
        """Encode queries with the checkpoint ``name`` (None or "": the bare backbone) into float32 [len(texts), d].

        One warning, once for each checkpoint, counts the texts that are longer than it reads.

        Args:
            name: of a bi-encoder.
            texts: without prompt or prefix, which the checkpoint's settings add.
            batch_size: texts of the greatest length at a time; None is 8 on a CPU and 32 elsewhere.

        Raises:
            UsageError: nothing of that name is loaded, or it is a cross-encoder.
            IaaRetrievalError: a vector is not finite.
        """
        with self._turn:
            model = self._find(name, BiEncoder)
            cuts = self._counting(name, query_cuts, model)
            vectors = text_encoder.encode_queries(model, texts, batch_size=batch_size, on_cut=cuts.count(len(texts)))
            cuts.warn()
            return vectors

    def encode_passages(
        self, name: str | None, texts: Sequence[str], *, batch_size: int = text_encoder.DEFAULT_BATCH_SIZE
    ) -> np.ndarray:
        """Encode passages into float32 [len(texts), d]; arguments and errors are those of ``encode_queries``."""
        with self._turn:
            model = self._find(name, BiEncoder)
            cuts = self._counting(name, document_cuts, model)
            vectors = text_encoder.encode_passages(model, texts, batch_size=batch_size, on_cut=cuts.count(len(texts)))
            cuts.warn()
            return vectors

    def score_pairs(
        self, name: str, pairs: Sequence[tuple[str, str]], *, batch_size: int = pair_scorer.DEFAULT_BATCH_SIZE
    ) -> np.ndarray:
        """Score (query, passage) pairs with the cross-encoder checkpoint ``name``; float32 [len(pairs)].

        A higher score is more relevant; it is the classifier's logit, without a bound.

        Raises:
            UsageError: nothing of that name is loaded, or it is a bi-encoder.
            IaaRetrievalError: a score is not finite.
        """
        with self._turn:
            model = self._find(name, CrossEncoder)
            of_queries, of_pairs = self._counting(name, query_cuts, model), self._counting(name, document_cuts, model)
            scores = pair_scorer.score_pairs(
                model,
                pairs,
                batch_size=batch_size,
                on_query_cut=of_queries.count(len(pairs)),
                on_pair_cut=of_pairs.count(len(pairs)),
            )
            of_queries.warn()
            of_pairs.warn()
            return scores

    def _counting(self, name: str | None, new: Callable[[Retriever], Cuts], model: Retriever) -> Cuts:
        """What counts the texts of one kind that a checkpoint cuts, which is said once."""
        return self._cuts.setdefault((name or "", new.__name__), new(model))

    def _find(self, name: str | None, kind: type[Model]) -> Model:
        if not name and self._stock_class is not None:
            raise UsageError(
                f"the bare backbone is a {self._stock_class} encoder, which only Pyserini's own class can do"
            )
        model = self.retriever(name)
        if not isinstance(model, kind):
            raise UsageError(f"{name or 'the backbone'} is a {model.kind}; call {_METHODS[model.kind]}")
        return model

    def _unknown(self, name: str | None) -> UsageError:
        return UsageError(f"no checkpoint {name!r} is loaded; loaded: {', '.join(self.names) or 'none'}")
