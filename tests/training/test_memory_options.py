"""What makes a model fit: checkpointing, few bits, half precision, attention kernels, optimisers, LoRA's targets."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import write_collection
from safetensors.torch import load_file, save_file
from transformers import AutoModel, BertForMaskedLM, Qwen3Config, T5Config, T5EncoderModel

from iaa_retrieval.errors import UsageError
from iaa_retrieval.models import backbone as backbone_module
from iaa_retrieval.models import loading as loading_module
from iaa_retrieval.models.backbone import fingerprint_weights, load_network
from iaa_retrieval.models.backbone_fingerprint import fingerprint_files, fingerprint_loaded
from iaa_retrieval.models.kinds import load_retriever
from iaa_retrieval.models.loading import Loading, set_attention
from iaa_retrieval.training.kinds import TRAINING_KINDS
from iaa_retrieval.training.memory_options import MemoryOptions
from iaa_retrieval.training.optimizers import require_optimizer, state_bytes
from iaa_retrieval.training.options import TrainOptions
from iaa_retrieval.training.run import train_retriever
from iaa_retrieval.training.tuned_model import TunedModel, new_tuned_model
from iaa_retrieval.tuning.apply import apply_method
from iaa_retrieval.tuning.methods import get_method
from iaa_retrieval.tuning.methods.lora import aimed_at

Backbone = Callable[..., Path]


def asked(kind: str = "bi-encoder", **values: Any) -> TrainOptions:
    return TrainOptions.of(**{"kind": kind, "collection": "c", "output": "o", **values})


def tuned(backbone: Path, precision: str = "fp32", **values: Any) -> TunedModel:
    options = asked(backbone=str(backbone), device="cpu", **values)
    kind = TRAINING_KINDS[options.kind]
    return new_tuned_model(kind, options.tuning, options.text, "cpu", precision, options.memory)


@pytest.fixture(scope="module")
def qwen(tiny_backbone: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny decoder with grouped queries, in two files of bf16 weights."""
    directory = tmp_path_factory.mktemp("decoders") / "qwen3"
    shutil.copytree(tiny_backbone("bert"), directory, ignore=shutil.ignore_patterns("*.safetensors", "config.json"))
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "vocab_size": 300, "head_dim": 8}
    config = Qwen3Config(**sizes, num_attention_heads=4, num_key_value_heads=2, pad_token_id=0)
    torch.manual_seed(4)
    AutoModel.from_config(config).to(torch.bfloat16).save_pretrained(directory, max_shard_size="30KB")
    assert (directory / "model.safetensors.index.json").is_file()
    return directory


@pytest.mark.parametrize(
    ("values", "message"),
    (
        ({"quantize": "4bit"}, "--quantize 4bit needs a GPU (CUDA), and this run is on cpu"),
        ({"device_map": "auto"}, "--device-map auto shares a model between GPUs (CUDA), and this run is on cpu"),
        ({"attn_implementation": "flash_attention_2"}, "--attn-implementation flash_attention_2 needs a GPU (CUDA)"),
        ({"optimizer": "adamm"}, "--optimizer adamm: there is none of this name; transformers has adamw_torch, "),
        ({"optimizer": "paged_adamw_8bit"}, "--optimizer paged_adamw_8bit is bitsandbytes', which needs a GPU (CUDA)"),
        ({"optimizer": "adamw_torch_8bit"}, "--optimizer adamw_torch_8bit: .*torchao"),
        ({"quantize": "8bit", "method": "full"}, "--quantize 8bit freezes the backbone in few bits, and method full"),
        ({"targets": "all"}, "--targets says which projections LoRA updates, and method iaa-l has none to choose"),
        ({"quantize": "3bit"}, "--quantize 3bit is out of range; it must be one of 4bit, 8bit"),
    ),
)
def test_what_cannot_be_is_refused_in_one_line_before_anything_is_loaded(
    values: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("iaa_retrieval.training.run.new_tuned_model", lambda *_: pytest.fail("the backbone was loaded"))
    with pytest.raises(UsageError) as error:
        train_retriever(asked(**values, output=str(tmp_path / "o"), device="cpu", precision="fp32"))
    pattern = message if ".*" in message else re.escape(message)
    assert re.match(pattern, str(error.value)) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("loading", "processes", "message"),
    (
        (Loading("bf16", quantize="4bit", device="cuda:0"), 1, "pip install bitsandbytes"),
        (Loading("bf16", attn_implementation="flash_attention_2", device="cuda:0"), 1, "needs the package flash_attn"),
        (Loading("fp32", attn_implementation="flash_attention_2", device="cuda:0"), 1, "bf16 or fp16 only"),
        (Loading("bf16", device_map="auto", device="cuda:0"), 2, "2 processes with a copy each"),
    ),
)
def test_what_a_gpu_lacks_is_refused(
    loading: Loading, processes: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading_module, "_installed", lambda package: False)
    with pytest.raises(UsageError, match=message):
        loading.require_possible(processes)


