"""One ``transformers.Trainer`` for both stages: it checkpoints only what is trained and scores the dev queries."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import Trainer, TrainerCallback

from iaa_retrieval.training.divergence import divergence
from iaa_retrieval.tuning.methods import Method

TRAINED_FILE = "model.safetensors"  # the name that Trainer looks for when it decides what can be resumed


class EpochCallback(TrainerCallback):  # type: ignore[misc]
    """Tells the dataset and the samplers which epoch begins: both draw anew in each.

    Accelerate's data loader tells the samplers or the dataset, and below a batch sampler that skips the batches of a
    resumed epoch or shares them out to several processes it stops early. The batches of an epoch are fetched by an
    iterator of that epoch, made after this event, so fetching ahead never draws by another epoch's number.
    """

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Set the epoch, which a resumed run enters in the middle: 1.33 is the epoch of number 1."""
        epoch = math.floor(state.epoch)
        loader = kwargs["train_dataloader"]
        loader.dataset.set_epoch(epoch)
        sampler = loader.batch_sampler
        while sampler is not None:
            if hasattr(sampler, "set_epoch"):
                sampler.set_epoch(epoch)
            sampler = getattr(sampler, "batch_sampler", None) or getattr(sampler, "sampler", None)


class RetrievalTrainer(Trainer):  # type: ignore[misc]
    """Trains an objective module whose forward returns ``{"loss": scalar}``.

    Its dataset has a ``set_epoch``. A loss that is no number any more ends the run.

    Args:
        evaluate_dev: called with no argument when an evaluation is due; returns metric -> value.
        method: what is trained; it may add to the loss, and says which of its parameters are biases.
        networks: that it is on.
    """

    def __init__(
        self,
        *args: Any,
        method: Method,
        networks: Sequence[Any] = (),
        evaluate_dev: Callable[[], dict[str, float]] | None = None,
        **kwargs: Any,
    ) -> None:
        self._method = method
        self._networks = networks
        super().__init__(*args, **kwargs)
        self._evaluate_dev = evaluate_dev
        self.add_callback(EpochCallback())

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        """The objective's loss, with what the method adds."""
        loss = super().compute_loss(*args, **kwargs)
        for network in self._networks:
            extra = self._method.extra_loss(network)
            if extra is not None:
                loss = loss + extra
        return loss

    def finish_method(self) -> None:
        """Let the method do what it does after the last step, once the best weights are loaded."""
        for network in self._networks:
            self._method.after_training(network)

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """One step's loss.

        Raises:
            NotFiniteError: it is not finite. The steps after it could only spread that.
        """
        loss: torch.Tensor = super().training_step(*args, **kwargs)
        if not torch.isfinite(loss):
            raise divergence(f"the loss became {loss.item()} in step {self.state.global_step + 1}")
        return loss

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        """One pass over the examples; none when the state that is resumed says that the run had come to its end."""
        if self.state.stateful_callbacks["TrainerControl"]["args"]["should_training_stop"]:
            self.control.should_training_stop = True
        else:
            super()._run_epoch(*args, **kwargs)

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """What weight decay acts on: no bias and no layer normalisation, whatever a method calls its biases."""
        return [name for name in super().get_decay_parameter_names(model) if not self._method.takes_no_decay(name)]

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


def placed_like(network: Any, objective: nn.Module) -> nn.Module:
    """The objective, with what tells transformers' trainer that a network in it must not be moved to one device."""
    for name in ("hf_device_map", "quantization_method", "is_loaded_in_4bit", "is_loaded_in_8bit"):
        if (value := getattr(network, name, None)) is not None:
            setattr(objective, name, value)
    return objective


def require_finite_weights(model: nn.Module) -> None:
    """Refuse trained weights that are not numbers, which a last step leaves whose gradient overflowed.

    Raises:
        NotFiniteError: names the first of them.
    """
    for name, tensor in trained_state(model).items():
        if not torch.isfinite(tensor).all():
            raise divergence(f"the trained weights {name} are not finite")


def finite_entries(history: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries of a loss history without values that JSON cannot hold, such as an overflowed gradient's norm."""
    return [
        {key: value for key, value in entry.items() if not isinstance(value, float) or math.isfinite(value)}
        for entry in history
    ]


def trained_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """The parameters that training changes, by name, on the CPU."""
    return {
        name: parameter.detach().cpu().contiguous()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def load_trained_state(model: nn.Module, directory: Path) -> None:
    """Put back what ``trained_state`` gave."""
    saved = load_file(directory / TRAINED_FILE)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in saved.items():
            parameters[name].copy_(value)


def last_checkpoint(directory: Path) -> str | None:
    """The newest complete trainer checkpoint below ``directory``; a half-written one does not count."""
    complete = [path for path in directory.glob("checkpoint-*") if (path / "trainer_state.json").is_file()]
    return str(max(complete, key=lambda path: int(path.name.rsplit("-", 1)[1]))) if complete else None
