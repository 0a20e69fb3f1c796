"""A method that only a test brings: trained, saved, reloaded, listed, asked for on the command line and exported."""

from __future__ import annotations

import dataclasses
import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import peft.mapping
import pytest
import torch
from peft.utils.peft_types import PeftType
from safetensors.torch import load_file
from torch import nn
from toy_collection import write_toy_collection, write_toy_run
from transformers import AutoModel, TrainingArguments
from tuning_models import Backbone, batch

from iaa_retrieval.errors import UsageError
from iaa_retrieval.export import ExportOptions, export
from iaa_retrieval.files import read_json
from iaa_retrieval.inference.cpu_kernels import PackedLinear, use_cpu_kernels
from iaa_retrieval.models.bi_encoder import load_bi_encoder
from iaa_retrieval.models.cross_encoder import load_cross_encoder
from iaa_retrieval.training.options import TrainOptions
from iaa_retrieval.training.run import train_retriever
from iaa_retrieval.training.trainer import RetrievalTrainer
from iaa_retrieval.tuning import registration  # noqa: F401  (from here on, methods that are registered reach PEFT)
from iaa_retrieval.tuning.apply import apply_method, count_trainable
from iaa_retrieval.tuning.listing import methods_page, methods_table
from iaa_retrieval.tuning.methods import Method, Tuner, all_dimensions, find_method, get_method, method_names, registry

PACKAGE = Path(__file__).parent / "another_package"
MAPPINGS = [value for name, value in vars(peft.mapping).items() if name.startswith("PEFT_TYPE_TO_")]

Options = Callable[..., TrainOptions]


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The registry, PEFT's tables and the imported modules are as before, after a test that adds to them."""
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))
    monkeypatch.syspath_prepend(PACKAGE)
    before = [dict(mapping) for mapping in MAPPINGS]
    members = set(PeftType.__members__)
    yield
    for mapping, content in zip(MAPPINGS, before, strict=True):
        mapping.clear()
        mapping.update(content)
    for name in set(PeftType.__members__) - members:
        PeftType._member_names_.remove(name)
        del PeftType._member_map_[name], PeftType._value2member_map_[name]
        type.__delattr__(PeftType, name)
    for module in ("query_update", "query_update_tuner", "query_update_callback", "rival_method", "marking_method"):
        sys.modules.pop(module, None)


