"""Every method on the further families of encoders and on decoders: the properties of ``test_matrix.py``, many at once.

A family is one entry in ``tuning/architectures.py`` and one name in ``tuning_models.py``. Its tiny model has queries,
keys and states of different widths where its family lets them, and windows shorter than the texts.
"""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import nn
from transformers import AutoModelForSequenceClassification
from tuning_models import (
    DECODERS,
    ENCODERS,
    MERGEABLE,
    PEFT_METHODS,
    WITH_PREFIX,
    Backbone,
    batch,
    close,
    load,
    sizes_of,
    states,
    tuned,
)

from iaa_retrieval.errors import UsageError
from iaa_retrieval.training.network_settings import set_dropout, store_frozen_weights
from iaa_retrieval.tuning.apply import EMBEDDING_TASK, apply_method, count_trainable
from iaa_retrieval.tuning.merging import merge_into_backbone
from iaa_retrieval.tuning.methods import get_method
from iaa_retrieval.tuning.methods import sizes_of as backbone_sizes
from iaa_retrieval.tuning.tuners.bitfit import count_biases

WITH_BIASES = ("camembert", "albert", "deberta-v2", "nomic_bert", "gte", "qwen2")
FAMILIES = [
    (method, family)
    for family in (*ENCODERS, *DECODERS)
    for method in PEFT_METHODS
    if method != "bitfit" or family in WITH_BIASES
]
families = pytest.mark.parametrize(("method", "family"), FAMILIES)
OWN_ATTENTION = ("deberta-v2", "gemma2")  # no choice between eager and sdpa: disentangled, with capped scores
ABSOLUTE_POSITIONS = ("albert",)  # counted from the first place, padding or not


