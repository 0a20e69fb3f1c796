"""The ``train`` verb."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from safetensors.torch import load_file
from toy_collection import write_toy_collection, write_toy_run

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.models.bi_encoder import load_bi_encoder
from iaa_retrieval.models.cross_encoder import load_cross_encoder
from iaa_retrieval.train import main


class Toy(NamedTuple):
    """A collection, a run of all its queries, and arguments that train on them."""

    collection: Path
    run: Path
    arguments: tuple[str, ...]


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory, tiny_backbone: Callable[[str], Path]) -> Toy:
    root = tmp_path_factory.mktemp("train")
    collection, run = write_toy_collection(root / "toy"), write_toy_run(root / "toy.trec")
    arguments = {
        "--collection": collection,
        "--split": "train",
        "--backbone": tiny_backbone("bert"),
        "--negatives": run,
        "--batch-size": 4,
        "--precision": "fp32",
        "--device": "cpu",
    }
    return Toy(collection, run, tuple(str(word) for pair in arguments.items() for word in pair))


def train(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def adapter(directory: Path) -> dict[str, torch.Tensor]:
    return load_file(directory / "adapter_model.safetensors")


def test_help() -> None:
    for kind, only in (("bi-encoder", "--temperature"), ("cross-encoder", "[required]")):
        result = train(kind, "--help")
        assert result.exit_code == 0
        assert only in result.output
    assert "--temperature" not in result.output


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from iaa_retrieval.train import main; main(['bi-encoder', '--help'], standalone_mode=False); "
        "heavy = {'torch', 'transformers', 'peft', 'pyserini', 'yaml'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("kind", "arguments", "code", "message"),
    [
        ("bi-encoder", ("--method", "iaa-x"), 2, "'iaa-x' is not one of"),
        ("bi-encoder", ("--method", "lora", "--ar", "4"), 2, "method lora has no dimension ar"),
        ("bi-encoder", ("--method", "lora", "--activation", "gelu"), 2, "method lora has no activation; methods that"),
        ("cross-encoder", ("--method", "prefix", "--activation", "gelu"), 2, "method prefix has no activation"),
        ("bi-encoder", ("--method", "bitfit", "--scaling", "2"), 2, "method bitfit has no scaling; methods that have"),
        ("bi-encoder", ("--method", "full", "--scaling", "2"), 2, "method full has no scaling"),
        ("bi-encoder", ("--scaling", "0"), 2, "scaling must be a number above 0, got 0.0"),
        ("bi-encoder", ("--activation", "squash"), 2, "unknown activation 'squash'; known: gelu"),
        ("bi-encoder", ("--peft-config", "nowhere.json"), 2, "cannot read nowhere.json"),
        ("bi-encoder", ("--budget", "0.5"), 2, "write it as in 0.5%"),
        ("bi-encoder", ("--collection", "no/such/collection"), 2, "no/such/collection"),
        ("bi-encoder", ("--collection", "./nowhere"), 1, "./nowhere: no such file or directory"),
        ("bi-encoder", ("--split", "nosplit"), 2, "nosplit"),
        ("bi-encoder", ("--negatives", "nowhere.trec"), 1, "cannot read nowhere.trec"),
        ("bi-encoder", ("--backbone", "./nowhere"), 1, "./nowhere"),
        ("bi-encoder", ("--batch-size", "0"), 2, "--batch-size 0 is out of range"),
        ("bi-encoder", ("--dev-split", "train"), 2, "dev split train shares 24 queries with the training split"),
        ("cross-encoder", ("--temperature", "0.1"), 2, "No such option"),
        ("cross-encoder", ("--negatives-per-query", "0"), 2, "--negatives-per-query 0 is out of range"),
        ("cross-encoder", ("--r", "0"), 2, "--r"),
    ],
)
def test_wrong_usage(kind: str, arguments: tuple[str, ...], code: int, message: str, toy: Toy, tmp_path: Path) -> None:
    result = train(kind, *toy.arguments, "--output", tmp_path / "out", *arguments)
    assert result.exit_code == code
    assert message in result.output
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_dimensions_override_the_budget(toy: Toy, tmp_path: Path) -> None:
    options = ("--budget", "5%", "--max-steps", "1")
    for name, extra in (("budget", ()), ("both", ("--ar", "9"))):
        result = train("bi-encoder", *toy.arguments, *options, *extra, "--output", tmp_path / name)
        assert result.exit_code == 0, result.output
    budget, both = (load_bi_encoder(str(tmp_path / name)).config.dimensions for name in ("budget", "both"))
    assert budget["ar"] != 9
    assert both == {"r": budget["r"], "ar": 9}


def test_scaling_and_activation_are_recorded(toy: Toy, tmp_path: Path) -> None:
    options = ("--scaling", "0.5", "--activation", "gelu", "--r", "2", "--ar", "3", "--max-steps", "1")
    result = train("bi-encoder", *toy.arguments, *options, "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    training = load_bi_encoder(str(tmp_path / "out")).config.training
    assert (training["scaling"], training["activation"]) == (0.5, "gelu")
    saved = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (saved["scaling"], saved["activation"], saved["r"], saved["aside_r"]) == (0.5, "gelu", 2, 3)


def test_a_peft_configuration_and_again_from_the_saved_one(toy: Toy, tmp_path: Path) -> None:
    file = tmp_path / "dora.json"
    file.write_text('{"peft_type": "LORA", "use_dora": true, "r": 2}')
    first, second = tmp_path / "first", tmp_path / "second"
    result = train("bi-encoder", *toy.arguments, "--peft-config", file, "--max-steps", "2", "--output", first)
    assert result.exit_code == 0, result.output
    file.unlink()
    assert load_bi_encoder(str(first)).config.method == "peft-dora"
    result = train("bi-encoder", "--config", first / "train_config.yaml", "--output", second)
    assert result.exit_code == 0, result.output
    left, right = adapter(first), adapter(second)
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize(
    ("content", "extra", "message"),
    [
        ("[1]", (), "must hold a JSON object"),
        ("{", (), "cannot read"),
        ('{"peft_type": "IA3"}', ("--method", "lora"), "--peft-config says all about the method; leave out --method"),
        ('{"peft_type": "IA3"}', ("--budget", "1%", "--r", "2"), "leave out --budget, --r"),
        ('{"peft_type": "PROMPT_TUNING"}', (), "use --method prefix"),
        ('{"peft_type": "IA33"}', (), "unknown PEFT type 'IA33'"),
    ],
)
def test_malformed_peft_configurations(
    content: str, extra: tuple[str, ...], message: str, toy: Toy, tmp_path: Path
) -> None:
    file = tmp_path / "peft.json"
    file.write_text(content)
    result = train("bi-encoder", *toy.arguments, "--peft-config", file, *extra, "--output", tmp_path / "out")
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert list(tmp_path.iterdir()) == [file]


def test_a_cross_encoder_needs_negatives_or_java(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_java() -> None:
        raise IaaRetrievalError("no Java here")

    monkeypatch.setattr("iaa_retrieval.jobs.train.prepare_java", without_java)
    result = train("cross-encoder", "--collection", toy.collection, "--split", "train", "--output", tmp_path / "out")
    assert result.exit_code == 1
    assert "Error: no Java here; the negatives are BM25's, unless a run" in result.output
    assert "is given with --negatives" in result.output
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_is_not_empty(toy: Toy, tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    result = train("bi-encoder", *toy.arguments, "--output", tmp_path)
    assert result.exit_code == 1
    assert f"output directory {tmp_path} is not empty" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


@pytest.mark.parametrize("kind", ["bi-encoder", "cross-encoder"])
def test_a_whole_run_and_again_from_its_own_configuration(kind: str, toy: Toy, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    options = ("--dev-fraction", "0.2", "--epochs", "2", "--budget", "3%", "--negative-ranks", "2", "7", "--seed", "3")
    result = train(kind, *toy.arguments, *options, "--output", first)
    assert result.exit_code == 0, result.output
    assert f"{first}: trained in" in result.output
    assert "dev nDCG@10 " in result.output
    load = load_bi_encoder if kind == "bi-encoder" else load_cross_encoder
    assert load(str(first), precision="fp32").config.training["seed"] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["first"]

    result = train(kind, "--config", first / "train_config.yaml", "--output", second)
    assert result.exit_code == 0, result.output
    left, right = adapter(first), adapter(second)
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)
    saved = [yaml.safe_load((directory / "train_config.yaml").read_text()) for directory in (first, second)]
    assert {**saved[0], "output": ""} == {**saved[1], "output": ""}

    other = "bi-encoder" if kind == "cross-encoder" else "cross-encoder"
    result = train(other, "--config", first / "train_config.yaml", "--output", tmp_path / "third")
    assert result.exit_code == 2
    assert f"is for another kind of model than {other}" in result.output


def test_the_command_line_wins_over_the_configuration(toy: Toy, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("method: lora\nmax-steps: 1\nseed: 9\n")
    result = train("bi-encoder", *toy.arguments, "--config", config, "--seed", "8", "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    settings = load_bi_encoder(str(tmp_path / "out"), precision="fp32").config
    assert (settings.method, settings.training["steps"], settings.training["seed"]) == ("lora", 1, 8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("metod: lora\n", "unknown options metod"),
        ("- method\n", "must hold option names and values"),
        ("method: [\n", "cannot read"),
        ("method: lorra\n", "'lorra' is not one of"),
        ("epochs: many\n", "'many' is not a valid float"),
        ("negative_ranks: 5\n", "negative-ranks"),
        ("config: other.yaml\n", "unknown options config"),
    ],
)
def test_malformed_configurations(content: str, message: str, toy: Toy, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(content)
    result = train("bi-encoder", *toy.arguments, "--config", config, "--output", tmp_path / "out")
    assert result.exit_code == 2, result.output
    assert message in result.output


def test_a_missing_configuration(tmp_path: Path) -> None:
    result = train("bi-encoder", "--config", tmp_path / "none.yaml")
    assert result.exit_code == 2
    assert "none.yaml" in result.output


def test_as_a_module(toy: Toy, tmp_path: Path) -> None:
    """One run in a process of its own: nothing on standard output but the result, no progress bar in a pipe."""
    command = [sys.executable, "-m", "iaa_retrieval.train", "bi-encoder", *toy.arguments, "--max-steps", "2"]
    finished = subprocess.run([*command, "--output", tmp_path / "out"], capture_output=True, text=True, check=True)
    assert finished.stdout.startswith(f"{tmp_path / 'out'}: trained in")
    assert len(finished.stdout.splitlines()) == 1
    # Counted before the training starts: three bottlenecks of r = 1 in each of three layers of width 32.
    assert "576 weights (" in finished.stderr
    assert "% of the backbone's " in finished.stderr
    assert "297 biases and 0 in heads" in finished.stderr
    assert "it/s" not in finished.stderr


def test_two_processes_learn_what_one_learns(toy: Toy, tmp_path: Path) -> None:
    """A cross-encoder's loss stays within a query, so two times 4 queries give the gradient of 8."""
    options = ("--dev-split", "dev", "--max-steps", "4", "--weight-decay", "0", "--dropout", "0", "--lr", "1e-3")
    arguments = ["cross-encoder", *toy.arguments, *options]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    finished = subprocess.run(
        [*torchrun, "-m", "iaa_retrieval.train", *arguments, "--output", tmp_path / "two"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert finished.returncode == 0, finished.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["two"]
    result = train(*arguments, "--batch-size", "8", "--output", tmp_path / "one")
    assert result.exit_code == 0, result.output
    one, two = adapter(tmp_path / "one"), adapter(tmp_path / "two")
    assert one.keys() == two.keys()
    # Adding a constant to all scores changes no loss, so the head's bias gets rounding errors as its gradient.
    for name in one.keys() - {"base_model.model.classifier.bias"}:
        torch.testing.assert_close(one[name], two[name], rtol=1e-3, atol=1e-4)
