"""What training says while it goes on: every dev score, and where there is no terminal how far it is."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

from transformers import TrainerCallback

from iaa_retrieval.progress import SECONDS_BETWEEN_LINES, progress_line

LOG = logging.getLogger("iaa_retrieval")


class ProgressLines(TrainerCallback):  # type: ignore[misc]
    """One line per look at the dev queries; in a log also one every half minute, with the last loss."""

    def __init__(self) -> None:
        self._in_log = not sys.stderr.isatty()  # a terminal shows a bar
        self._first_step = 0
        self._begun = self._said = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clock; a resumed run counts from where it goes on."""
        self._first_step = state.global_step
        self._begun = self._said = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Say how far it is, if that was long ago."""
        now = time.monotonic()
        if self._in_log and state.is_world_process_zero and now - self._said >= SECONDS_BETWEEN_LINES:
            self._said = now
            done, total = state.global_step - self._first_step, state.max_steps - self._first_step
            line = progress_line("training", done, total, "step", now - self._begun)
            losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
            LOG.info("%s%s", line, f", loss {losses[-1]:.4f}" if losses else "")

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **kwargs: Any) -> None:
        """Say the dev scores."""
        if state.is_world_process_zero:
            scores = {name.removeprefix("eval_"): value for name, value in metrics.items() if name.startswith("eval_")}
            said = ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
            LOG.info("step %d of %d: dev %s", state.global_step, state.max_steps, said)
