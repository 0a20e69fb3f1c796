"""Two encoders on the same weights: gradients to both adapters and nothing else, and no weight held twice."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModel, AutoModelForSequenceClassification

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.models.bi_encoder import BiEncoder, load_bi_encoder
from iaa_retrieval.models.shared_backbone import SharedBackbone, share_weights, weights_untouched
from iaa_retrieval.tuning.apply import EMBEDDING_TASK, apply_method
from iaa_retrieval.tuning.methods import get_method, method_names

Backbone = Callable[[str], Path]
METHODS = tuple(name for name in method_names() if name != "full")
SIZES = {"r": 8, "ar": 8, "prefix_length": 5}


def bi_encoder_of(backbone: Path, method: str, separate: bool = True) -> BiEncoder:
    """A bi-encoder whose adapters are moved away from where they start, each to another place."""
    bi_encoder = load_bi_encoder(str(backbone), pooling="mean", normalize=True, precision="fp32", device="cpu")
    bare = [bi_encoder.encoder, *([share_weights(bi_encoder.encoder)] if separate else [])]
    sizes = {name: SIZES[name] for name in get_method(method).dimension_names}
    bi_encoder.encoder, *rest = (apply_method(network, method, sizes, task_type=EMBEDDING_TASK) for network in bare)
    bi_encoder.passage_encoder = rest[0] if rest else None
    torch.manual_seed(0)
    for parameter in trained(bi_encoder).values():
        parameter.data += 0.3 * torch.randn(parameter.shape)
    return bi_encoder.eval()


def trained(network: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    return {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}


def tokens(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(5, 100, (3, 8), generator=torch.Generator().manual_seed(seed))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    return ids, mask


def gradients(bi_encoder: BiEncoder) -> dict[str, torch.Tensor]:
    """Of all parameters that have one, after one step in which passages are encoded before queries."""
    bi_encoder.zero_grad()
    passages = bi_encoder.encode_passages(*tokens(1))
    queries = bi_encoder.encode_queries(*tokens(2))
    torch.nn.functional.cross_entropy(queries @ passages.T / 0.1, torch.arange(3)).backward()
    return {name: p.grad.clone() for name, p in bi_encoder.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("method", METHODS)
def test_gradients_reach_both_adapters_and_nothing_else(method: str, tiny_backbone: Backbone):
    bi_encoder = bi_encoder_of(tiny_backbone("bert"), method)
    found = gradients(bi_encoder)
    assert found.keys() == trained(bi_encoder).keys()
    assert all(gradient.abs().max() > 0 for name, gradient in found.items() if ".key." not in name)
    of_queries = {name.removeprefix("encoder.") for name in found if name.startswith("encoder.")}
    of_passages = {name.removeprefix("passage_encoder.") for name in found if name.startswith("passage_encoder.")}
    assert of_queries == of_passages and len(of_queries) + len(of_passages) == len(found)
    # Each adapter's gradient is what it is when the other text's vectors are constants.
    for encoder, own in (("encoder", 2), ("passage_encoder", 1)):
        with torch.no_grad():
            fixed = bi_encoder.encode_passages(*tokens(1)) if own == 2 else bi_encoder.encode_queries(*tokens(2))
        mine = bi_encoder.encode_queries(*tokens(2)) if own == 2 else bi_encoder.encode_passages(*tokens(1))
        scores = mine @ fixed.T if own == 2 else fixed @ mine.T
        parameters = trained(bi_encoder.get_submodule(encoder))
        loss = torch.nn.functional.cross_entropy(scores / 0.1, torch.arange(3))
        alone = dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True))
        for name, gradient in alone.items():
            torch.testing.assert_close(found[f"{encoder}.{name}"], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_gradient_checkpointing_recomputes_with_the_right_adapter(method: str, tiny_backbone: Backbone):
    bi_encoder = bi_encoder_of(tiny_backbone("bert"), method).train()
    for module in bi_encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    expected = gradients(bi_encoder)
    for network in bi_encoder.networks:
        network.get_base_model().activation_checkpointing_enable({"use_reentrant": False})  # type: ignore[operator]
        assert network.get_base_model().is_activation_checkpointing  # type: ignore[operator]
    found = gradients(bi_encoder)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("method", METHODS)
def test_equal_adapters_give_the_shared_encoders_bits(method: str, tiny_backbone: Backbone):
    separate = bi_encoder_of(tiny_backbone("bert"), method)
    shared = bi_encoder_of(tiny_backbone("bert"), method, separate=False)
    other = separate.encode_passages(*tokens(1))
    for network in separate.networks:
        for name, parameter in trained(network).items():
            parameter.data.copy_(trained(shared.encoder)[name])
    for encode in (separate.encode_queries, separate.encode_passages):
        assert torch.equal(encode(*tokens(1)), shared(*tokens(1)))
    assert torch.equal(shared.encode_queries(*tokens(1)), shared.encode_passages(*tokens(1)))
    assert not torch.allclose(separate.encode_passages(*tokens(1)), other, atol=1e-3)  # the adapters do matter


def test_separate_encoders_want_to_know_what_a_text_is(tiny_backbone: Backbone):
    with pytest.raises(TypeError, match="call encode_queries or encode_passages"):
        bi_encoder_of(tiny_backbone("bert"), "lora")(*tokens(1))


def frozen(network: Any) -> dict[str, torch.Tensor]:
    """The backbone's own weights by their names in the bare backbone."""
    return {
        name.replace(".base_layer", "").removeprefix("base_model.model."): parameter
        for name, parameter in network.named_parameters()
        if not any(part in name for part in ("lora_", "iaa_", "bitfit_", "modules_to_save"))
    }


