"""One ``transformers.Trainer`` for both stages: it checkpoints only what is trained and scores the dev queries."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import Trainer

TRAINED_FILE = "model.safetensors"  # the name that Trainer looks for when it decides what can be resumed


class RetrievalTrainer(Trainer):  # type: ignore[misc]
    """Trains an objective module whose forward returns ``{"loss": scalar}``.

    Args:
        evaluate_dev: called with no argument when an evaluation is due; returns metric -> value.
    """

    def __init__(self, *args: Any, evaluate_dev: Callable[[], dict[str, float]] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._evaluate_dev = evaluate_dev

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Score the dev queries; logged and used to choose the best checkpoint."""
        if self._evaluate_dev is None:
            return {}
        scores = {f"eval_{name}": value for name, value in self._evaluate_dev().items()}
        self.log(scores)
        self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, scores)
        return scores

    def _save(self, output_dir: str | None = None, state_dict: dict[str, torch.Tensor] | None = None) -> None:
        directory = Path(output_dir or self.args.output_dir)
        directory.mkdir(parents=True, exist_ok=True)
        save_file(trained_state(self.model), directory / TRAINED_FILE)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        load_trained_state(self.model if model is None else model, Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        load_trained_state(self.model, Path(str(self.state.best_model_checkpoint)))


def trained_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """The parameters that training changes, by name, on the CPU."""
    return {
        name: parameter.detach().cpu().contiguous()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def load_trained_state(model: nn.Module, directory: Path) -> None:
    """Put back what :func:`trained_state` gave."""
    saved = load_file(directory / TRAINED_FILE)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in saved.items():
            parameters[name].copy_(value)


def last_checkpoint(directory: Path) -> str | None:
    """The newest complete trainer checkpoint below ``directory``; a half-written one does not count."""
    complete = [path for path in directory.glob("checkpoint-*") if (path / "trainer_state.json").is_file()]
    return str(max(complete, key=lambda path: int(path.name.rsplit("-", 1)[1]))) if complete else None
