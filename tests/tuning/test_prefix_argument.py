"""Prefix-tuning hands its vectors over as a cache, whatever this version of transformers calls that argument."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from tuning_models import Backbone, load, sizes_of

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.tuning.apply import apply_method
from iaa_retrieval.tuning.tuners.prefix import cache_argument, install_prefix

HEADS, WIDTH = 2, 4


class Attention(nn.Module):
    """Takes its keys and values from the cache it is given, as those of BERT do, and returns the keys."""

    def attend(self, hidden_states: Tensor, cache: Any) -> Tensor:
        key = hidden_states.view(*hidden_states.shape[:2], HEADS, -1).transpose(1, 2)
        if cache is not None:
            key, _ = cache.update(key, key, 0)
        return key


class Before524(Attention):
    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, past_key_values: Any = None, **kwargs: Any
    ) -> Tensor:
        return self.attend(hidden_states, past_key_values)


class Since524(Attention):
    """There the old name is only taken where the new one is not given, which the caller always does."""

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, cache: Any = None, **kwargs: Any
    ) -> Tensor:
        if cache is not None:  # it passes this along as well
            update = cache.update
            cache = type("Cache", (), {"update": lambda _, k, v, layer: update(k, v, layer, kwargs=kwargs)})()
        return self.attend(hidden_states, cache)


class Unknown(Attention):
    def forward(self, hidden_states: Tensor, attention_mask: Tensor | None = None, memory: Any = None) -> Tensor:
        return self.attend(hidden_states, memory)


@pytest.mark.parametrize(("kind", "name"), [(Before524, "past_key_values"), (Since524, "cache")])
def test_the_prefix_gets_in_by_the_name_that_the_attention_has(kind: type[Attention], name: str) -> None:
    attention = kind()
    assert cache_argument(attention) == name
    port = install_prefix(attention, "cache", HEADS, "default")
    port.iaa_key["default"] = nn.Parameter(torch.ones(3, WIDTH))
    port.iaa_value["default"] = nn.Parameter(torch.ones(3, WIDTH))
    keys = attention(torch.zeros(1, 5, WIDTH), attention_mask=None, **{name: None})
    assert keys.shape == (1, HEADS, 3 + 5, WIDTH // HEADS)
    assert keys[:, :, :3].eq(1).all() and keys[:, :, 3:].eq(0).all()


def test_an_attention_without_a_known_name_is_refused_by_its_own() -> None:
    attention = Unknown()
    with pytest.raises(IaaRetrievalError, match="a prefix cannot be put into Unknown: its arguments are hidden"):
        install_prefix(attention, "cache", HEADS, "default")
    assert not attention._modules and not attention._forward_pre_hooks


@pytest.mark.parametrize("method", ["prefix", "mam"])
@pytest.mark.parametrize("backbone", ["bert", "roberta", "xlm-roberta", "electra"])
def test_an_unpadded_text_attends_to_the_prefix(method: str, backbone: str, tiny_backbone: Backbone) -> None:
    """Without padding there is no mask whose length could betray that the prefix got lost."""
    bare = load(tiny_backbone(backbone))
    ids = torch.tensor([[2, 7, 9, 3]])
    before = bare(input_ids=ids).last_hidden_state
    tuned = apply_method(bare, method, sizes_of(method)).eval()
    assert not torch.equal(tuned(input_ids=ids).last_hidden_state, before)
