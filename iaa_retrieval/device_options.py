"""Device and precision: what every verb that computes offers in the same words."""

from __future__ import annotations

from typing import Any

from iaa_retrieval.options import one_of, option

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
PRECISION_HELP = "auto is bf16 where the hardware multiplies it, else fp16 on a GPU and fp32 on a CPU."
DEVICE_HELP = "cpu, cuda:0, ... or auto."


def precision_field(default: str = "auto", help: str = PRECISION_HELP) -> Any:
    """The field ``precision`` of a dataclass of options."""
    return option(default, help=help, check=one_of(*PRECISIONS))


def device_field() -> Any:
    """The field ``device`` of a dataclass of options."""
    return option("auto", help=DEVICE_HELP)
