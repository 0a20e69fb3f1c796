"""The options that make a model fit into memory, or train faster in it. Light: no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iaa_retrieval.device_options import attention_field
from iaa_retrieval.options import Checked, one_of, option

if TYPE_CHECKING:
    from iaa_retrieval.models.loading import Loading

QUANTIZATIONS = ("4bit", "8bit")
DEVICE_MAPS = ("auto", "balanced", "balanced_low_0", "sequential")


@dataclass(frozen=True, kw_only=True)
class MemoryOptions(Checked):
    """In what form the backbone is held, what is kept for the backward pass, and what the optimiser keeps."""

    gradient_checkpointing: bool = option(
        False,
        help="Keep each layer's input only, and run the layer again for its gradient: less memory for another forward "
        "pass, and with --grad-cache the least. The gradient is the same.",
    )
    attn_implementation: str | None = attention_field("eager on a CPU, else what transformers takes for the model")
    quantize: str | None = option(
        None,
        help="Hold the frozen backbone's linear layers in 4 (NF4, as QLoRA) or 8 bits; the adapter is in full "
        "precision on top. Needs CUDA and bitsandbytes. merge and export use the full backbone.",
        default_text="no",
        check=one_of(*QUANTIZATIONS),
    )
    device_map: str | None = option(
        None,
        help="Share one model between all GPUs, layer by layer; for several copies, start several processes instead.",
        default_text="one GPU",
        check=one_of(*DEVICE_MAPS),
    )
    optimizer: str | None = option(
        None,
        help="Optimiser, by transformers' name: adamw_torch, adafactor (keeps sums of rows and columns only), "
        "adamw_8bit or paged_adamw_8bit (bitsandbytes, CUDA; in 8 bits, paged into main memory when short), ...",
        default_text="AdamW",
        metavar="NAME",
    )

    def loading(self, precision: str, device: str) -> Loading:
        """How the backbone is brought into memory in ``precision``, for ``device``."""
        from iaa_retrieval.models.loading import Loading

        return Loading(
            precision=precision,
            quantize=self.quantize,
            device_map=self.device_map,
            device=device,
            attn_implementation=self.attn_implementation,
        )
