"""Every method on every backbone: what PEFT and transformers promise of an adapter holds for ours."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModel, AutoModelForSequenceClassification
from tuning_models import (
    BACKBONES,
    MATRIX,
    MERGEABLE,
    PEFT_METHODS,
    WITH_PREFIX,
    Backbone,
    batch,
    close,
    load,
    randomise,
    sizes_of,
    states,
    tuned,
)

from iaa_retrieval.training.network_settings import store_frozen_weights
from iaa_retrieval.tuning.apply import apply_method, count_trainable, head_modules
from iaa_retrieval.tuning.merging import merge_into_backbone
from iaa_retrieval.tuning.methods import get_method

matrix = pytest.mark.parametrize(("method", "backbone"), MATRIX)


@matrix
def test_fresh_adapter_equals_the_backbone_bit_for_bit(method: str, backbone: str, tiny_backbone: Backbone):
    before = states(load(tiny_backbone(backbone)))
    model = apply_method(load(tiny_backbone(backbone)), method, sizes_of(method)).eval()
    same = torch.equal(states(model), before)
    assert same is (method not in WITH_PREFIX)  # a prefix takes attention from the start


@matrix
def test_disabled_equals_the_backbone_bit_for_bit(method: str, backbone: str, tiny_backbone: Backbone):
    before = states(load(tiny_backbone(backbone)))
    model = tuned(load(tiny_backbone(backbone)), method)
    after = states(model)
    assert not close(after, before, 1e-3)
    with model.disable_adapter():
        assert torch.equal(states(model), before)
    assert torch.equal(states(model), after)


@matrix
def test_reloaded_equals_trained_by_every_way_in(method: str, backbone: str, tiny_backbone: Backbone, tmp_path: Path):
    model = tuned(load(tiny_backbone(backbone)), method)
    trained = states(model)
    model.save_pretrained(tmp_path)
    assert torch.equal(states(PeftModel.from_pretrained(load(tiny_backbone(backbone)), tmp_path)), trained)
    injected = load(tiny_backbone(backbone))
    injected.load_adapter(str(tmp_path))
    assert torch.equal(states(injected), trained)
    assert torch.equal(states(AutoModel.from_pretrained(tmp_path)), trained)


@matrix
def test_gradients_reach_every_trained_parameter_and_no_other(method: str, backbone: str, tiny_backbone: Backbone):
    # GELU: four units may all be on the flat side of a ReLU.
    activation = {"activation": "gelu"} if "activation" in get_method(method).takes else {}
    model = tuned(load(tiny_backbone(backbone)), method, task_type="FEATURE_EXTRACTION", **activation)
    model.train()
    model(**batch()).last_hidden_state.square().sum().backward()
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert trained and gradients.keys() == trained
    for name, gradient in gradients.items():
        # Every key has the same bias, to which the softmax is blind.
        key_bias = method == "bitfit" and any(part in name for part in (".key.", ".k.", ".k_lin."))
        assert key_bias or gradient.abs().sum() > 0, name


@matrix
def test_trained_weights_are_what_the_registry_counts(method: str, backbone: str, tiny_backbone: Backbone):
    model = apply_method(load(tiny_backbone(backbone)), method, sizes_of(method))
    counts = count_trainable(model, method)
    assert sum(counts.values()) == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert counts["heads"] == 0
    if method != "bitfit":  # whose count depends on the width of the feed-forward block
        assert counts["weights"] == get_method(method).weight_count(32, 3, sizes_of(method))


@matrix
def test_unload_gives_the_bare_backbone_back(method: str, backbone: str, tiny_backbone: Backbone):
    bare = load(tiny_backbone(backbone))
    model = tuned(load(tiny_backbone(backbone)), method).unload()
    assert _anatomy(model) == _anatomy(bare)
    assert torch.equal(states(model), states(bare))


def _anatomy(model: torch.nn.Module) -> list[object]:
    """Names, classes, attributes and hooks of every module."""
    return [
        (name, type(m), sorted(vars(m)), type(vars(m).get("config")), [*m._forward_hooks, *m._forward_pre_hooks])
        for name, m in model.named_modules()
    ]


@matrix
def test_two_adapters_switch_and_delete(method: str, backbone: str, tiny_backbone: Backbone, tmp_path: Path):
    second = tuned(load(tiny_backbone(backbone)), method, seed=7)
    expected_second = states(second)
    second.save_pretrained(tmp_path)
    model = tuned(load(tiny_backbone(backbone)), method)
    expected_first = states(model)
    model.load_adapter(str(tmp_path), "second")
    assert torch.equal(states(model), expected_first)
    model.set_adapter("second")
    assert torch.equal(states(model), expected_second)
    model.set_adapter("default")
    assert torch.equal(states(model), expected_first)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained and all("default" in name for name in trained)
    model.delete_adapter("default")
    model.set_adapter("second")
    assert torch.equal(states(model), expected_second)
    assert not any("default" in name for name, _ in model.named_parameters())


@matrix
def test_copies_and_pickles_are_independent(method: str, backbone: str, tiny_backbone: Backbone):
    model = tuned(load(tiny_backbone(backbone)), method)
    expected = states(model)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(states(twin), expected)
        randomise(twin, 11)
        assert not close(states(twin), expected, 1e-3)
        assert torch.equal(states(model), expected)
        assert _anatomy(twin.unload()) == _anatomy(load(tiny_backbone(backbone)))


@matrix
def test_padding_does_not_change_the_result(method: str, backbone: str, tiny_backbone: Backbone):
    model = tuned(load(tiny_backbone(backbone)), method)
    padded = batch()
    alone = {name: values[1:, :6] for name, values in padded.items()}
    assert close(states(model, padded)[9:], states(model, alone))


@matrix
def test_sdpa_equals_eager_attention(method: str, backbone: str, tiny_backbone: Backbone):
    if backbone == "mpnet":
        pytest.skip("MPNet has its own attention only")
    sdpa, eager = (tuned(load(tiny_backbone(backbone), attention=a), method) for a in ("sdpa", "eager"))
    assert close(states(sdpa), states(eager))


@matrix
def test_gradient_checkpointing_gives_equal_gradients(method: str, backbone: str, tiny_backbone: Backbone):
    if backbone == "mpnet":
        pytest.skip("transformers' MPNet has no gradient checkpointing")
    plain, checkpointed = (_gradients(load(tiny_backbone(backbone)), method, on) for on in (False, True))
    assert plain.keys() == checkpointed.keys()
    assert all(close(plain[name], checkpointed[name]) for name in plain)


@matrix
def test_bf16_trains(method: str, backbone: str, tiny_backbone: Backbone):
    """Under autocast, with fp32 weights and with the frozen ones stored in bf16, gradients point as in fp32."""

    def gradient(frozen_in_bf16: bool, autocast: bool) -> torch.Tensor:
        model = tuned(load(tiny_backbone(backbone)), method, task_type="FEATURE_EXTRACTION")
        if frozen_in_bf16:
            store_frozen_weights(model, torch.bfloat16)
        before = states(model) if not frozen_in_bf16 else None
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = model(**batch()).last_hidden_state[:, 0, :8].float().square().sum()
        loss.backward()
        found = torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad])
        assert found.dtype == torch.float32
        optimizer.step()
        assert before is None or not torch.equal(states(model), before)
        return found

    expected = gradient(False, False)
    for frozen_in_bf16 in (False, True):
        found = gradient(frozen_in_bf16, True)
        assert found.isfinite().all()
        assert torch.nn.functional.cosine_similarity(found, expected, dim=0) > 0.9


def _gradients(model: torch.nn.Module, method: str, checkpointing: bool) -> dict[str, torch.Tensor]:
    model = tuned(model, method, task_type="FEATURE_EXTRACTION")
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    if checkpointing:
        model.gradient_checkpointing_enable()
        model.enable_input_require_grads()
    model.train()
    for _ in range(2):  # a second pass meets whatever the first left behind
        model.zero_grad()
        model(**batch()).last_hidden_state.square().sum().backward()
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


@matrix
def test_merge_equals_unmerged_or_is_refused(method: str, backbone: str, tiny_backbone: Backbone):
    model = tuned(load(tiny_backbone(backbone)), method)
    before = states(model)
    if method in MERGEABLE:
        assert close(states(model.merge_and_unload()), before)
        return
    for merge in (model.merge_and_unload, model.merge_adapter):
        with pytest.raises(NotImplementedError, match=method):
            merge()
    assert torch.equal(states(model), before)


@matrix
def test_recorded_hidden_states_are_those_of_the_tuned_model(method: str, backbone: str, tiny_backbone: Backbone):
    model = tuned(load(tiny_backbone(backbone)), method)
    plain = states(model)
    with torch.no_grad():
        output = model(**batch(), output_hidden_states=True)
    real = batch()["attention_mask"].bool()
    assert torch.equal(output.last_hidden_state[real], plain)
    assert len(output.hidden_states) == 4
    assert torch.equal(output.hidden_states[-1], output.last_hidden_state)


@matrix
def test_head_is_saved_and_reloaded(method: str, backbone: str, tiny_backbone: Backbone, tmp_path: Path):
    classifier = AutoModelForSequenceClassification
    model = tuned(load(tiny_backbone(backbone), classifier), method, task_type="SEQ_CLS")
    scores = states(model)
    model.save_pretrained(tmp_path)
    torch.manual_seed(99)  # a base whose head was drawn anew, as after a download of the encoder
    again = classifier.from_pretrained(tiny_backbone(backbone), num_labels=1).eval()
    assert close(states(PeftModel.from_pretrained(again, tmp_path)), scores)
    assert close(states(classifier.from_pretrained(tmp_path, num_labels=1)), scores)


@matrix
def test_a_classifier_is_merged_and_unloaded(method: str, backbone: str, tiny_backbone: Backbone):
    model = tuned(load(tiny_backbone(backbone), AutoModelForSequenceClassification), method, task_type="SEQ_CLS")
    scores = states(model)
    if method in MERGEABLE:
        assert close(states(merge_into_backbone(copy.deepcopy(model))), scores)
        assert close(states(copy.deepcopy(model).merge_and_unload()), scores)
    else:
        with pytest.raises(NotImplementedError, match=method):
            merge_into_backbone(copy.deepcopy(model))
    bare = load(tiny_backbone(backbone), AutoModelForSequenceClassification)
    unloaded = model.unload()
    assert [name for name, _ in unloaded.named_parameters()] == [name for name, _ in bare.named_parameters()]
    assert torch.equal(states(unloaded.base_model), states(bare.base_model))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_default_heads(backbone: str, tiny_backbone: Backbone):
    heads = {"distilbert": {"pre_classifier", "classifier"}, "modernbert": {"head", "classifier"}}
    heads["bert"] = {"classifier", "pooler"}
    model = load(tiny_backbone(backbone), AutoModelForSequenceClassification)
    assert set(head_modules(model)) == heads.get(backbone, {"classifier"})
    assert head_modules(load(tiny_backbone(backbone))) == []


@pytest.mark.parametrize("method", PEFT_METHODS)
def test_adapters_of_a_classifier_load_into_it_by_name(method: str, tiny_backbone: Backbone, tmp_path: Path):
    classifier = AutoModelForSequenceClassification
    model = tuned(load(tiny_backbone("bert"), classifier), method)
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert any("modules_to_save.default" in n and "classifier" in n for n in trained)
    assert any("modules_to_save.default" in n and "pooler" in n for n in trained)
    counts = count_trainable(model, method)
    assert counts["heads"] == (32 + 1) + (32 * 32 + 32)
