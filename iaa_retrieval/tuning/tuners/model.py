"""The PEFT tuner that puts bottlenecks and prefixes where an ``IAAConfig`` asks for them."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from torch import nn

from iaa_retrieval.errors import UsageError
from iaa_retrieval.tuning.architectures import Architecture, Tap, get_architecture, in_layers
from iaa_retrieval.tuning.methods.sizes import key_value_heads, sizes_of
from iaa_retrieval.tuning.tuners.between import (
    add_argument_to_input,
    add_argument_to_output,
    add_output_to_input,
    add_output_to_output,
    remove_branches,
)
from iaa_retrieval.tuning.tuners.bottleneck import Bottleneck, InsideBottleneck
from iaa_retrieval.tuning.tuners.config import IAAConfig
from iaa_retrieval.tuning.tuners.hooks import ASIDE, PARALLEL, install_aside, install_parallel, remove_ports
from iaa_retrieval.tuning.tuners.prefix import ATTENTIONS, install_prefix, remove_prefix
from iaa_retrieval.tuning.tuners.tuner_layer import Replacing, float_parameter, refuse_merge

# Puts one adapter's part on a module: (host, its name in the model, its parent, the adapter's name).
Insertion = Callable[[nn.Module, str, nn.Module, str], None]

_FIRST_ARGUMENT = Tap("", 0, "hidden_states")


class IAAModel(Replacing, BaseTuner):  # type: ignore[misc]
    """Inserts IAA, Houlsby, MAM and prefix adapters into an encoder; PEFT calls it, see ``tuning.apply``."""

    prefix = "iaa_"
    tuner_layer_cls = BaseTunerLayer
    target_module_mapping: ClassVar[dict[str, list[str]]] = {}

    def _prepare_adapter_config(self, config: IAAConfig, model_config: dict[str, Any]) -> IAAConfig:
        insertions = Insertions(config, self.model).by_pattern()
        self._insertions = [(re.compile(pattern), insert) for pattern, insert in insertions]
        config.target_modules = "|".join(f"(?:{pattern})" for pattern, _ in insertions)
        return config

    def _create_and_replace(
        self,
        config: IAAConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        **kwargs: Any,
    ) -> None:
        for pattern, insert in self._insertions:
            if pattern.fullmatch(current_key):
                insert(target, current_key, parent, adapter_name)

    def _unload_and_optionally_merge(self, merge: bool = True, **options: Any) -> nn.Module:
        if merge:
            refuse_merge()
        from iaa_retrieval.tuning.tuners.subclasses import swap_back

        for module in list(self.model.modules()):
            remove_branches(module)
            remove_ports(module)
            remove_prefix(module)
            swap_back(module)
        model: nn.Module = super()._unload_and_optionally_merge(merge=False, **options)
        return model


class Insertions:
    """What one configuration inserts into one model."""

    def __init__(self, config: IAAConfig, model: nn.Module) -> None:
        backbone: Any = model.config
        self.config = config
        self.model = model
        self.architecture: Architecture = get_architecture(getattr(backbone, "model_type", None))
        self.sizes = sizes_of(backbone)
        self.key_value_heads = key_value_heads(backbone)
        start, end = self.architecture.encoder_ends
        self.ends = (start, end.format(last=self.sizes.num_layers - 1))
        attention = getattr(backbone, "_attn_implementation", None)
        if config.prefix_length and attention not in (None, *ATTENTIONS):
            raise UsageError(
                f"a prefix works with {' or '.join(ATTENTIONS)} attention, not {attention!r}; "
                "load the backbone with attn_implementation='sdpa'"
            )

    def by_pattern(self) -> list[tuple[str, Insertion]]:
        """Regular expressions for modules' names, and what to do with a module of that name."""
        config, places = self.config, self.architecture
        found: list[tuple[str, Insertion]] = []
        if config.inside:
            for module in (places.attention_output, places.ffn_output):
                found.append((in_layers(places, module), self._inside))
        if config.parallel_ffn:
            found.append((in_layers(places, places.ffn.host or places.ffn.module), self._parallel))
        if config.prefix_length:
            found.append((in_layers(places, places.self_attention), self._prefix))
        if config.aside == "sublayer" and places.sublayers:
            for tap in places.sublayers:
                found.append((in_layers(places, tap.host or tap.module), partial(self._aside, tap)))
        elif config.aside == "sublayer":
            found.append((in_layers(places), self._asides_by_subclass))
        elif config.aside == "layer":
            found.append((in_layers(places), partial(self._aside, _FIRST_ARGUMENT)))
        elif config.aside == "model" and places.encoder is not None:
            found.append((rf"(?:.*\.)?{places.encoder}", partial(self._aside, _FIRST_ARGUMENT)))
        elif config.aside == "model":
            found.append((rf"(?:.*\.)?{re.escape(self.ends[1])}", self._aside_between_ends))
        return found

    def _inside(self, host: nn.Module, name: str, parent: nn.Module, adapter: str) -> None:
        if not isinstance(host, InsideBottleneck):
            host = InsideBottleneck(host, adapter)
            setattr(parent, name.rpartition(".")[2], host)
        self._fill(host, adapter, self.config.r, host)

    def _parallel(self, host: nn.Module, name: str, parent: nn.Module, adapter: str) -> None:
        tap = self.architecture.ffn
        if tap.host:
            port = add_argument_to_input(parent.get_submodule(tap.module), tap, host, PARALLEL, adapter)
        else:
            port = install_parallel(host, tap, self.architecture.ffn_by_residual, adapter)
        self._fill(port, adapter, self.config.r, host)

    def _aside(self, tap: Tap, host: nn.Module, name: str, parent: nn.Module, adapter: str) -> None:
        if tap.host:
            port = add_argument_to_output(parent.get_submodule(tap.module), tap, host, ASIDE, adapter)
        else:
            port = install_aside(host, tap, adapter)
        self._fill(port, adapter, self.config.aside_r, host)

    def _aside_between_ends(self, host: nn.Module, name: str, parent: nn.Module, adapter: str) -> None:
        start, end = self.ends
        first = self.model.get_submodule(name.removesuffix(end) + start)
        add = add_output_to_output if self.architecture.ends_inside else add_output_to_input
        self._fill(add(first, host, adapter), adapter, self.config.aside_r, host)

    def _asides_by_subclass(self, host: nn.Module, name: str, parent: nn.Module, adapter: str) -> None:
        from iaa_retrieval.tuning.tuners.subclasses import swap_for_asides

        for port in swap_for_asides(host, adapter):
            self._fill(port, adapter, self.config.aside_r, host)

    def _prefix(self, host: nn.Module, name: str, parent: nn.Module, adapter: str) -> None:
        if self.architecture.prefix_route == "subclass":
            from iaa_retrieval.tuning.tuners.subclasses import swap_for_prefix

            swap_for_prefix(host)
        port = install_prefix(host, self.architecture.prefix_route, self.key_value_heads, adapter)
        port.add_adapter(adapter, self.config, self.sizes.keys, float_parameter(host))

    def _fill(self, bottleneck: Bottleneck, adapter: str, r: int | None, host: nn.Module) -> None:
        if r is None:
            raise UsageError("the configuration asks for a bottleneck without a dimension; set r and aside_r")
        bottleneck.add_adapter(adapter, self.config, self.sizes.hidden_size, r, float_parameter(host))
