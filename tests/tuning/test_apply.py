"""What ``apply_method`` trains, saves and refuses, beyond the matrix."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from peft import PeftModel, get_peft_model
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification
from tuning_models import Backbone, batch, close, load, sizes_of, states, tuned

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.tuning.apply import apply_method, count_trainable
from iaa_retrieval.tuning.architectures import get_architecture
from iaa_retrieval.tuning.tuners.config import IAAConfig
from iaa_retrieval.tuning.tuners.model import Insertions


def test_full_trains_everything_in_place(tiny_backbone: Backbone):
    model = load(tiny_backbone("bert")).requires_grad_(False)
    assert apply_method(model, "full", {}) is model
    assert count_trainable(model, "full") == {"weights": model.num_parameters(), "biases": 0, "heads": 0}


def test_full_counts_the_head_apart(tiny_backbone: Backbone):
    model = load(tiny_backbone("bert"), AutoModelForSequenceClassification)
    counts = count_trainable(apply_method(model, "full", {}), "full")
    assert counts == {"weights": model.base_model.num_parameters(), "biases": 0, "heads": 33}


@pytest.mark.parametrize("method", ["full", "bitfit"])
def test_an_embedding_model_leaves_its_unused_pooler_out(method: str, tiny_backbone: Backbone):
    model = apply_method(load(tiny_backbone("bert")), method, {}, task_type="FEATURE_EXTRACTION")
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert trained and not any("pooler" in name for name in trained)
    with_pooler = apply_method(load(tiny_backbone("bert")), method, {})
    assert any("pooler" in name for name, p in with_pooler.named_parameters() if p.requires_grad)


@pytest.mark.parametrize("method", ["bitfit", "lora", "iaa-l"])
def test_an_unsupported_backbone_is_named_with_those_supported(method: str):
    with torch.device("meta"):
        model = AutoModel.from_config(AutoConfig.for_model("big_bird"))
    with pytest.raises(UsageError, match=r"'big_bird' is not supported.*bert, roberta, .*modernbert"):
        apply_method(model, method, sizes_of(method))
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(
    ("model_type", "reason"), [("gemma3", "also reads images"), ("qwen3_moe", "experts"), ("deberta", "one projection")]
)
def test_a_kind_that_cannot_be_had_is_refused_with_the_reason(model_type: str, reason: str):
    with pytest.raises(UsageError, match=f"{model_type!r} is not supported .*: .*{reason}.*; supported: bert, "):
        get_architecture(model_type)


def test_bitfit_refuses_a_backbone_without_biases(tiny_backbone: Backbone):
    with pytest.raises(UsageError, match="this modernbert backbone has none"):
        apply_method(load(tiny_backbone("modernbert")), "bitfit", {})


def test_a_prefix_refuses_flash_attention():
    backbone = SimpleNamespace(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, model_type="bert")
    model = SimpleNamespace(config=backbone)
    config = IAAConfig(prefix_length=2)
    Insertions(config, model)
    backbone._attn_implementation = "flash_attention_2"
    with pytest.raises(UsageError, match="eager or sdpa attention, not 'flash_attention_2'"):
        Insertions(config, model)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "nothing to insert"),
        ({"inside": True}, "r must be 1 or more, got None"),
        ({"aside": "layer", "aside_r": 0}, "aside_r must be 1 or more, got 0"),
        ({"aside": "everywhere"}, "unknown aside 'everywhere'; choose one of none, sublayer"),
        ({"prefix_length": -1}, "prefix_length must be 0 or more"),
        ({"inside": True, "r": 4, "dropout": 1.0}, "dropout"),
        ({"inside": True, "r": 4, "activation": "squash"}, "unknown activation 'squash'; known: .*gelu"),
    ],
)
def test_configurations_that_cannot_be_meant(wrong: dict[str, object], message: str):
    with pytest.raises(UsageError, match=message):
        IAAConfig(**wrong)


def test_an_unknown_task_type_is_refused(tiny_backbone: Backbone):
    with pytest.raises(UsageError, match=r"'EMBED'; known: .*FEATURE_EXTRACTION"):
        apply_method(load(tiny_backbone("bert")), "lora", {"r": 4}, task_type="EMBED")


def test_the_saved_configuration_holds_what_was_chosen(tiny_backbone: Backbone, tmp_path: Path):
    model = apply_method(
        load(tiny_backbone("bert")), "iaa-m", {"r": 4, "ar": 3}, dropout=0.1, scaling=2.0, activation="gelu"
    )
    model.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "adapter_config.json").read_text())
    chosen = {
        "peft_type": "IAA",
        "inside": True,
        "aside": "model",
        "r": 4,
        "aside_r": 3,
        "prefix_length": 0,
        "parallel_ffn": False,
        "dropout": 0.1,
        "scaling": 2.0,
        "activation": "gelu",
        "base_model_name_or_path": str(tiny_backbone("bert")),
    }
    assert chosen.items() <= saved.items()


def test_dropout_acts_in_training_only(tiny_backbone: Backbone):
    model = tuned(load(tiny_backbone("bert")), "adapter", dropout=0.5)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    assert torch.equal(states(model), states(model))
    model.train()
    assert not close(states(model), states(model), 1e-3)


def test_adapters_of_two_shapes_live_in_one_model(tiny_backbone: Backbone, tmp_path: Path):
    expected = {}
    for method in ("iaa-s", "iaa-l", "iaa-m", "mam"):
        alone = tuned(load(tiny_backbone("distilbert")), method, seed=len(method))
        expected[method] = states(alone)
        alone.save_pretrained(tmp_path / method)
    bare = load(tiny_backbone("distilbert"))
    model = PeftModel.from_pretrained(bare, tmp_path / "iaa-s", adapter_name="iaa-s")
    for method in ("iaa-l", "iaa-m", "mam"):
        model.load_adapter(str(tmp_path / method), method)
    for method in ("iaa-m", "iaa-s", "mam", "iaa-l"):
        model.set_adapter(method)
        assert torch.equal(states(model), expected[method])
    assert torch.equal(states(model.unload()), states(load(tiny_backbone("distilbert"))))


def test_an_exclusion_is_honoured(tiny_backbone: Backbone):
    config = IAAConfig(inside=True, r=4, exclude_modules=["attention.output.dense"])
    model = get_peft_model(load(tiny_backbone("bert")), config)
    assert count_trainable(model, "iaa-l")["weights"] == 3 * 2 * 32 * 4


def test_a_half_precision_backbone_keeps_its_dtype(tiny_backbone: Backbone):
    model = tuned(load(tiny_backbone("bert")).bfloat16(), "iaa-l")
    assert model(**batch()).last_hidden_state.dtype == torch.bfloat16


def test_bitfit_merges_and_unmerges(tiny_backbone: Backbone):
    model = tuned(load(tiny_backbone("bert")), "bitfit")
    before = states(model)
    bare = states(load(tiny_backbone("bert")))
    model.merge_adapter()
    assert close(states(model), before)
    with model.disable_adapter():
        assert close(states(model), bare)
    assert close(states(model), before)


def test_bitfit_safe_merge_refuses_what_is_not_finite(tiny_backbone: Backbone):
    model = tuned(load(tiny_backbone("bert")), "bitfit")
    with torch.no_grad():
        model.base_model.model.encoder.layer[0].output.dense.bitfit_delta["default"][0] = float("inf")
    with pytest.raises(IaaRetrievalError, match="'default' is not finite"):
        model.merge_and_unload(safe_merge=True)


@pytest.mark.parametrize("method", ["bitfit", "lora", "iaa-l"])
def test_an_adapter_is_not_trained_beside_a_decoder(method: str, tiny_backbone: Backbone):
    whole = AutoModel.from_pretrained(tiny_backbone("t5"))
    with pytest.raises(UsageError, match="adapters go on the encoder of a t5 alone, and this network has its decoder"):
        apply_method(whole, method, sizes_of(method))
