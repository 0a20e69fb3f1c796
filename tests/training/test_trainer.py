"""What the trainer does besides stepping: what weight decay acts on, when a run has diverged, where it runs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification
from transformers.training_args import ParallelMode

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.options import changed
from iaa_retrieval.training.divergence import tells_of_divergence
from iaa_retrieval.training.loop import _use_device
from iaa_retrieval.training.objectives import BiEncoderObjective
from iaa_retrieval.training.options import TrainOptions
from iaa_retrieval.training.run import train_retriever
from iaa_retrieval.training.trainer import RetrievalTrainer, finite_entries
from iaa_retrieval.tuning.apply import apply_method
from iaa_retrieval.tuning.methods import get_method, method_names

Options = Callable[..., TrainOptions]

BOTTLENECK = {"iaa_down.weight": True, "iaa_down.bias": False, "iaa_up.weight": True, "iaa_up.bias": False}
PREFIX = {"prefix_port.iaa_key": True, "prefix_port.iaa_value": True}
HEAD = {"classifier.weight": True, "classifier.bias": False}
# Kinds of trained parameters of each method, and whether weight decay acts on them.
DECAYED = {
    "full": {"word_embeddings.weight": True, "dense.weight": True, "LayerNorm.weight": False, "bias": False},
    "bitfit": {"bitfit_delta": False},
    "prefix": PREFIX,
    "adapter": BOTTLENECK,
    "mam": {**PREFIX, **BOTTLENECK},
    "lora": {"lora_A.weight": True, "lora_B.weight": True},
    "iaa-s": BOTTLENECK,
    "iaa-l": BOTTLENECK,
    "iaa-m": BOTTLENECK,
}


@pytest.mark.parametrize("method", method_names())
def test_weight_decay_acts_on_weights_and_on_no_bias(method: str, tiny_backbone: Callable[[str], Path]) -> None:
    dimensions = {name: 3 for name in get_method(method).dimension_names}
    backbone = AutoModelForSequenceClassification.from_pretrained(tiny_backbone("bert"), num_labels=1)
    model = apply_method(backbone, method, dimensions, modules_to_save=["classifier"])
    trainer = object.__new__(RetrievalTrainer)
    trainer._method = get_method(method)
    decayed = set(trainer.get_decay_parameter_names(model))
    seen = set()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            short = name.replace(".default", "").replace(".modules_to_save", "")
            kinds = {kind: decay for kind, decay in {**DECAYED[method], **HEAD}.items() if short.endswith(kind)}
            if kinds:
                assert (name in decayed) is kinds[max(kinds, key=len)], name
                seen |= set(kinds)
            else:
                assert method == "full" and (name in decayed) is name.endswith("weight"), name
    assert seen == {*DECAYED[method], *HEAD}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_the_run_without_a_checkpoint(
    value: float, toy_options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    forward = BiEncoderObjective.forward

    def diverging(self: BiEncoderObjective, **inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        calls.append(1)
        loss = forward(self, **inputs)["loss"]
        return {"loss": loss * value if len(calls) == 3 else loss}

    monkeypatch.setattr(BiEncoderObjective, "forward", diverging)
    options = toy_options(epochs=3.0)
    with pytest.raises(
        IaaRetrievalError, match=f"the loss became {value} in step 3, so no checkpoint was made; use a"
    ) as ended:
        train_retriever(options)
    assert tells_of_divergence(str(ended.value))
    assert len(calls) == 3
    assert not Path(options.output).exists()


def test_weights_that_the_last_step_made_no_numbers_are_no_checkpoint(
    toy_options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = RetrievalTrainer.training_step

    def overflowing(self: RetrievalTrainer, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss = step(self, *args, **kwargs)
        next(p for p in self.model.parameters() if p.grad is not None).grad[0] = math.nan
        return loss

    monkeypatch.setattr(RetrievalTrainer, "training_step", overflowing)
    options = toy_options(max_steps=1)
    with pytest.raises(
        IaaRetrievalError, match=r"the trained weights .* are not finite, so no checkpoint was made"
    ) as ended:
        train_retriever(options)
    assert tells_of_divergence(str(ended.value)) and not tells_of_divergence("the loss is high")
    assert not Path(options.output).exists()


def test_a_history_is_json_even_where_a_gradient_overflowed() -> None:
    history = [{"step": 1, "loss": 0.5, "grad_norm": math.inf}, {"step": 2, "loss": 0.4, "grad_norm": 1.5}]
    assert finite_entries(history) == [{"step": 1, "loss": 0.5}, history[1]]
    json.dumps(finite_entries(history), allow_nan=False)


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": math.inf},
        {"epochs": math.nan},
        {"lr": math.inf},
        {"weight_decay": math.inf},
        {"temperature": math.inf},
        {"max_steps": 0},
        {"max_steps": -2},
    ],
    ids=str,
)
def test_numbers_that_cannot_be_meant(values: dict[str, Any], toy_options: Options) -> None:
    with pytest.raises(UsageError, match=f"--{next(iter(values)).replace('_', '-')} .* is out of range"):
        train_retriever(toy_options(backbone="/not/reached", **values))


@pytest.mark.parametrize("asked", ["cuda:1", "cuda:0"])
def test_training_is_on_the_gpu_that_was_asked_for(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers finds out a device, keeps it and makes it the current one; this stands for a machine with two."""
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)

    class Arguments:
        parallel_mode = ParallelMode.NOT_PARALLEL

        def __init__(self) -> None:
            self.__dict__["_setup_devices"] = torch.device("cuda:0")

        @property
        def device(self) -> torch.device:
            return self.__dict__["_setup_devices"]

    arguments: Any = Arguments()
    _use_device(arguments, torch.device(asked))
    assert arguments.device == torch.device(asked)
    assert current == [torch.device(asked)]


def test_processes_of_torchrun_have_a_gpu_each(toy_options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="2 processes train on a GPU each; write --device cuda instead of cuda:1"):
        train_retriever(changed(toy_options(), device="cuda:1"))


def test_the_device_that_transformers_keeps_is_the_one_that_is_replaced(tmp_path: Path) -> None:
    from transformers import TrainingArguments

    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    assert arguments.device == torch.device("cpu")
    arguments.__dict__["_setup_devices"] = torch.device("meta")
    assert arguments.device == torch.device("meta")
