"""Which optimisers there are, by transformers' names, and how much they keep beside the weights."""

from __future__ import annotations

import tempfile
from typing import Any

from iaa_retrieval.errors import UsageError

ALIASES = {"adamw": "adamw_torch"}
DEFAULT_STATE_BYTES = 8.0  # AdamW's two moments in fp32
# Bytes for each trained number. Adafactor's are for each row and column; the rest are for each number.
_STATE_BYTES = {"adafactor": 0.1, "sgd": 0.0, "adagrad": 4.0, "rmsprop": 4.0, "lion": 4.0, "lomo": 0.0}


def transformers_name(name: str) -> str:
    """What transformers calls the optimiser that a user names."""
    return ALIASES.get(name, name)


def require_optimizer(name: str | None, device: str) -> None:
    """Refuse an optimiser that this machine cannot run, before anything is loaded.

    Args:
        name: None, the default, passes.
        device: such as ``cpu``.

    Raises:
        UsageError: there is none of this name, or it lacks its library, settings or a GPU; the message says which.
    """
    if name is None:
        return
    from transformers import Trainer, TrainingArguments
    from transformers.training_args import OptimizerNames

    known = [entry.value for entry in OptimizerNames]
    asked = transformers_name(name)
    if asked not in known:
        raise UsageError(f"--optimizer {name}: there is none of this name; transformers has {', '.join(known)}")
    if _is_of_bitsandbytes(asked) and not device.startswith("cuda"):
        raise UsageError(
            f"--optimizer {name} is bitsandbytes', which needs a GPU (CUDA), and this run is on {device}; leave it out"
        )
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(output_dir=folder, optim=asked, use_cpu=not device.startswith("cuda"))
        try:
            Trainer.get_optimizer_cls_and_kwargs(arguments)
        except (ImportError, ValueError, RuntimeError) as error:
            raise UsageError(f"--optimizer {name}: {' '.join(str(error).split())}") from error


def state_bytes(name: str | None, trained: int) -> int:
    """The bytes that an optimiser keeps for so many trained numbers, fp32 copies apart."""
    asked = transformers_name(name or "")
    each = next((value for part, value in _STATE_BYTES.items() if part in asked), DEFAULT_STATE_BYTES)
    if "8bit" in asked:
        each /= 4
    elif "4bit" in asked:
        each /= 8
    return int(each * trained)


def _is_of_bitsandbytes(name: str) -> bool:
    from transformers import trainer_optimizer

    listed: Any = getattr(trainer_optimizer, "_BITSANDBYTES_OPTIMIZERS", ())
    return name in [str(getattr(entry, "value", entry)) for entry in listed]