def install(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """Let packages be installed whose entry points name these modules."""
    found = [EntryPoint(f"name-of-{module}", module, registry.PACKAGES.group) for module in modules]
    monkeypatch.setattr(
        "iaa_retrieval.registry.entry_points", lambda group: found if group == "iaa_retrieval.methods" else []
    )
    monkeypatch.setattr(registry.PACKAGES, "_loaded", False)


@pytest.fixture
def method() -> Method:
    """The method of the test, registered by importing its module."""
    import query_update

    registered: Method = query_update.METHOD
    return registered


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("toy")
    return write_toy_collection(root / "toy"), write_toy_run(root / "toy.trec")


@pytest.fixture
def toy_options(toy: tuple[Path, Path], tiny_backbone: Backbone, tmp_path: Path) -> Options:
    collection, run = toy

    def make(kind: str = "bi-encoder", **values: Any) -> TrainOptions:
        settings = {"method": "query-update", "dimensions": {"update_rank": 2}, "max_steps": 3, "batch_size": 8}
        return TrainOptions.of(
            kind=kind,
            collection=str(collection),
            split="train",
            negatives=str(run),
            output=str(tmp_path / "out"),
            backbone=str(tiny_backbone("bert")),
            precision="fp32",
            device="cpu",
            **(settings | values),
        )

    return make


@torch.no_grad()
def result_of(model: Any) -> torch.Tensor:
    for network in model.networks:  # training may have chosen a faster one, of other rounding
        network.set_attn_implementation("eager")
    result: torch.Tensor = model(**batch())
    return result


def test_a_bi_encoder_is_trained_saved_and_reloaded(method: Method, toy_options: Options, trained: list[Any]) -> None:
    options = toy_options()
    assert options.resolved().lr == 0.2
    result = train_retriever(options)
    assert result.trainable_parameters == {"weights": 3 * 2 * 32 * 2, "biases": 0, "heads": 0}
    reloaded = load_bi_encoder(str(result.output), precision="fp32", device="cpu")
    assert (reloaded.config.method, reloaded.config.dimensions) == ("query-update", {"update_rank": 2})
    assert torch.equal(result_of(reloaded), result_of(trained[0]))
    bare = load_bi_encoder(options.tuning.backbone, pooling="mean", normalize=True, precision="fp32", device="cpu")
    assert not torch.allclose(result_of(reloaded), result_of(bare), atol=1e-4)

    steps = trained[0].encoder.steps
    assert steps.index == 0
    assert steps.events == ["step 1", "step 2", "step 3", "end", "after training"]
    saved = load_file(result.output / "adapter_model.safetensors")
    assert len(saved) == 6 and all("qupdate_" in name for name in saved)
    card = (result.output / "README.md").read_text()
    assert "library_name: peft" in card and "query-update bi-encoder" in card and "Nothing else loads it" not in card


def test_a_cross_encoder_with_a_budget_and_a_scaling(method: Method, toy_options: Options, trained: list[Any]) -> None:
    """A rank trains 192 weights of the backbone's 32 thousand."""
    parameters = sum(p.numel() for p in AutoModel.from_pretrained(toy_options().tuning.backbone).parameters())
    options = toy_options("cross-encoder", dimensions={}, budget="2%", scaling=0.5)
    result = train_retriever(options)
    reloaded = load_cross_encoder(str(result.output), precision="fp32", device="cpu")
    assert reloaded.config.dimensions == {"update_rank": round(0.02 * parameters / 192)}
    assert result.trainable_parameters["heads"] > 0
    assert torch.equal(result_of(reloaded), result_of(trained[0]))
    assert read_json(result.output / "adapter_config.json")["scaling"] == 0.5


def test_two_adapters_on_one_backbone(method: Method, toy_options: Options, trained: list[Any]) -> None:
    train_retriever(toy_options(separate_encoders=True))
    assert [network.steps.index for network in trained[0].networks] == [0, 1]
    assert all(network.steps.events[-1] == "after training" for network in trained[0].networks)


def test_it_is_exported_merged_and_self_contained(method: Method, toy_options: Options, tmp_path: Path) -> None:
    output = str(train_retriever(toy_options()).output)
    expected = result_of(load_bi_encoder(output, precision="fp32", device="cpu"))
    export(ExportOptions(output, "self-contained", str(tmp_path / "whole")))
    export(ExportOptions(output, "merged", str(tmp_path / "merged")))
    whole = load_bi_encoder(str(tmp_path / "whole"), precision="fp32", device="cpu")
    assert torch.equal(result_of(whole), expected)
    merged = load_bi_encoder(str(tmp_path / "merged"), precision="fp32", device="cpu")
    assert not hasattr(merged.encoder, "peft_config")
    torch.testing.assert_close(result_of(merged), expected, rtol=1e-5, atol=1e-6)
    # A merged network is a plain one, which also works where the method's package is not installed.
    del registry._METHODS["query-update"]
    alone = load_bi_encoder(str(tmp_path / "merged"), precision="fp32", device="cpu")
    use_cpu_kernels(alone)
    torch.testing.assert_close(result_of(alone), expected, rtol=1e-5, atol=1e-6)
    assert find_method(alone.config.method).name == "query-update"


@pytest.mark.parametrize("packable", [True, False])
def test_inference_asks_it_whether_weights_may_be_packed(
    packable: bool, method: Method, toy_options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iaa_retrieval.inference.cpu_kernels.packing_pays", lambda dtype: True)
    object.__setattr__(method, "packable", packable)
    model = load_bi_encoder(str(train_retriever(toy_options(max_steps=1)).output), precision="fp32", device="cpu")
    use_cpu_kernels(model)
    assert any(isinstance(module, PackedLinear) for module in model.encoder.modules()) is packable


def test_it_is_listed(method: Method) -> None:
    assert method_names()[-1] == "query-update"
    assert list(all_dimensions()) == ["r", "ar", "prefix_length", "update_rank"]
    for text in (methods_table(), methods_page()):
        for fact in ("query-update", "Query update", "update_rank", "A Method for This Test", "W x + b + s U D x"):
            assert fact in text
    assert "`--r`, `--ar`, `--prefix-length` and `--update-rank` override" in methods_page()
    # without anchors, the budget itself: 0.5% of 109,482,240 at 18,432 weights a rank
    assert "547,430 (0.50% of bert-base)" not in methods_page()
    assert f"{30 * 18_432:,} (0.51% of bert-base) with update_rank = 30" in methods_page()


def test_after_a_test_nothing_is_left() -> None:
    assert "query-update" not in method_names()
    assert "QUPDATE" not in PeftType.__members__
    with pytest.raises(UsageError, match=r"unknown tuning method 'query-update'; known: full, .*, iaa-m$"):
        get_method("query-update")


def test_packages_are_asked_once_and_a_broken_one_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "broken_method.py").write_text("raise RuntimeError('no\\nluck')")
    monkeypatch.syspath_prepend(tmp_path)
    install(monkeypatch, "broken_method", "missing_method", "query_update")
    assert get_method("lora").title == "LoRA"
    assert "query_update" not in sys.modules  # ours are found without other packages
    assert get_method("query-update").title == "Query update"
    assert method_names()[-2:] == ("iaa-m", "query-update")
    assert [record.getMessage() for record in caplog.records] == [
        "tuning method name-of-broken_method (entry point broken_method) is left out: no luck",
        "tuning method name-of-missing_method (entry point missing_method) is left out: "
        "No module named 'missing_method'",
    ]


def test_a_method_of_a_package_that_takes_our_name_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    code = "import dataclasses, query_update as q\nq.register(dataclasses.replace(q.METHOD, name='lora'))"
    (tmp_path / "rival_method.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    install(monkeypatch, "rival_method")
    assert get_method("query-update") is sys.modules["query_update"].METHOD
    assert get_method("lora").title == "LoRA"
    assert "name-of-rival_method" in caplog.text and "there is a tuning method 'lora' already" in caplog.text


@pytest.mark.parametrize("name", ["none", "peft-mine"])
def test_a_name_that_means_something_else_in_checkpoints_is_refused(name: str, method: Method) -> None:
    with pytest.raises(UsageError, match=f"cannot be called {name!r}: 'none' and what begins with 'peft-'"):
        registry.register(dataclasses.replace(method, name=name))
    assert name not in method_names()


def test_a_tuner_that_peft_refuses_is_named(method: Method, caplog: pytest.LogCaptureFixture) -> None:
    """Its parameters would have the prefix of another tuner's."""

    class Rival(type(method)):  # type: ignore[misc]
        def tuners(self) -> Sequence[Tuner]:
            (tuner,) = super().tuners()
            return (tuner._replace(peft_type="RIVAL"),)

    registry.register(Rival(**{**vars(method), "name": "rival"}))
    assert get_method("rival").title == method.title
    assert caplog.text.count("PEFT does not know method rival: Inconsistent prefixes found: 'rival_'") == 1


def test_biases_that_come_on_top_of_its_weights_are_counted_apart(method: Method, tiny_backbone: Backbone) -> None:
    class Biased(type(method)):  # type: ignore[misc]
        def tuners(self) -> Sequence[Tuner]:
            (tuner,) = super().tuners()
            return (tuner._replace(extra_biases=True),)

    plain, biased = method, Biased(**vars(method))
    model = apply_method(AutoModel.from_pretrained(tiny_backbone("bert")), plain, {"update_rank": 2})
    layer = model.get_submodule("base_model.model.encoder.layer.0.attention.self.query")
    layer.qupdate_up.bias = nn.Parameter(torch.zeros(5))
    weights = 3 * 2 * 32 * 2
    assert count_trainable(model, plain) == {"weights": weights + 5, "biases": 0, "heads": 0}
    assert count_trainable(model, biased) == {"weights": weights, "biases": 5, "heads": 0}


def be_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry_points: str) -> None:
    """Let processes find modules of this test by what the metadata of an installed package says."""
    metadata = tmp_path / "site" / "another_package-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: another-package\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[iaa_retrieval.methods]\n{entry_points}")
    paths = [str(PACKAGE), str(metadata.parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))


