"""Prefix-tuning: trained key and value vectors in front of those of the tokens, in every attention.

Li and Liang 2021, without their re-parametrisation. Unlike in PEFT's own prefix-tuning, the positions of the
real tokens are not shifted, the maximum length stays what it was, and gradient checkpointing works.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, AttentionInterface

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.tuning.tuners.config import INITIAL_STD, IAAConfig
from iaa_retrieval.tuning.tuners.tuner_layer import Port, TunerLayer, refuse_merge

PREFIX = "prefix_port"
CACHE_ARGUMENTS = ("cache", "past_key_values")  # what attentions of transformers call it, since 5.24 and before
ATTENTIONS = ("eager", "sdpa")  # flash kernels would count a prefix into windows and unpadded lengths


class PrefixPort(Port, TunerLayer):
    """The trained keys and values of one attention module, by adapter name: (length, hidden size) each."""

    adapter_layer_names = ("iaa_key", "iaa_value")

    def __init__(self, heads: int, adapter_name: str, cache_argument: str | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.cache_argument = cache_argument
        self.iaa_key = nn.ParameterDict()
        self.iaa_value = nn.ParameterDict()
        self._start(adapter_name)

    def add_adapter(self, name: str, config: IAAConfig, hidden_size: int, like: Tensor) -> None:
        """Add the vectors of one adapter, drawn from N(0, 0.02)."""
        for vectors in (self.iaa_key, self.iaa_value):
            shape = (config.prefix_length, hidden_size)
            vectors[name] = nn.Parameter(torch.empty(shape, device=like.device, dtype=like.dtype))
            nn.init.normal_(vectors[name], std=INITIAL_STD)

    def extend(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Put the active prefixes before ``key`` and ``value``, each (batch, heads, tokens, head size)."""
        for name in self.active_in(self.iaa_key):
            key = torch.cat([self._by_head(self.iaa_key[name], key), key], dim=2)
            value = torch.cat([self._by_head(self.iaa_value[name], value), value], dim=2)
        return key, value

    def extend_mask(self, mask: Tensor | None) -> Tensor | None:
        """Pad a boolean or additive mask over keys (last dimension), so that all see the active prefixes."""
        if mask is None:
            return None
        length = sum(self.iaa_key[name].shape[0] for name in self.active_in(self.iaa_key))
        return nn.functional.pad(mask, (length, 0), value=1 if mask.dtype == torch.bool else 0)

    def _by_head(self, vectors: Tensor, like: Tensor) -> Tensor:
        by_head = vectors.to(like.dtype).view(vectors.shape[0], self.heads, -1).transpose(0, 1)
        return by_head.expand(like.shape[0], -1, -1, -1)

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> NoReturn:
        """Refuse: a prefix has no place in the weights."""
        refuse_merge()


class _PrefixCache:
    """Stands in for transformers' ``Cache``, of which a self-attention only calls ``update``."""

    def __init__(self, port: PrefixPort) -> None:
        self.port = port

    def update(self, key: Tensor, value: Tensor, layer: int, **kwargs: Any) -> tuple[Tensor, Tensor]:
        return self.port.extend(key, value)


def _prefix_hook(host: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Hand the prefix over as if it were the cache of earlier tokens."""
    port: Any = host.get_submodule(PREFIX)
    mask = kwargs["attention_mask"] if "attention_mask" in kwargs else args[1]
    kwargs = {**kwargs, "attention_mask": port.extend_mask(mask), port.cache_argument: _PrefixCache(port)}
    return args[:1], kwargs


def cache_argument(attention: nn.Module) -> str:
    """What a self-attention module calls its argument for the keys and values of earlier tokens.

    Raises:
        IaaRetrievalError: it has none of the known names; a prefix given under another name would be ignored.
    """
    parameters = inspect.signature(attention.forward).parameters
    found = [name for name in CACHE_ARGUMENTS if name in parameters]
    if not found or "attention_mask" not in parameters:
        raise IaaRetrievalError(
            f"a prefix cannot be put into {type(attention).__name__}: its arguments are {', '.join(parameters)}, and "
            f"attention_mask with {' or '.join(CACHE_ARGUMENTS)} is needed; install a supported version of transformers"
        )
    return found[0]


class _PrefixedConfig:
    """A view of the model's configuration for one attention module: it names our attention function."""

    def __init__(self, config: Any) -> None:
        self.original = config

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "original":  # copy and pickle ask before there is an original
            raise AttributeError(name)
        return _INTERFACE if name == "_attn_implementation" else getattr(self.original, name)


def _attend_with_prefix(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> Any:
    """The attention function that the backbone would have called, with the prefix put in front."""
    eager = sys.modules[type(module).__module__].eager_attention_forward  # type: ignore[attr-defined]
    attend = ALL_ATTENTION_FUNCTIONS.get_interface(module.config.original._attn_implementation, eager)
    port = module.get_submodule(PREFIX)
    key, value = port.extend(key, value)
    return attend(module, query, key, value, port.extend_mask(attention_mask), **kwargs)


_INTERFACE = "iaa_prefix"
AttentionInterface.register(_INTERFACE, _attend_with_prefix)


def install_prefix(attention: Any, route: str, heads: int, adapter_name: str) -> PrefixPort:
    """The prefix port of a self-attention module; made where there is none.

    Args:
        attention: the self-attention module.
        route: how the prefix gets in: "cache" (as past keys and values), "interface" (a custom attention
            function) or "subclass" (the module's class calls the port).
        heads: number of attention heads.
        adapter_name: the adapter that is active in a new port.

    Raises:
        IaaRetrievalError: the module takes no cache by a name that is known.
    """
    if PREFIX not in attention._modules:
        port = PrefixPort(heads, adapter_name, cache_argument(attention) if route == "cache" else None)
        if route == "cache":
            port.handles.append(attention.register_forward_pre_hook(_prefix_hook, with_kwargs=True))
        elif route == "interface":
            attention.config = _PrefixedConfig(attention.config)
        attention.add_module(PREFIX, port)
    return attention.get_submodule(PREFIX)  # type: ignore[no-any-return]


def remove_prefix(module: Any) -> None:
    """Undo ``install_prefix`` on ``module``."""
    if PREFIX in module._modules:
        module.get_submodule(PREFIX).remove_from(module, PREFIX)
    if isinstance(getattr(module, "config", None), _PrefixedConfig):
        module.config = module.config.original
