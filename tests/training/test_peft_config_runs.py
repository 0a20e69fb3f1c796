"""PEFT's own methods, trained by ``train_retriever``; and what AdaLoRA needs of the loop."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from interruptions import Killed, kill_at_epoch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModel

from iaa_retrieval.errors import UsageError
from iaa_retrieval.models.bi_encoder import load_bi_encoder
from iaa_retrieval.models.cross_encoder import load_cross_encoder
from iaa_retrieval.training.options import TrainOptions
from iaa_retrieval.training.run import train_retriever
from iaa_retrieval.tuning.apply import EMBEDDING_TASK, apply_method
from iaa_retrieval.tuning.methods import peft_method
from iaa_retrieval.tuning.methods.adalora_schedule import AdaLoraCallback

Options = Callable[..., TrainOptions]

CONFIGS: dict[str, dict[str, Any]] = {
    "peft-dora": {"peft_type": "LORA", "use_dora": True, "r": 4},
    "peft-adalora": {"peft_type": "ADALORA", "init_r": 4, "target_r": 2},
    "peft-ia3": {"peft_type": "IA3"},
    "peft-oft": {"peft_type": "OFT", "oft_block_size": 8},
    "peft-boft": {"peft_type": "BOFT"},
    "peft-vera": {"peft_type": "VERA", "r": 8},
    "peft-ln-tuning": {"peft_type": "LN_TUNING"},
    "peft-hra": {"peft_type": "HRA"},
    "peft-loha": {"peft_type": "LOHA", "r": 2},
    "peft-lokr": {"peft_type": "LOKR", "r": 2},
}
BOTH_KINDS = ("peft-dora", "peft-adalora", "peft-ia3", "peft-vera", "peft-ln-tuning")
RUNS = [(name, "bi-encoder") for name in CONFIGS] + [(name, "cross-encoder") for name in BOTH_KINDS]


def pairs() -> dict[str, torch.Tensor]:
    ids = torch.randint(5, 100, (3, 9), generator=torch.Generator().manual_seed(3))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


@torch.no_grad()
def result_of(model: Any) -> torch.Tensor:
    output: torch.Tensor = model(**pairs())
    return output


@pytest.mark.parametrize(("name", "kind"), RUNS)
def test_a_run_and_its_checkpoint(
    name: str, kind: str, toy_options: Options, trained: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "iaa_retrieval")
    options = toy_options(kind, method=None, peft_config=CONFIGS[name], max_steps=2, lr=0.01)
    result = train_retriever(options)
    load = load_bi_encoder if kind == "bi-encoder" else load_cross_encoder
    reloaded = load(str(result.output), precision="fp32", device="cpu")
    assert (reloaded.config.method, reloaded.config.dimensions) == (name, {})
    assert reloaded.config.trainable_parameters == result.trainable_parameters
    assert (result.trainable_parameters["heads"] > 0) is (kind == "cross-encoder")
    torch.testing.assert_close(result_of(reloaded), result_of(trained[0]), rtol=1e-5, atol=1e-6)

    network = reloaded.encoder if kind == "bi-encoder" else reloaded.classifier
    assert isinstance(network, PeftModel)
    tuned = result_of(reloaded)
    with network.disable_adapter():  # without a head, that is the backbone
        if kind == "bi-encoder":
            bare = load_bi_encoder(
                options.tuning.backbone, pooling="mean", normalize=True, precision="fp32", device="cpu"
            )
            torch.testing.assert_close(result_of(reloaded), result_of(bare), rtol=0, atol=0)
            assert not torch.allclose(tuned, result_of(bare), atol=1e-5)

    printed = f"{result.trainable_parameters['weights']:,} weights ("
    assert f"{name} {kind} on {options.tuning.backbone} trains {printed}" in caplog.text
    card = (result.output / "README.md").read_text()
    alone = name in ("peft-dora", "peft-vera")
    assert ("Nothing else loads it" in card) is alone
    assert ("only peft.PeftModel and this package load" in caplog.text) is alone
    if not alone and kind == "bi-encoder":
        with torch.no_grad():
            injected, packaged = (
                encoder(**pairs()).last_hidden_state
                for encoder in (AutoModel.from_pretrained(result.output).eval(), network)
            )
        torch.testing.assert_close(injected, packaged, rtol=1e-5, atol=1e-5)


def test_two_adapters_of_a_peft_method(toy_options: Options) -> None:
    options = toy_options(method=None, peft_config=CONFIGS["peft-adalora"], max_steps=4, separate_encoders=True)
    result = train_retriever(options)
    query, passage = (load_file(result.output / role / "adapter_model.safetensors") for role in ("query", "passage"))
    assert query.keys() == passage.keys()
    assert not any(torch.equal(query[name], passage[name]) for name in query if "lora_A" in name)
    assert pruned(query) == pruned(passage) == 12


def test_in_bf16(toy_options: Options) -> None:
    for values in ({"peft_type": "LORA", "bias": "all"}, CONFIGS["peft-adalora"], CONFIGS["peft-ln-tuning"]):
        options = toy_options(
            name=f"out-{values['peft_type']}", method=None, peft_config=values, max_steps=3, precision="bf16"
        )
        weights = load_file(train_retriever(options).output / "adapter_model.safetensors")
        for name, tensor in weights.items():
            # PEFT saves every bias with bias="all", even that of the pooler, which is not trained.
            assert "pooler" in name or tensor.dtype == torch.float32, name
            assert tensor.isfinite().all()


def test_the_saved_configuration_holds_the_method(toy_options: Options) -> None:
    output = train_retriever(toy_options(method=None, peft_config=CONFIGS["peft-ia3"], max_steps=1)).output
    saved = yaml.safe_load((output / "train_config.yaml").read_text())
    assert saved["peft_config"] == {"peft_type": "IA3"}
    assert saved["method"] is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"peft_config": {"peft_type": "PROMPT_TUNING"}}, "virtual tokens"),
        ({"peft_config": {"peft_type": "IA3"}, "method": "lora"}, "leave out --method$"),
        ({"peft_config": {"peft_type": "IA3"}, "budget": "1%", "r": 3}, "leave out --budget, --r$"),
        ({"peft_config": {"peft_type": "IA3"}, "activation": "gelu"}, "leave out --activation$"),
        ({"peft_config": {}}, "peft_type"),
    ],
)
def test_wrong_usage_is_seen_before_anything_is_loaded(
    values: dict[str, Any], message: str, toy_options: Options
) -> None:
    with pytest.raises(UsageError, match=message):
        train_retriever(toy_options(**{"method": None, "backbone": "./nowhere", **values}))


def pruned(weights: dict[str, torch.Tensor]) -> int:
    """How many of the singular values are exactly zero."""
    return sum(int((tensor == 0).sum()) for name, tensor in weights.items() if "lora_E" in name)


def test_adalora_prunes_and_resumes_where_it_was(toy_options: Options) -> None:
    """Six targets of rank 4 are pruned to 12 ranks by step 5 of 9; the run is killed after steps 3 and 6."""
    values = {"method": None, "peft_config": {**CONFIGS["peft-adalora"], "tinit": 1, "tfinal": 4}, "epochs": 3.0}
    whole = load_file(train_retriever(toy_options(name="whole", **values)).output / "adapter_model.safetensors")
    assert pruned(whole) == 12
    for epoch in (1, 2):
        with pytest.MonkeyPatch.context() as patch:
            kill_at_epoch(patch, epoch)
            with pytest.raises(Killed):
                train_retriever(toy_options(name=f"killed-{epoch}", **values))
        resumed = train_retriever(toy_options(name=f"killed-{epoch}", resume=True, **values))
        found = load_file(resumed.output / "adapter_model.safetensors")
        assert whole.keys() == found.keys()
        assert all(torch.equal(whole[name], found[name]) for name in whole), epoch


def test_adalora_needs_room_for_its_schedule(toy_options: Options) -> None:
    config = {**CONFIGS["peft-adalora"], "tinit": 2, "tfinal": 1}
    with pytest.raises(UsageError, match=r"between tinit 2 and tfinal 1, and this run has 4 steps"):
        train_retriever(toy_options(method=None, peft_config=config, max_steps=4))


def test_adaloras_penalty_is_peft_s_own(toy: Any) -> None:
    """PEFT adds it to the loss of a model that returns one."""
    encoder = AutoModel.from_pretrained(toy.backbone)
    method = peft_method(CONFIGS["peft-adalora"])
    tuned: Any = apply_method(encoder, method, {}, task_type=EMBEDDING_TASK)
    tuner = tuned.base_model
    encoder.forward = lambda: SimpleNamespace(loss=torch.zeros(()))
    tuner().loss.backward()
    expected = {name: p.grad.clone() for name, p in tuned.named_parameters() if p.grad is not None}
    assert len(expected) == 12
    tuned.zero_grad()
    (callback,) = method.callbacks(tuned, 0)
    assert isinstance(callback, AdaLoraCallback)
    callback.on_pre_optimizer_step(None, None, None)
    found = {name: p.grad for name, p in tuned.named_parameters() if p.grad is not None}
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name])
