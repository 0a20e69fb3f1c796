"""In what form a network's weights come into memory: dtype, quantisation, devices, and the kernel of its attention.

The modules, and what they compute but for rounding, stay the same. What needs a GPU was written after the sources of
transformers and bitsandbytes, and not run on one.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from typing import Any

import torch

from iaa_retrieval.device_options import FLASH_ATTENTIONS
from iaa_retrieval.errors import UsageError
from iaa_retrieval.models.precision import DTYPES

_FLASH_PACKAGES = dict(zip(FLASH_ATTENTIONS, ("flash_attn", "flash_attn_interface"), strict=True))


@dataclass(frozen=True)
class Loading:
    """How ``from_pretrained`` is called.

    Attributes:
        precision: ``fp32``, ``bf16`` or ``fp16``: the weights come into memory in it at once, whatever the files hold.
        quantize: ``4bit`` or ``8bit``, of the linear layers, by bitsandbytes; they compute in ``precision``.
        device_map: how several GPUs share the network: ``auto`` and so on; None leaves it on one device.
        device: where weights are put that are not loaded on the CPU first, such as quantised ones.
        attn_implementation: the attention kernel by transformers' name; None is transformers' choice.
    """

    precision: str = "fp32"
    quantize: str | None = None
    device_map: str | None = None
    device: str = "cpu"
    attn_implementation: str | None = None

    @property
    def is_placed(self) -> bool:
        """Whether the weights come to the device, or devices, that they stay on."""
        # A flash kernel cannot even be tried on the CPU.
        flash = self.attn_implementation in FLASH_ATTENTIONS
        return self.quantize is not None or self.device_map is not None or flash

    def options(self) -> dict[str, Any]:
        """The keyword arguments of ``from_pretrained``."""
        options: dict[str, Any] = {"dtype": DTYPES[self.precision]}
        if self.attn_implementation is not None:
            options["attn_implementation"] = self.attn_implementation
        if self.quantize is not None:
            options["quantization_config"] = _quantization(self.quantize, options["dtype"])
        if self.is_placed:
            options["device_map"] = self.device_map or {"": _own_gpu(self.device)}
        return options

    def require_possible(self, processes: int = 1) -> None:
        """Refuse what this machine cannot do, before anything is loaded.

        Args:
            processes: that train together.

        Raises:
            UsageError: names the option and what is missing.
        """
        require_attention(self.attn_implementation, self.device, self.precision)
        has_gpu = self.device.startswith("cuda")
        if self.quantize is not None:
            if not has_gpu:
                raise UsageError(
                    f"--quantize {self.quantize} needs a GPU (CUDA), and this run is on {self.device}; leave it out: "
                    "on a CPU --precision bf16 and --grad-cache save memory"
                )
            if not _installed("bitsandbytes"):
                raise UsageError(
                    f"--quantize {self.quantize} needs bitsandbytes, which is not installed: pip install bitsandbytes"
                )
        if self.device_map is not None:
            if not has_gpu:
                raise UsageError(
                    f"--device-map {self.device_map} shares a model between GPUs (CUDA), and this run is on "
                    f"{self.device}; leave it out"
                )
            if processes > 1:
                raise UsageError(
                    f"--device-map {self.device_map} shares one model between all GPUs, and torchrun started "
                    f"{processes} processes with a copy each; start one process, or leave it out"
                )


IN_FP32 = Loading()


def require_attention(name: str | None, device: str, precision: str) -> None:
    """Refuse a flash kernel where there is none; None, and every other kernel, passes.

    Raises:
        UsageError: says what is missing.
    """
    package = _FLASH_PACKAGES.get(name or "")
    if package is None:
        return
    if not device.startswith("cuda"):
        raise UsageError(
            f"--attn-implementation {name} needs a GPU (CUDA), and this run is on {device}; use sdpa or eager"
        )
    if precision == "fp32":
        raise UsageError(f"--attn-implementation {name} computes in bf16 or fp16 only; use --precision bf16")
    if not _installed(package):
        raise UsageError(
            f"--attn-implementation {name} needs the package {package}, which is not installed: pip install flash-attn "
            "--no-build-isolation, or use sdpa"
        )


def set_attention(network: Any, name: str, source: str) -> None:
    """Give a network that is in memory another attention kernel, which ``require_attention`` has let pass.

    Args:
        source: what the network was loaded from, for messages.

    Raises:
        UsageError: its architecture, or a prefix in it, does not take that kernel.
    """
    if name in FLASH_ATTENTIONS and any(type(module).__name__ == "PrefixPort" for module in network.modules()):
        raise UsageError(f"{source} has a prefix before its keys, which takes eager or sdpa attention, not {name}")
    try:
        network.set_attn_implementation(name)
    except (ValueError, ImportError) as error:
        raise UsageError(f"--attn-implementation {name}: {' '.join(str(error).split())}") from error
    found = network.config._attn_implementation
    if found != name:
        raise UsageError(f"--attn-implementation {name} is not there for {source}, which computes by {found}")


def use_attention(model: Any, name: str) -> None:
    """Give a loaded retriever another attention kernel.

    Raises:
        UsageError: as ``require_attention`` and ``set_attention``.
    """
    require_attention(name, str(model.device), "fp32" if model.dtype == torch.float32 else "bf16")
    for network in model.networks:
        set_attention(network, name, model.source)


def _quantization(name: str, dtype: torch.dtype) -> Any:
    """``transformers.BitsAndBytesConfig``: 4 bits are QLoRA's (NF4, the scales quantised too), 8 are LLM.int8()."""
    from transformers import BitsAndBytesConfig

    if name == "4bit":
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    return BitsAndBytesConfig(load_in_8bit=True)


def _own_gpu(device: str) -> str:
    """The GPU of this process, of several that torchrun started."""
    rank = os.environ.get("LOCAL_RANK")
    return device if rank is None or not device.startswith("cuda") else f"cuda:{rank}"


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
