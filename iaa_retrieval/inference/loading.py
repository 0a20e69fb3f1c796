"""Loading a retriever that does nothing but inference."""

from __future__ import annotations

from typing import Any, Literal, overload

from iaa_retrieval.inference.cpu_kernels import use_cpu_kernels
from iaa_retrieval.models.bi_encoder import BiEncoder, load_bi_encoder
from iaa_retrieval.models.cross_encoder import CrossEncoder, load_cross_encoder
from iaa_retrieval.models.retriever_config import read_retriever_config


@overload
def load_for_inference(
    name_or_path: str, *, kind: Literal["bi-encoder"], precision: str = ..., device: str = ..., **settings: Any
) -> BiEncoder: ...


@overload
def load_for_inference(
    name_or_path: str, *, kind: str | None = None, precision: str = ..., device: str = ..., **settings: Any
) -> BiEncoder | CrossEncoder: ...


def load_for_inference(
    name_or_path: str, *, kind: str | None = None, precision: str = "auto", device: str = "auto", **settings: Any
) -> BiEncoder | CrossEncoder:
    """Load a retriever of whatever kind it is, or of the one asked for, and make it as fast as this machine can.

    Its weights may be laid out anew for the CPU (see :mod:`.cpu_kernels`): it must not be trained, saved, merged or
    moved any more.
    """
    config = read_retriever_config(name_or_path)
    kind = kind or ("bi-encoder" if config is None else config.kind)
    load: Any = load_cross_encoder if kind == "cross-encoder" else load_bi_encoder
    model: BiEncoder | CrossEncoder = load(name_or_path, precision=precision, device=device, **settings)
    use_cpu_kernels(model)
    return model
