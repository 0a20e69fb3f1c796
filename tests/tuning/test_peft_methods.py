"""Any other PEFT method: every type of the installed PEFT trains and reloads, or is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification
from tuning_models import BACKBONES, Backbone, batch, close, load, randomise, states

from iaa_retrieval.errors import UsageError
from iaa_retrieval.tuning.apply import EMBEDDING_TASK, apply_method, count_trainable, head_modules
from iaa_retrieval.tuning.merging import merge_into_backbone
from iaa_retrieval.tuning.methods import find_method, peft_method
from iaa_retrieval.tuning.methods.peft_refusals import REFUSED_TYPES, supported_types

# What a type needs to fit a hidden size of 32; the others take their own defaults.
FITTING: dict[str, dict[str, Any]] = {
    "C3A": {"block_size": 16},
    "FOURIERFT": {"n_frequency": 50, "scaling": 1.0},
    "GRALORA": {"r": 8},
    "HIRA": {"r": 4},
    "LILY": {"r": 4},
    "MISS": {"r": 8},
    "OFT": {"oft_block_size": 8},
    "PEANUT": {"r": 4},
    "PSOFT": {"r": 8},
    "PVERA": {"r": 8},
    "RANDLORA": {"r": 4},
    "ROAD": {"group_size": 16},
    "SHIRA": {"r": 4},
    "TINYLORA": {"u": 8},
    "TRAINABLE_TOKENS": {"token_indices": list(range(5, 100))},
    "UNILORA": {"theta_d_length": 64},
    "VBLORA": {"vector_length": 16, "num_vectors": 20},
    "VERA": {"r": 8},
    "WAVEFT": {"n_frequency": 64},
}
CONFIGS = {name: {"peft_type": name, **FITTING.get(name, {})} for name in supported_types() if name != "IAA"} | {
    "IAA": {"peft_type": "IAA", "inside": True, "aside": "layer", "r": 4, "aside_r": 2},
    "DoRA": {"peft_type": "LORA", "use_dora": True},
    "rsLoRA": {"peft_type": "LORA", "use_rslora": True, "lora_alpha": 2, "init_lora_weights": "gaussian"},
    "every linear": {"peft_type": "LORA", "target_modules": "all-linear", "r": 2},
    "LoRA and biases": {"peft_type": "LORA", "bias": "all"},
    "LoRA and tokens": {"peft_type": "LORA", "trainable_token_indices": [5, 6]},
}
types = pytest.mark.parametrize("values", CONFIGS.values(), ids=CONFIGS)


def applied(model: Any, values: dict[str, Any]) -> Any:
    torch.manual_seed(5)
    heads = head_modules(model)
    task = {"modules_to_save": heads} if heads else {"task_type": EMBEDDING_TASK}
    return apply_method(model, peft_method(values), {}, **task)


def test_every_type_of_peft_is_decided_on():
    """A new PEFT brings new types, which must be tried before they are let in."""
    known = {peft_type.value for peft_type in PEFT_TYPE_TO_CONFIG_MAPPING}
    prompts = {"CARTRIDGE", "CPT", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "PROMPT_TUNING"}
    assert prompts | set(REFUSED_TYPES) <= known
    assert known - prompts - set(REFUSED_TYPES) == set(supported_types())
    assert len(supported_types()) == 35


@types
def test_embedding_model_trains_and_reloads(values: dict[str, Any], tiny_backbone: Backbone, tmp_path: Path):
    bare = states(load(tiny_backbone("bert")))
    model = applied(load(tiny_backbone("bert")), values).train()
    model(**batch()).last_hidden_state.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == (parameter.grad is not None), name
        assert parameter.grad is None or parameter.grad.isfinite().all(), name
    assert count_trainable(model, peft_method(values))["heads"] == 0

    randomise(model, 3)
    trained = states(model.eval())
    assert trained.isfinite().all()
    assert not close(trained, bare, 1e-4)
    if values.get("bias") != "all":
        with model.disable_adapter():
            assert torch.equal(states(model), bare)
    model.save_pretrained(tmp_path)
    reloaded = PeftModel.from_pretrained(load(tiny_backbone("bert")), tmp_path)
    assert torch.equal(states(reloaded), trained)
    if peft_method(values).loads_with_peft_model_only():
        with pytest.raises((ValueError, AssertionError)):
            assert close(states(AutoModel.from_pretrained(tmp_path)), trained)
    else:
        assert close(states(AutoModel.from_pretrained(tmp_path)), trained)
    # Encoders run in bf16 where the machine is good at it.
    assert states(reloaded.to(torch.bfloat16)).isfinite().all()


@types
def test_head_is_trained_saved_and_merged(values: dict[str, Any], tiny_backbone: Backbone, tmp_path: Path):
    classifier = AutoModelForSequenceClassification
    if values["peft_type"] == "TRAINABLE_TOKENS":
        with pytest.raises(UsageError, match="TRAINABLE_TOKENS cannot train a task head"):
            applied(load(tiny_backbone("bert"), classifier), values)
        return
    model = applied(load(tiny_backbone("bert"), classifier), values).eval()
    assert count_trainable(model, peft_method(values))["heads"] == (32 + 1) + (32 * 32 + 32)
    randomise(model, 3)
    scores = states(model)
    model.save_pretrained(tmp_path)
    torch.manual_seed(99)
    again = classifier.from_pretrained(tiny_backbone("bert"), num_labels=1).eval()
    assert close(states(PeftModel.from_pretrained(again, tmp_path)), scores)
    if values["peft_type"] in ("IAA", "LILY"):
        with pytest.raises(NotImplementedError):
            merge_into_backbone(model)
    else:
        merged = merge_into_backbone(model)
        assert not isinstance(merged, PeftModel)
        assert close(states(merged), scores, 1e-4)


PLACES = {
    "LORA": {"bert": 6, "roberta": 6, "xlm-roberta": 6, "electra": 6, "mpnet": 6, "distilbert": 6, "modernbert": 3},
    "IA3": {"bert": 9, "roberta": 9, "xlm-roberta": 9, "electra": 9, "mpnet": 9, "distilbert": 9, "modernbert": 6},
    "LN_TUNING": {
        "bert": 7,
        "roberta": 7,
        "xlm-roberta": 7,
        "electra": 7,
        "mpnet": 7,
        "distilbert": 7,
        "modernbert": 7,
    },
    "BEFT": {"bert": 3, "roberta": 3, "xlm-roberta": 3, "electra": 3, "mpnet": 3, "distilbert": 3},
}


@pytest.mark.parametrize(("name", "backbone"), [(name, backbone) for name in PLACES for backbone in PLACES[name]])
@pytest.mark.parametrize("auto", [AutoModel, AutoModelForSequenceClassification])
def test_where_an_adapter_goes(name: str, backbone: str, auto: Any, tiny_backbone: Backbone):
    model = applied(load(tiny_backbone(backbone), auto), {"peft_type": name})
    assert len(model.targeted_module_names) == PLACES[name][backbone]
    assert not any("pooler" in module or "classifier" in module for module in model.targeted_module_names)
    assert set(PLACES[name]) >= set(BACKBONES) - {"modernbert"}


@pytest.mark.parametrize(
    ("family", "values", "weights"),
    [
        # Three layers of width 32 (two in ALBERT), feed-forward blocks of 64; Qwen3 has queries of 48 and keys of 24.
        ("qwen3", {"peft_type": "IA3"}, 3 * (24 + 24 + 64)),
        ("qwen3", {"peft_type": "LN_TUNING"}, 3 * (2 * 32 + 2 * 12) + 32),
        ("qwen3", {"peft_type": "BEFT"}, 3 * 24),
        ("qwen3", {"peft_type": "LORA", "use_dora": True}, 3 * ((32 + 48) * 8 + 48 + (32 + 24) * 8 + 24)),
        ("gemma3_text", {"peft_type": "LN_TUNING"}, 3 * (4 * 32 + 2 * 12) + 32),
        ("albert", {"peft_type": "IA3"}, 2 * (32 + 32 + 64)),
        ("deberta-v2", {"peft_type": "LN_TUNING"}, 8 * 2 * 32),  # one more, of relative positions
        ("t5", {"peft_type": "IA3"}, 3 * (24 + 24 + 64)),
        ("nomic_bert", {"peft_type": "VERA"}, 3 * 2 * (32 + 256)),
    ],
)
def test_places_on_further_families(
    family: str, values: dict[str, Any], weights: int, tiny_backbone: Backbone, tmp_path: Path
):
    bare = load(tiny_backbone(family))
    model = applied(load(tiny_backbone(family)), values)
    assert count_trainable(model, peft_method(values)) == {"weights": weights, "biases": 0, "heads": 0}
    randomise(model, 3)
    trained = states(model.eval())
    assert not close(trained, states(bare), 1e-4)
    model.save_pretrained(tmp_path)
    assert torch.equal(states(PeftModel.from_pretrained(load(tiny_backbone(family)), tmp_path)), trained)


def test_exact_counts(tiny_backbone: Backbone):
    """Three layers of width 32, with a feed-forward block of 64."""
    expected = {
        "IA3": 3 * (32 + 32 + 64),  # keys, values, and what enters the output projection
        "LN_TUNING": 7 * 2 * 32,  # two normalisations a layer, one after the embeddings; weights and biases
        "BEFT": 3 * 32,
        "LORA": 3 * 2 * 2 * 32 * 8,
    }
    for name, weights in expected.items():
        model = applied(load(tiny_backbone("bert")), {"peft_type": name})
        counts = count_trainable(model, peft_method({"peft_type": name}))
        assert counts == {"weights": weights, "biases": 0, "heads": 0}


def test_the_biases_of_our_own_type_are_counted_apart(tiny_backbone: Backbone):
    """Two bottlenecks of dimension 4 in each of three layers of width 32, each with two biases."""
    values = {"peft_type": "IAA", "inside": True, "r": 4}
    counts = count_trainable(applied(load(tiny_backbone("bert")), values), peft_method(values))
    assert counts == {"weights": 3 * 2 * 2 * 32 * 4, "biases": 3 * 2 * (32 + 4), "heads": 0}


def test_target_modules_may_be_chosen(tiny_backbone: Backbone):
    model = applied(
        load(tiny_backbone("bert")), {"peft_type": "IA3", "target_modules": ["key"], "feedforward_modules": []}
    )
    assert len(model.targeted_module_names) == 3


def test_an_adapter_config_of_peft_is_understood(tiny_backbone: Backbone, tmp_path: Path):
    applied(load(tiny_backbone("bert")), {"peft_type": "IA3"}).save_pretrained(tmp_path)
    values = json.loads((tmp_path / "adapter_config.json").read_text())
    model = applied(load(tiny_backbone("bert")), values)
    assert count_trainable(model, peft_method(values))["weights"] == 3 * (32 + 32 + 64)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, r'JSON object with a "peft_type"'),
        ({"peft_type": 3}, r'JSON object with a "peft_type"'),
        ({"peft_type": "LORRA"}, r"unknown PEFT type 'LORRA'; known: LORA, ADALORA, .*VERA"),
        ({"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 8}, "virtual tokens .* use --method prefix"),
        ({"peft_type": "P_TUNING"}, "P_TUNING puts virtual tokens"),
        ({"peft_type": "PREFIX_TUNING"}, "PREFIX_TUNING puts virtual tokens"),
        ({"peft_type": "MULTITASK_PROMPT_TUNING"}, "virtual tokens"),
        ({"peft_type": "CPT"}, "virtual tokens"),
        ({"peft_type": "XLORA"}, "XLORA is not supported: it mixes adapters that are trained already"),
        ({"peft_type": "OSF"}, "OSF is not supported: it replaces the backbone's weights"),
        ({"peft_type": "POLY"}, "the id of a task"),
        ({"peft_type": "LORA", "rr": 4}, r"LORA has no field 'rr'; did you mean r\? known: .*lora_alpha.*"),
        ({"peft_type": "IA3", "r": 4}, "IA3 has no field 'r'; .*known: .*feedforward_modules"),
        ({"peft_type": "LORA", "eva_config": {"rho": 2}}, "eva_config of PEFT type LORA is not supported: it starts"),
        ({"peft_type": "LORA", "corda_config": {}, "init_lora_weights": "corda"}, "init_lora_weights 'corda'"),
        ({"peft_type": "LORA", "init_lora_weights": "loftq"}, "init_lora_weights 'loftq' is not supported"),
        ({"peft_type": "LORA", "init_lora_weights": "pissa"}, "init_lora_weights 'pissa' is not supported"),
        ({"peft_type": "LORA", "layer_replication": [[0, 2]]}, "it changes the depth of the backbone"),
        ({"peft_type": "LORA", "bias": "some", "r": -1}, "r"),
        ({"peft_type": "ADALORA", "total_step": 100}, "total_step .* which is filled in"),
        ({"peft_type": "ADALORA", "init_r": 4}, "init_r 4 must be above 8"),
        ({"peft_type": "ADALORA", "init_r": "12"}, "PEFT refuses this ADALORA configuration"),
        ({"peft_type": "ADALORA", "tinit": "soon"}, "PEFT refuses this ADALORA configuration"),
        ({"peft_type": "OFT", "r": 0, "oft_block_size": 0}, "PEFT refuses this OFT configuration: "),
        ({"peft_type": "IAA"}, "nothing to insert"),
    ],
)
def test_configurations_that_cannot_be_meant(values: dict[str, Any], message: str, tiny_backbone: Backbone):
    with pytest.raises(UsageError, match=message) as raised:
        peft_method(values).check_configuration()
        applied(load(tiny_backbone("bert")), values)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"peft_type": "C3A", "block_size": 7}, "PEFT cannot put this C3A adapter on a bert backbone: "),
        ({"peft_type": "LORA", "target_modules": ["nowhere"]}, "PEFT cannot put this LORA adapter .*nowhere"),
        ({"peft_type": "LORA", "r": "four"}, "PEFT cannot put this LORA adapter"),
    ],
)
def test_configurations_that_do_not_fit_the_backbone(values: dict[str, Any], message: str, tiny_backbone: Backbone):
    with pytest.raises(UsageError, match=message) as raised:
        applied(load(tiny_backbone("bert")), values)
    assert "\n" not in str(raised.value)


def test_a_configuration_that_changes_the_backbone_is_refused(tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch):
    """As PiSSA does; the check does not depend on its name."""
    monkeypatch.setattr("iaa_retrieval.tuning.methods.peft_refusals.LORA_STARTS", (True, "pissa", "olora"))
    for start in ("pissa", "olora"):
        with pytest.raises(UsageError, match="changes the backbone's own weights"):
            applied(load(tiny_backbone("bert")), {"peft_type": "LORA", "init_lora_weights": start})


def test_an_unknown_backbone_needs_target_modules():
    size = {
        "vocab_size": 30,
        "hidden_size": 8,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
    }
    model = AutoModel.from_config(AutoConfig.for_model("megatron-bert", **size))
    with pytest.raises(UsageError, match="not known for a 'megatron-bert' backbone; write target_modules"):
        applied(model, {"peft_type": "LORA"})
    applied(model, {"peft_type": "LORA", "target_modules": ["query"]})


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"peft_type": "IA3"}, "peft-ia3"),
        ({"peft_type": "ln_tuning"}, "peft-ln-tuning"),
        ({"peft_type": "LORA"}, "peft-lora"),
        ({"peft_type": "LORA", "use_dora": True}, "peft-dora"),
    ],
)
def test_names(values: dict[str, Any], name: str):
    method = peft_method(values)
    found = find_method(name)
    assert (method.name, found.name) == (name, name)
    assert type(method) is type(found)
    assert method.peft_type == found.peft_type == values["peft_type"].upper()


def test_the_names_of_our_own_methods_are_not_mistaken():
    assert not any(
        find_method(name).loads_with_peft_model_only() for name in ("lora", "iaa-l", "none", "peft-unheard-of")
    )
