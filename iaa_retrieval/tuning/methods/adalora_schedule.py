"""What AdaLoRA needs of a training loop: its penalty, its rank schedule, and the schedule's state in checkpoints.

PEFT has the penalty in the loss of models that return one, and leaves the rest to the caller; without it AdaLoRA would
train at its initial rank and prune nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import TrainerCallback

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.tuning.methods.base import ADAPTER_NAME

_AVERAGES = ("ipt", "exp_avg_ipt", "exp_avg_unc")  # of a rank allocator, each by parameter


class AdaLoraCallback(TrainerCallback):  # type: ignore[misc]
    """Prunes ranks as training goes on; see Zhang et al., AdaLoRA, ICLR 2023.

    Args:
        tuner: the ``peft.AdaLoraModel``.
        index: tells the tuners of one run apart in checkpoints.
    """

    def __init__(self, tuner: Any, index: int) -> None:
        self.tuner = tuner
        self.config = tuner.peft_config[ADAPTER_NAME]
        self.file_name = f"adalora-{index}.safetensors"

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Fit the schedule to the run's length, and continue it where a resumed run was."""
        schedule = state.max_steps - self.config.tinit - self.config.tfinal
        if schedule < 2:
            raise UsageError(
                f"AdaLoRA needs at least 2 steps between tinit {self.config.tinit} and tfinal {self.config.tfinal}, "
                f"and this run has {state.max_steps} steps in all; train longer or lower them"
            )
        self.config.total_step = state.max_steps
        if state.global_step:
            self._restore(Path(args.output_dir) / f"checkpoint-{state.global_step}")

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Add the gradient of the penalty that keeps both factors orthogonal."""
        factors = []
        deviations = []
        for name, factor in self.tuner.model.named_parameters():
            if "lora_A" in name or "lora_B" in name:
                product = factor @ factor.T if "lora_A" in name else factor.T @ factor
                factors.append(factor)
                deviations.append(torch.linalg.matrix_norm(product - torch.eye(len(product), device=product.device)))
        penalty = self.config.orth_reg_weight * torch.stack(deviations).mean()
        for factor, gradient in zip(factors, torch.autograd.grad(penalty, factors), strict=True):
            factor.grad = gradient if factor.grad is None else factor.grad + gradient

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Weigh every rank by this step's gradients, and prune."""
        self.tuner.update_and_allocate(state.global_step + 1)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep the schedule's state beside the trainer's."""
        if not state.is_world_process_zero:
            return
        allocator = self.tuner.rankallocator
        tensors = {
            f"{average}/{name}": tensor.cpu().contiguous()
            for average in _AVERAGES
            for name, tensor in getattr(allocator, average).items()
        }
        path = Path(args.output_dir) / f"checkpoint-{state.global_step}" / self.file_name
        save_file(tensors, path, metadata={"rank_pattern": json.dumps(self.config.rank_pattern)})

    def _restore(self, checkpoint: Path) -> None:
        path = checkpoint / self.file_name
        if not path.is_file():
            raise IaaRetrievalError(
                f"{path} is missing, so this run cannot be resumed; use --overwrite instead of --resume"
            )
        devices = {name: parameter.device for name, parameter in self.tuner.model.named_parameters()}
        with safe_open(path, framework="pt") as saved:
            self.config.rank_pattern = json.loads(saved.metadata()["rank_pattern"])
            for key in saved.keys():  # noqa: SIM118  (no mapping)
                average, name = key.split("/", 1)
                getattr(self.tuner.rankallocator, average)[name] = saved.get_tensor(key).to(devices[name])