def alone(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The second, shorter text without padding."""
    return {name: values[1:, :6] for name, values in inputs.items()}


def padded_left(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same batch with the padding of its second text on the left."""
    return {name: torch.stack([values[0], values[1].roll(3)]) for name, values in inputs.items()}


@families
def test_what_an_adapter_promises(method: str, family: str, tiny_backbone: Backbone, tmp_path: Path):
    """Fresh and disabled equal the backbone, reloaded equals trained, and what is counted is what is there."""
    directory = tiny_backbone(family)
    bare = load(directory)
    before = states(bare)
    fresh = apply_method(load(directory), method, sizes_of(method)).eval()
    assert torch.equal(states(fresh), before) is (method not in WITH_PREFIX)
    counts = count_trainable(fresh, method)
    sizes = backbone_sizes(bare.config, count_biases(bare))
    assert counts["weights"] == get_method(method).weights_on(sizes, sizes_of(method))
    assert sum(counts.values()) == sum(p.numel() for p in fresh.parameters() if p.requires_grad)

    model = tuned(load(directory), method)
    after = states(model)
    assert not close(after, before, 1e-3)
    with model.disable_adapter():
        assert torch.equal(states(model), before)
    model.save_pretrained(tmp_path)
    assert torch.equal(states(PeftModel.from_pretrained(load(directory), tmp_path)), after)
    injected = load(directory)
    injected.load_adapter(str(tmp_path))
    assert torch.equal(states(injected), after)

    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(states(twin), after)
        assert _anatomy(twin.unload()) == _anatomy(bare)
    if method in MERGEABLE:
        assert close(states(merge_into_backbone(model)), after)
    else:
        with pytest.raises(NotImplementedError, match=method):
            model.merge_and_unload()


@pytest.mark.parametrize(("method", "family"), [*FAMILIES, ("mam", "modernbert")])
def test_a_text_has_one_result(method: str, family: str, tiny_backbone: Backbone, tmp_path: Path):
    """With padding on either side or none, with or without a mask, and by either attention."""
    directory = tiny_backbone(family)
    model = tuned(load(directory), method)
    padded = batch()
    text = alone(padded)
    expected = states(model, text)
    assert close(states(model, padded)[9:], expected)
    if family not in ABSOLUTE_POSITIONS:
        assert close(states(model, padded_left(padded))[9:], expected)
    with torch.no_grad():
        assert close(model(input_ids=text["input_ids"]).last_hidden_state[0], expected)
    if family in DECODERS and family != "embedding-gemma":
        cut = {name: values[:, :4] for name, values in text.items()}
        assert close(states(model, cut), expected[:4])  # a prefix that all see, and no token that is yet to come
    if family not in OWN_ATTENTION:
        assert model.config._attn_implementation == "sdpa"
        eager = tuned(load(directory, attention="eager"), method)
        assert eager.config._attn_implementation == "eager"
        assert close(states(eager, padded), states(model, padded))
        assert close(states(eager, text), expected)
    recorded = model(**padded, output_hidden_states=True)
    assert torch.equal(recorded.hidden_states[-1], recorded.last_hidden_state)


@families
def test_it_trains(method: str, family: str, tiny_backbone: Backbone):
    """Every trained parameter gets a gradient, the same with checkpointing, and nearly the same in bf16."""
    directory = tiny_backbone(family)
    plain = _gradients(load(directory), method)
    for name, gradient in plain.items():
        # Every key has the same bias, to which the softmax is blind.
        key_bias = method == "bitfit" and any(part in name for part in (".key", ".k_proj."))
        assert key_bias or gradient.abs().sum() > 0, name
    if load(directory).supports_gradient_checkpointing:
        checkpointed = _gradients(load(directory), method, checkpointing=True)
        assert plain.keys() == checkpointed.keys()
        assert all(close(plain[name], checkpointed[name]) for name in plain)
    in_bf16 = _gradients(load(directory), method, bf16=True)
    found, expected = (torch.cat([g.flatten() for g in gradients.values()]) for gradients in (in_bf16, plain))
    assert found.dtype == torch.float32 and found.isfinite().all()
    assert torch.nn.functional.cosine_similarity(found, expected, dim=0) > 0.9


def _gradients(model: Any, method: str, checkpointing: bool = False, bf16: bool = False) -> dict[str, torch.Tensor]:
    # GELU: four units may all be on the flat side of a ReLU.
    activation = {"activation": "gelu"} if "activation" in get_method(method).takes else {}
    model = tuned(model, method, task_type=EMBEDDING_TASK, **activation)
    set_dropout(model, 0.0)
    if checkpointing:
        model.gradient_checkpointing_enable()
        model.enable_input_require_grads()
    if bf16:
        store_frozen_weights(model, torch.bfloat16)
    model.train()
    for _ in range(1 + checkpointing):  # a second pass meets whatever the first left behind
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = model(**batch()).last_hidden_state[:, :, :8].float().square().sum()
        loss.backward()
    trained = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert all(gradient is not None for gradient in trained.values())
    return trained


def _anatomy(model: nn.Module) -> list[object]:
    return [
        (name, type(m), sorted(vars(m)), type(vars(m).get("config")), [*m._forward_hooks, *m._forward_pre_hooks])
        for name, m in model.named_modules()
    ]


@pytest.mark.parametrize("method", ["lora", "iaa-s", "iaa-m", "mam"])
@pytest.mark.parametrize("family", [f for f in (*ENCODERS, *DECODERS) if f not in ("t5", "mt5", "umt5")])
def test_a_score_head_is_saved_and_merged(method: str, family: str, tiny_backbone: Backbone, tmp_path: Path):
    classifier = AutoModelForSequenceClassification
    bare = load(tiny_backbone(family), classifier)
    bare.config.pad_token_id = 0
    model = tuned(bare, method, task_type="SEQ_CLS")
    scores = states(model)
    model.save_pretrained(tmp_path)
    torch.manual_seed(99)
    again = classifier.from_pretrained(tiny_backbone(family), num_labels=1).eval()  # with a head drawn anew
    assert close(states(PeftModel.from_pretrained(again, tmp_path)), scores)
    if method in MERGEABLE:
        assert close(states(merge_into_backbone(model)), scores)


@pytest.mark.parametrize("family", [f for f in (*ENCODERS, *DECODERS) if f not in WITH_BIASES])
def test_bitfit_is_refused_where_there_are_no_biases(family: str, tiny_backbone: Backbone):
    with pytest.raises(UsageError, match=r"bitfit trains biases, and this .* backbone has none"):
        apply_method(load(tiny_backbone(family)), "bitfit", {})