def test_options_become_arguments_of_from_pretrained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading_module, "_installed", lambda package: True)
    version = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.48" if name == "bitsandbytes" else version(name))
    assert MemoryOptions().loading("fp32", "cuda:0").options() == {"dtype": torch.float32}

    four = MemoryOptions(quantize="4bit", attn_implementation="sdpa").loading("bf16", "cuda:1")
    four.require_possible()
    found = four.options()
    bits = found.pop("quantization_config")
    assert found == {"dtype": torch.bfloat16, "attn_implementation": "sdpa", "device_map": {"": "cuda:1"}}
    assert (bits.load_in_4bit, bits.load_in_8bit, bits.bnb_4bit_quant_type) == (True, False, "nf4")
    assert bits.bnb_4bit_use_double_quant and bits.bnb_4bit_compute_dtype == torch.bfloat16

    monkeypatch.setenv("LOCAL_RANK", "1")  # of two processes, each with a GPU
    eight = MemoryOptions(quantize="8bit").loading("fp16", "cuda:0").options()
    assert eight["quantization_config"].load_in_8bit and eight["device_map"] == {"": "cuda:1"}
    shared = MemoryOptions(device_map="auto").loading("bf16", "cuda:0")
    assert shared.options() == {"dtype": torch.bfloat16, "device_map": "auto"} and shared.is_placed


