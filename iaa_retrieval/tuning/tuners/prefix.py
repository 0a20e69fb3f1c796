"""Prefix-tuning: trained key and value vectors in front of those of the tokens, in every attention.

Li and Liang 2021, without their re-parametrisation. Unlike in PEFT's own prefix-tuning, the positions of the
real tokens are not shifted, the maximum length stays what it was, and gradient checkpointing works.

With rotary positions the keys of a prefix stand where a text's first token stands, whichever side is padded; there a
rotation changes nothing.
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
PLACE = "prefix_place"  # what the pre-hook of an attention hands on to the attention function
CACHE_ARGUMENTS = ("cache", "past_key_values")  # what attentions of transformers call it, since 5.24 and before
ATTENTIONS = ("eager", "sdpa")  # flash kernels would count a prefix into windows and unpadded lengths


Place = tuple[Tensor, Tensor]  # cosines and sines of one rotary position per text, (batch or 1, 1, 1, head size) each


class PrefixPort(Port, TunerLayer):
    """The trained keys and values of one attention module, by adapter name: (length, heads times head size) each."""

    adapter_layer_names = ("iaa_key", "iaa_value")

    def __init__(self, heads: int, adapter_name: str, cache_argument: str | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.cache_argument = cache_argument
        self.iaa_key = nn.ParameterDict()
        self.iaa_value = nn.ParameterDict()
        self._start(adapter_name)

    def add_adapter(self, name: str, config: IAAConfig, width: int, like: Tensor) -> None:
        """Add the vectors of one adapter, drawn from N(0, 0.02), each as wide as the keys of all heads."""
        for vectors in (self.iaa_key, self.iaa_value):
            shape = (config.prefix_length, width)
            vectors[name] = nn.Parameter(torch.empty(shape, device=like.device, dtype=like.dtype))
            nn.init.normal_(vectors[name], std=INITIAL_STD)

    def extend(self, key: Tensor, value: Tensor, place: Place | None = None) -> tuple[Tensor, Tensor]:
        """Put the active prefixes before ``key`` and ``value``, each (batch, heads, tokens, head size).

        ``place`` is where each text begins, see ``first_place``.
        """
        for name in self.active_in(self.iaa_key):
            prefix = self._by_head(self.iaa_key[name], key)
            key = torch.cat([prefix if place is None else rotated(prefix, place), key], dim=2)
            value = torch.cat([self._by_head(self.iaa_value[name], value), value], dim=2)
        return key, value

    @property
    def length(self) -> int:
        """Of all active prefixes."""
        return sum(self.iaa_key[name].shape[0] for name in self.active_in(self.iaa_key))

    def extend_mask(self, mask: Tensor | None) -> Tensor | None:
        """Pad a boolean or additive mask over keys (last dimension), so that all see the active prefixes."""
        if mask is None:
            return None
        return nn.functional.pad(mask, (self.length, 0), value=1 if mask.dtype == torch.bool else 0)

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


def _place_hook(host: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Tell the attention function where each text begins, where the backbone has rotary positions."""
    positions = kwargs.get("position_embeddings")
    if positions is None:
        return None
    return args, {**kwargs, PLACE: first_place(positions, kwargs.get("attention_mask"))}


def first_place(positions: tuple[Tensor, Tensor], mask: Tensor | None) -> Place:
    """The rotary position of every text's first real token.

    Args:
        positions: cosines and sines, (batch or 1, tokens, head size) each.
        mask: boolean or additive, (batch, 1, tokens, tokens); in every kind a real token sees itself, and padding does
            not. None where nothing is padded.
    """
    if mask is None:
        cos, sin = (values[:, :1] for values in positions)
    else:
        diagonal = mask[:, 0].diagonal(dim1=-2, dim2=-1)
        real = diagonal if diagonal.dtype == torch.bool else diagonal == 0
        first = real.int().argmax(dim=-1)
        # ``shape`` and ``gather``, for ``len`` and indexing would fix the batch size in a traced graph (ONNX).
        texts, place = first.shape[0], first[:, None, None]
        cos, sin = (
            values.expand(texts, -1, -1).gather(1, place.expand(-1, 1, values.shape[-1])) for values in positions
        )
    return cos.unsqueeze(1), sin.unsqueeze(1)


def rotated(key: Tensor, place: Place) -> Tensor:
    """``key``, (batch, heads, length, head size), at a rotary position; the halves of a head make up the pairs."""
    left, right = key.chunk(2, dim=-1)
    return (key * place[0] + torch.cat([-right, left], dim=-1) * place[1]).to(key.dtype)


def _causal_mask(query: Tensor) -> Tensor:
    """What sdpa means by causality, as an additive mask (1, 1, tokens, tokens)."""
    tokens = query.shape[2]
    hidden = torch.full((tokens, tokens), torch.finfo(query.dtype).min, dtype=query.dtype, device=query.device)
    return hidden.triu(1)[None, None]


def _attend_with_prefix(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    prefix_place: Place | None = None,
    **kwargs: Any,
) -> Any:
    """The attention function that the backbone would have called, with the prefix put in front."""
    eager = sys.modules[type(module).__module__].eager_attention_forward  # type: ignore[attr-defined]
    attend = ALL_ATTENTION_FUNCTIONS.get_interface(module.config.original._attn_implementation, eager)
    port = module.get_submodule(PREFIX)
    if port.length:
        key, value = port.extend(key, value, prefix_place)
        causal = kwargs.get("is_causal")
        if attention_mask is None and (getattr(module, "is_causal", False) if causal is None else causal):
            attention_mask = _causal_mask(query)  # by itself sdpa would align more keys than queries at their start
        attention_mask = port.extend_mask(attention_mask)
        if kwargs.get("position_bias") is not None:  # T5's; prefix vectors have no position
            kwargs["position_bias"] = nn.functional.pad(kwargs["position_bias"], (port.length, 0))
    return attend(module, query, key, value, attention_mask, **kwargs)


_INTERFACE = "iaa_prefix"
AttentionInterface.register(_INTERFACE, _attend_with_prefix)


def install_prefix(attention: Any, route: str, heads: int, adapter_name: str) -> PrefixPort:
    """The prefix port of a self-attention module; made where there is none.

    Args:
        attention: the self-attention module.
        route: how the prefix gets in: "cache" (as past keys and values), "interface" (a custom attention
            function) or "subclass" (the module's class calls the port).
        heads: number of heads of keys and values.
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
            port.handles.append(attention.register_forward_pre_hook(_place_hook, with_kwargs=True))
        attention.add_module(PREFIX, port)
    return attention.get_submodule(PREFIX)  # type: ignore[no-any-return]


def remove_prefix(module: Any) -> None:
    """Undo ``install_prefix`` on ``module``."""
    if PREFIX in module._modules:
        module.get_submodule(PREFIX).remove_from(module, PREFIX)
    if isinstance(getattr(module, "config", None), _PrefixedConfig):
        module.config = module.config.original
