"""Training from Python: the functions over the options of the verb."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from iaa_retrieval.errors import UsageError
from iaa_retrieval.jobs.train import train_bi_encoder, train_cross_encoder
from iaa_retrieval.options import names_of
from iaa_retrieval.train import main
from iaa_retrieval.training.options import TrainOptions

FUNCTIONS = {"bi-encoder": train_bi_encoder, "cross-encoder": train_cross_encoder}


def values(toy: Any) -> dict[str, Any]:
    paths = {"collection": toy.collection, "backbone": toy.backbone, "negatives": toy.run}
    return {**paths, "split": "train", "batch_size": 8, "max_steps": 2, "precision": "fp32", "device": "cpu"}


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_python_and_the_command_line_train_the_same(kind: str, toy: Any, tmp_path: Path) -> None:
    result = FUNCTIONS[kind](**values(toy), output=tmp_path / "python", ar=3)
    assert result.output == tmp_path / "python" and result.trainable_parameters["weights"] > 0
    flags = {f"--{name.replace('_', '-')}": str(value) for name, value in values(toy).items()}
    words = [word for pair in flags.items() for word in pair]
    main.commands[kind].main([*words, "--ar", "3", "--output", str(tmp_path / "command")], standalone_mode=False)
    python, command = (load_file(tmp_path / run / "adapter_model.safetensors") for run in ("python", "command"))
    assert python.keys() == command.keys()
    assert all(torch.equal(python[key], command[key]) for key in python)
    saved = [yaml.safe_load((tmp_path / run / "train_config.yaml").read_text()) for run in ("python", "command")]
    assert {**saved[0], "output": ""} == {**saved[1], "output": ""}
    assert (saved[0]["kind"], saved[0]["r"], saved[0]["ar"]) == (kind, None, 3)


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_the_functions_say_what_they_take(kind: str) -> None:
    parameters = inspect.signature(FUNCTIONS[kind]).parameters
    assert tuple(parameters) == names_of(TrainOptions, kind)
    command = {option.name: option for option in main.commands[kind].params if option.expose_value}
    assert set(parameters) == set(command)
    for name, parameter in parameters.items():
        assert f"        {name}: " in str(FUNCTIONS[kind].__doc__)
        if parameter.default is not inspect.Parameter.empty:
            assert command[name].default == parameter.default, name
        else:
            assert command[name].required, name


def test_wrong_values_are_refused_by_name() -> None:
    with pytest.raises(UsageError, match="--batch-size 0 is out of range; it must be 1 or more"):
        train_bi_encoder(collection="c", output="o", batch_size=0)
    with pytest.raises(TypeError, match="TrainOptions has no option batchsize"):
        train_bi_encoder(collection="c", output="o", batchsize=8)
    with pytest.raises(TypeError, match="collection"):
        train_cross_encoder(output="o")