@pytest.mark.parametrize("model_type", ("bert", "distilbert", "modernbert", "mpnet"))
def test_the_backbone_is_held_once_whatever_moves_it(model_type: str, tiny_backbone: Backbone):
    bi_encoder = bi_encoder_of(tiny_backbone(model_type), "iaa-l")
    for moved in (bi_encoder, bi_encoder.to(torch.bfloat16), copy.deepcopy(bi_encoder)):
        left, right = (frozen(network) for network in moved.networks)
        assert left.keys() == right.keys() and len(left) >= 20
        assert all(left[name].data_ptr() == right[name].data_ptr() for name in left)
    assert next(iter(left.values())).dtype == torch.bfloat16


def test_the_two_networks_have_configurations_of_their_own(tiny_backbone: Backbone):
    network = AutoModel.from_pretrained(tiny_backbone("bert"))
    other = share_weights(network)
    other.set_attn_implementation("eager")
    assert (network.config._attn_implementation, other.config._attn_implementation) == ("sdpa", "eager")


def test_an_adapter_that_changes_the_backbone_is_refused_and_undone(tiny_backbone: Backbone):
    network = AutoModel.from_pretrained(tiny_backbone("bert"))
    other = share_weights(network)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    pissa = LoraConfig(r=4, target_modules=["query"], init_lora_weights="pissa")
    message = r"runs/pissa starts by changing weights of the backbone \(enc.*query"
    with pytest.raises(IaaRetrievalError, match=message), weights_untouched(network, "runs/pissa"):
        get_peft_model(network, pissa)
    assert all(torch.equal(before[name], value) for name, value in other.state_dict().items())


@pytest.mark.parametrize(
    "model_type", ("bert", "roberta", "electra", "distilbert", "modernbert", "mpnet", "xlm-roberta")
)
def test_a_network_with_a_task_head_shares_the_backbone_too(model_type: str, tiny_backbone: Backbone):
    encoder = AutoModel.from_pretrained(tiny_backbone(model_type)).eval()
    shared = SharedBackbone(encoder, "tiny", "fingerprint")
    classifier = shared.network(AutoModelForSequenceClassification, num_labels=1)
    own, given = dict(classifier.base_model.named_parameters()), dict(encoder.named_parameters())
    assert all(own[name].data_ptr() == given[name].data_ptr() for name in own)
    assert {name for name in given if name not in own} <= {"pooler.dense.weight", "pooler.dense.bias"}
    # The rest is as transformers makes it: given the same head, the same scores.
    direct = AutoModelForSequenceClassification.from_pretrained(tiny_backbone(model_type), num_labels=1).eval()
    direct.load_state_dict(classifier.state_dict())
    ids, mask = tokens(1)
    with torch.no_grad():
        scores = classifier(input_ids=ids, attention_mask=mask).logits
        assert torch.equal(scores, direct(input_ids=ids, attention_mask=mask).logits)
    assert scores.shape == (3, 1)


def test_networks_on_the_backbone_share_storage_but_no_parameter(tiny_backbone: Backbone):
    encoder = AutoModel.from_pretrained(tiny_backbone("bert"))
    network = SharedBackbone(encoder, "tiny", "fingerprint").network(AutoModel)
    for name, parameter in network.named_parameters():
        original = encoder.get_parameter(name)
        assert parameter is not original and parameter.data_ptr() == original.data_ptr()
