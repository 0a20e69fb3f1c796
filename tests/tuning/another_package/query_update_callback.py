"""What the method of ``query_update.py`` has called during training."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback


class Steps(TrainerCallback):
    """Notes what the training loop calls."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.events: list[str] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.events.append(f"step {state.global_step}")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.events.append("end")
