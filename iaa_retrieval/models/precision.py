"""Which floating-point precision to compute in."""

from __future__ import annotations

import os
import platform

import torch

from iaa_retrieval.device_options import PRECISIONS
from iaa_retrieval.errors import IaaRetrievalError, UsageError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
NOT_FINITE_ADVICE = "try --precision fp32, or check the weights where it is fp32 already"


def choose_device(device: str = "auto") -> str:
    """``auto`` is the first GPU when there is one; a GPU that is asked for but absent is an error."""
    available = torch.cuda.is_available()
    if device == "auto":
        return "cuda:0" if available else "cpu"
    if device.startswith("cuda") and not available:
        raise IaaRetrievalError(f"device {device} was asked for, but this PyTorch sees no GPU; use --device cpu")
    return device


def choose_precision(precision: str = "auto", device: str = "cpu") -> str:
    """Resolve ``auto``: bf16 where ``device`` multiplies it natively, else fp16 on a GPU and fp32 on a CPU.

    Returns:
        ``fp32``, ``bf16`` or ``fp16``.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision {precision!r}; one of {', '.join(PRECISIONS)}")
    if precision == "fp16" and not device.startswith("cuda"):
        raise UsageError("fp16 needs a GPU; use --precision bf16 or fp32 on a CPU")
    if precision != "auto":
        return precision
    if device.startswith("cuda"):
        # By default it also answers for GPUs older than Ampere, which only emulate bf16, and slowly.
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if cpu_multiplies_bf16() else "fp32"


def cpu_multiplies_bf16() -> bool:
    """Whether this CPU has bf16 matrix instructions (AVX-512 BF16 or AMX); without them bf16 is slower than fp32."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def hardware_class() -> str:
    """The kind of machine, as far as scores and times depend on it and without naming the very machine."""
    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    bf16 = ", bf16 instructions" if cpu_multiplies_bf16() else ""
    return f"{os.cpu_count()} CPU cores ({platform.machine()}, {torch.backends.cpu.get_cpu_capability()}{bf16})"