@pytest.mark.parametrize("name", ("bert", "mpnet", "distilbert", "modernbert", "qwen", "heads", "t5"))
def test_the_fingerprint_from_files_is_that_of_the_weights_in_fp32(
    name: str, tiny_backbone: Backbone, qwen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = qwen if name == "qwen" else tmp_path
    if name == "heads":  # the encoder under a prefix, and more than the encoder
        BertForMaskedLM.from_pretrained(tiny_backbone("bert")).save_pretrained(tmp_path)
    elif name == "t5":  # embeddings under two names, of which the file has one
        sizes = {"d_model": 16, "d_kv": 4, "d_ff": 16, "num_layers": 1, "num_heads": 4, "vocab_size": 30}
        T5EncoderModel(T5Config(**sizes)).save_pretrained(tmp_path)
    elif name != "qwen":
        directory = tiny_backbone(name)
    expected = fingerprint_weights(load_network(AutoModel, str(directory)))
    half = Loading("bf16")
    network = load_network(AutoModel, str(directory), loading=half)
    assert next(network.parameters()).dtype == torch.bfloat16
    assert fingerprint_files(network, str(directory)) == expected
    monkeypatch.setattr("iaa_retrieval.models.backbone_fingerprint.fingerprint_files", lambda *_: None)
    assert fingerprint_loaded(network, str(directory), half) == expected  # files that say it otherwise


def test_other_weights_have_another_fingerprint(tiny_backbone: Backbone, tmp_path: Path) -> None:
    shutil.copytree(tiny_backbone("bert"), tmp_path, dirs_exist_ok=True)
    network = load_network(AutoModel, str(tmp_path), loading=Loading("bf16"))
    before = fingerprint_files(network, str(tmp_path))
    weights = load_file(tmp_path / "model.safetensors")
    weights["encoder.layer.1.output.dense.bias"][3] += 1e-6  # lost in bf16
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert fingerprint_files(network, str(tmp_path)) != before
    del weights["encoder.layer.1.output.dense.bias"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert fingerprint_files(network, str(tmp_path)) is None


@pytest.mark.parametrize("method", ("iaa-l", "lora", "full"))
@pytest.mark.parametrize("kind", ("bi-encoder", "cross-encoder"))
def test_a_frozen_backbone_comes_into_memory_in_half_precision(
    kind: str, method: str, tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    load = backbone_module.load_pretrained

    def note(auto_class: Any, name: str, **options: Any) -> Any:
        seen.extend([options["dtype"]] if "dtype" in options else [])
        return load(auto_class, name, **options)

    monkeypatch.setattr(backbone_module, "load_pretrained", note)
    sizes = {} if method == "full" else {"r": 2} if method == "lora" else {"r": 2, "ar": 2}
    made = tuned(tiny_backbone("bert"), "bf16", kind=kind, method=method, **sizes)
    assert seen == [torch.float32 if method == "full" else torch.bfloat16]
    dtypes = {parameter.requires_grad: set() for parameter in made.model.parameters()}
    for parameter in made.model.parameters():
        dtypes[parameter.requires_grad].add(parameter.dtype)
    assert dtypes[True] == {torch.float32}
    assert method == "full" or torch.bfloat16 in dtypes[False]
    plain = tuned(tiny_backbone("bert"), kind=kind, method=method, **sizes)
    assert made.model.config.backbone_fingerprint == plain.model.config.backbone_fingerprint
    assert made.trainable_parameters == plain.trainable_parameters


@pytest.mark.parametrize("method", ("iaa-l", "lora", "full"))
def test_checkpointing_changes_no_gradient(method: str, qwen: Path, tiny_backbone: Backbone) -> None:
    """On a decoder, where only some methods may be had, and on an encoder."""
    ids = torch.randint(5, 100, (3, 12), generator=torch.Generator().manual_seed(1))
    for backbone in (tiny_backbone("modernbert"), *([qwen] if method == "full" else [])):
        found = []
        for on in (False, True):
            torch.manual_seed(2)
            sizes = {} if method == "full" else {"r": 2} if method == "lora" else {"r": 2, "ar": 2}
            model = tuned(backbone, method=method, dropout=0.0, gradient_checkpointing=on, **sizes).model.train()
            with torch.no_grad():
                for parameter in model.parameters():
                    if parameter.requires_grad:
                        parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3))
            kept: list[int] = []
            with torch.autograd.graph.saved_tensors_hooks(lambda t, kept=kept: kept.append(t.nbytes) or t, lambda t: t):
                vectors = model.encode_queries(ids, torch.ones_like(ids))
            (vectors[0] @ vectors[1] + vectors[1] @ vectors[2]).backward()
            found.append(({n: p.grad for n, p in model.named_parameters() if p.requires_grad}, sum(kept)))
        (plain, much), (checkpointed, little) = found
        assert little < 0.5 * much
        for name, gradient in plain.items():
            if gradient is not None:
                torch.testing.assert_close(checkpointed[name], gradient, rtol=1e-4, atol=1e-6)


def test_checkpointing_that_transformers_lacks_is_refused(tiny_backbone: Backbone) -> None:
    with pytest.raises(UsageError, match=r"--gradient-checkpointing: transformers has none for .*mpnet.*--grad-cache"):
        tuned(tiny_backbone("mpnet"), gradient_checkpointing=True)


def test_attention_kernels_give_the_same_vectors(tiny_backbone: Backbone, trained_prefix: Path) -> None:
    ids = torch.randint(5, 100, (3, 12), generator=torch.Generator().manual_seed(1))
    for place in (tiny_backbone("bert"), trained_prefix):
        vectors = {}
        for name in ("eager", "sdpa"):
            model: Any = load_retriever(str(place), precision="fp32", device="cpu", attn_implementation=name)
            assert {network.config._attn_implementation for network in model.networks} == {name}
            vectors[name] = model(ids, torch.ones_like(ids))
        torch.testing.assert_close(vectors["eager"], vectors["sdpa"], rtol=1e-4, atol=1e-5)
    with pytest.raises(UsageError, match="needs a GPU"):
        load_retriever(str(trained_prefix), device="cpu", attn_implementation="flash_attention_2")
    with pytest.raises(UsageError, match="has a prefix before its keys, which takes eager or sdpa attention"):
        set_attention(model.network, "flash_attention_2", str(trained_prefix))


@pytest.fixture(scope="module")
def trained_prefix(tiny_backbone: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose training used another optimiser and checkpointing."""
    folder = tmp_path_factory.mktemp("prefix")
    train_retriever(
        asked(
            collection=str(write_collection(folder / "collection")),
            output=str(folder / "checkpoint"),
            backbone=str(tiny_backbone("distilbert")),
            method="prefix",
            prefix_length=3,
            max_steps=2,
            lr=0.05,
            batch_size=2,
            optimizer="adafactor",
            gradient_checkpointing=True,
            precision="fp32",
            device="cpu",
        )
    )
    return folder / "checkpoint"


def test_an_optimizer_by_name_is_used_and_recorded(trained_prefix: Path) -> None:
    assert json.loads((trained_prefix / "retriever.json").read_text())["training"]["optimizer"] == "adafactor"
    require_optimizer("adamw", "cpu")
    require_optimizer(None, "cpu")
    assert state_bytes(None, 10) == state_bytes("adamw", 10) == 80  # two moments in fp32
    assert state_bytes("paged_adamw_8bit", 10) == 20 and state_bytes("sgd", 10) == 0


def test_lora_on_all_projections(tiny_backbone: Backbone, caplog: pytest.LogCaptureFixture) -> None:
    """Ranks by hand: BERT of 32 has 2 x 64 numbers per rank at query and value, 4 x 64 + 2 x 96 at all six."""
    with caplog.at_level(logging.INFO, "iaa_retrieval"):
        some = tuned(tiny_backbone("bert"), method="lora", budget="40%")
        every = tuned(tiny_backbone("bert"), method="lora", budget="40%", targets="all")
    rank = some.dimensions["r"]
    assert every.dimensions["r"] == round(rank * 128 / 448)
    assert every.trainable_parameters["weights"] == 3 * 448 * every.dimensions["r"]
    assert some.trainable_parameters["weights"] == 3 * 128 * rank
    adapted = [name.split(".lora_A")[0] for name, _ in every.model.named_parameters() if ".lora_A" in name]
    names = {name.split("layer.")[-1][2:] for name in adapted}
    assert names == {
        *("attention.self.query", "attention.self.key", "attention.self.value"),
        *("attention.output.dense", "intermediate.dense", "output.dense"),
    }
    with pytest.raises(UsageError, match="--targets"):
        aimed_at(get_method("adapter"), "all")
    assert dataclasses.replace(get_method("lora"), targets="attention") == get_method("lora")  # type: ignore[type-var]
    headed = tuned(tiny_backbone("bert"), kind="cross-encoder", method="lora", r=3, targets="all")
    assert headed.trainable_parameters["weights"] == 3 * 448 * 3


def test_methods_on_layers_of_bitsandbytes(qwen: Path, tiny_backbone: Backbone) -> None:
    """On its CPU kernels, which show that adapters are in floating point and learn; --quantize itself wants CUDA."""
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed (pip install bitsandbytes)")
    ids = torch.randint(5, 100, (2, 8), generator=torch.Generator().manual_seed(1))
    for bits in ("4bit", "8bit"):
        for name in ("iaa-l", "lora", "adapter", "mam", "bitfit"):
            network = load_network(AutoModel, str(tiny_backbone("bert")), loading=Loading("bf16", quantize=bits))
            sizes = {d: 2 for d in get_method(name).dimension_names}
            adapted: Any = apply_method(network, name, sizes, task_type="FEATURE_EXTRACTION").train()
            assert {p.dtype for p in adapted.parameters() if p.requires_grad} == {torch.float32}
            with torch.autocast("cpu", torch.bfloat16):
                adapted(input_ids=ids, attention_mask=torch.ones_like(ids))[0].float().square().mean().backward()
            gradients = [p.grad for p in adapted.parameters() if p.requires_grad]
            assert any(g is not None and g.abs().sum() > 0 for g in gradients), (bits, name)
