"""Loading a retriever that does nothing but inference."""

from __future__ import annotations

from typing import Any, Literal, overload

from iaa_retrieval.inference.cpu_kernels import use_cpu_kernels
from iaa_retrieval.models.bi_encoder import BiEncoder
from iaa_retrieval.models.cross_encoder import CrossEncoder
from iaa_retrieval.models.kinds import load_retriever
from iaa_retrieval.models.retriever import Retriever


@overload
def load_for_inference(
    name_or_path: str, *, kind: Literal["bi-encoder"], precision: str = ..., device: str = ..., **settings: Any
) -> BiEncoder: ...


@overload
def load_for_inference(
    name_or_path: str, *, kind: Literal["cross-encoder"], precision: str = ..., device: str = ..., **settings: Any
) -> CrossEncoder: ...


@overload
def load_for_inference(
    name_or_path: str, *, kind: str | None = None, precision: str = ..., device: str = ..., **settings: Any
) -> Retriever: ...


def load_for_inference(
    name_or_path: str, *, kind: str | None = None, precision: str = "auto", device: str = "auto", **settings: Any
) -> Retriever:
    """Load a retriever as ``load_retriever`` does, and make it as fast as this machine can.

    Its weights may be laid out anew for the CPU (see ``cpu_kernels``): it must not be trained, saved, merged or
    moved any more. Arguments and errors are those of ``load_retriever``.
    """
    model = load_retriever(name_or_path, kind=kind, precision=precision, device=device, **settings)
    use_cpu_kernels(model, keep_attention=settings.get("attn_implementation") is not None)
    return model
