"""AdaLoRA: ranks that are pruned as training goes on (Zhang et al., AdaLoRA, ICLR 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from iaa_retrieval.errors import UsageError
from iaa_retrieval.tuning.methods.base import ADAPTER_NAME
from iaa_retrieval.tuning.methods.peft import PeftMethod


@dataclass(frozen=True, kw_only=True)
class AdaLora(PeftMethod):
    """PEFT's tuner, with the penalty and the rank schedule that it leaves to the training loop."""

    def complete(self, fields: dict[str, Any]) -> dict[str, Any]:
        """PEFT wants a length of the schedule now; the callback puts the true one in."""
        return {**fields, "total_step": int(fields.get("tinit", 0)) + int(fields.get("tfinal", 0)) + 2}

    def check_config(self, config: Any) -> None:
        """There must be ranks to prune."""
        if config.target_r >= config.init_r:
            raise UsageError(
                f"AdaLoRA prunes ranks from init_r to target_r; init_r {config.init_r} must be above {config.target_r}"
            )

    def callbacks(self, network: Any, index: int) -> Sequence[Any]:
        """The penalty and the schedule."""
        from iaa_retrieval.tuning.methods.adalora_schedule import AdaLoraCallback

        return (AdaLoraCallback(network.base_model, index),)

    def after_training(self, network: Any) -> None:
        """Save every rank, the pruned ones as zeros: PEFT would cut the best checkpoint by the last one's pattern."""
        network.peft_config[ADAPTER_NAME].rank_pattern = None
