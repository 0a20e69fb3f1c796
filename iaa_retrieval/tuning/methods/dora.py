"""DoRA, which PEFT has as a LoRA with ``use_dora``."""

from __future__ import annotations

from dataclasses import dataclass

from iaa_retrieval.tuning.methods.peft import PeftMethod


@dataclass(frozen=True, kw_only=True)
class Dora(PeftMethod):
    """LoRA with a magnitude of its own for every row (Liu et al., DoRA, ICML 2024)."""

    def loads_with_peft_model_only(self) -> bool:
        """Yes: transformers leaves the magnitudes at their start without a word."""
        return True