def run(*command: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


def words_of(options: TrainOptions, **others: str) -> list[str]:
    """The command line of a training like that of ``options``."""
    values = {
        "collection": options.data.collection,
        "split": "train",
        "backbone": options.tuning.backbone,
        "method": "query-update",
        "update-rank": "2",
        "max-steps": "3",
        "batch-size": "8",
        "precision": "fp32",
        "device": "cpu",
        "output": options.output,
        **{name.replace("_", "-"): value for name, value in others.items()},
    }
    return [word for name, value in values.items() for word in (f"--{name}", value)]


def test_an_installed_package_is_found_by_the_command_line(
    toy_options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes that know of the method only what the metadata of an installed package says."""
    be_installed(tmp_path, monkeypatch, "query = query_update\nbad = nowhere\n")
    options = toy_options()
    trained = run("-m", "iaa_retrieval.train", "bi-encoder", *words_of(options))
    assert trained.stderr.count("tuning method bad (entry point nowhere) is left out") == 1
    described = read_json(Path(options.output) / "retriever.json")
    assert (described["method"], described["dimensions"]) == ("query-update", {"update_rank": 2})
    saved = (Path(options.output) / "train_config.yaml").read_text()
    assert "\nupdate_rank: 2\n" in saved and "dimensions" not in saved

    help_text = run("-m", "iaa_retrieval.train", "cross-encoder", "--help").stdout
    assert "Rank of the update, likewise." in help_text and "iaa-m|query-update]" in help_text
    # In a process that imported the package and PEFT, whoever loads the adapter has the tuner.
    code = (
        "import iaa_retrieval, sys; from transformers import AutoModel; "
        "model = AutoModel.from_pretrained(sys.argv[1]); "
        "print(sum('qupdate_' in name for name, _ in model.named_parameters()))"
    )
    assert run("-c", code, options.output).stdout.strip() == "6"


MARKING = """
import os
from pathlib import Path
import query_update

class Marking(query_update.QueryUpdate):
    def after_training(self, network):
        Path(os.environ["MARKS"], f"rank {os.environ.get('RANK', 'alone')}").touch()

query_update.register(Marking(**{**vars(query_update.METHOD), "name": "marking"}))
"""


def test_two_processes_with_a_gradient_cache_learn_what_one_learns(
    toy: tuple[Path, Path], toy_options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its term is in the loss once, and its last word is said in each process.

    A cross-encoder's loss stays within a query, so two times 4 queries give the gradient of 8.
    """
    be_installed(tmp_path, monkeypatch, "marking = marking_method\n")
    (tmp_path / "site" / "marking_method.py").write_text(MARKING)
    (tmp_path / "marks").mkdir()
    monkeypatch.setenv("MARKS", str(tmp_path / "marks"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.syspath_prepend(tmp_path / "site")
    importlib.import_module("marking_method")
    values = {"method": "marking", "max_steps": 4, "lr": 0.1, "weight_decay": 0.0, "warmup": 0.0}
    alone = train_retriever(toy_options("cross-encoder", **values)).output
    asked = {name: str(value) for name, value in values.items()} | {"negatives": str(toy[1])}
    words = words_of(toy_options(), **asked, batch_size="4", grad_cache="3", output=str(tmp_path / "two"))
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    run(*torchrun, "-m", "iaa_retrieval.train", "cross-encoder", *words)
    assert {path.name for path in (tmp_path / "marks").iterdir()} == {"rank alone", "rank 0", "rank 1"}
    one, two = (load_file(directory / "adapter_model.safetensors") for directory in (alone, tmp_path / "two"))
    ups = [name for name in one if "qupdate_up" in name]
    assert len(ups) == 3
    for name in ups:
        torch.testing.assert_close(one[name], two[name], rtol=1e-3, atol=1e-4)


class Line(nn.Module):
    """An objective with one weight, whose loss is three times it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": (3 * self.weight * x).mean()}


class Ones(torch.utils.data.Dataset[Any]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"x": torch.ones(())}

    def set_epoch(self, epoch: int) -> None:
        pass


@pytest.mark.parametrize("accumulated", [1, 2])
def test_the_extra_loss_is_in_the_gradient_of_every_step(accumulated: int, tmp_path: Path) -> None:
    """The gradient of 3 w + 2 w^2 is 7 at w = 1 and 5.6 at 0.65; without the second term it is 3."""

    class Squared(type(get_method("lora"))):  # type: ignore[misc]
        def extra_loss(self, network: Any) -> Any:
            return 2 * network.weight.square()

    values = {key: getattr(get_method("lora"), key) for key in ("name", "title", "paper", "place", "formula")}
    objective = Line()
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        max_steps=2,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=accumulated,
        max_grad_norm=0.0,
        lr_scheduler_type="constant",
        use_cpu=True,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    trainer = RetrievalTrainer(
        model=objective,
        args=arguments,
        train_dataset=Ones(),
        optimizers=(torch.optim.SGD(objective.parameters(), lr=0.05), None),
        method=Squared(**values, initialisation=""),
        networks=[objective],
    )
    trainer.train()
    assert objective.weight.item() == pytest.approx(1 - 0.05 * 7 - 0.05 * 5.6)
