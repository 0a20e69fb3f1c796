"""Device, precision and attention: what every verb that computes offers in the same words."""

from __future__ import annotations

from typing import Any

from iaa_retrieval.options import one_of, option

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
PRECISION_HELP = "auto is bf16 where the hardware multiplies it, else fp16 on a GPU and fp32 on a CPU."
DEVICE_HELP = "cpu, cuda:0, ... or auto."
FLASH_ATTENTIONS = ("flash_attention_2", "flash_attention_3")  # for GPUs, from packages of their own
ATTENTIONS = ("eager", "sdpa", *FLASH_ATTENTIONS, "flex_attention")
ATTENTION_HELP = (
    "Attention kernel; it changes speed and memory, and results by rounding only. eager is plain matrix products, sdpa "
    "is PyTorch's fused kernel, flash_attention_2 leaves padding out (CUDA and the package flash-attn)."
)


def precision_field(default: str = "auto", help: str = PRECISION_HELP) -> Any:
    """The field ``precision`` of a dataclass of options."""
    return option(default, help=help, check=one_of(*PRECISIONS))


def device_field() -> Any:
    """The field ``device`` of a dataclass of options."""
    return option("auto", help=DEVICE_HELP)


def attention_field(default_text: str = "what transformers takes for the model") -> Any:
    """The field ``attn_implementation`` of a dataclass of options."""
    return option(None, help=ATTENTION_HELP, default_text=default_text, check=one_of(*ATTENTIONS))
