"""BitFit: train every bias (Ben Zaken et al. 2022), as additive differences that merge into the backbone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from peft.config import PeftConfig
from peft.tuners import tuners_utils
from torch import Tensor, nn

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.tuning.tuners.config import EXCLUDE_HELP, SAVE_HELP, TARGETS_HELP
from iaa_retrieval.tuning.tuners.peft_types import BITFIT
from iaa_retrieval.tuning.tuners.tuner_layer import Replacing, TunerLayer


@dataclass
class BitFitConfig(PeftConfig):  # type: ignore[misc]
    """BitFit has no dimension: it trains the bias of every linear projection and layer normalisation."""

    target_modules: list[str] | str | None = field(default=None, metadata=TARGETS_HELP)
    exclude_modules: list[str] | str | None = field(default=None, metadata=EXCLUDE_HELP)
    modules_to_save: list[str] | None = field(default=None, metadata=SAVE_HELP)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = BITFIT


class BitFitLayer(nn.Module, TunerLayer):
    """A linear projection or layer normalisation whose bias is ``b + delta``, delta starting at zero."""

    adapter_layer_names = ("bitfit_delta",)

    def __init__(self, base_layer: nn.Module, adapter_name: str) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.bitfit_delta = nn.ParameterDict()
        self._start(adapter_name)

    def add_adapter(self, name: str) -> None:
        """Add the difference of one adapter."""
        self.bitfit_delta[name] = nn.Parameter(torch.zeros_like(self.wrapped().bias))

    def forward(self, x: Tensor) -> Tensor:
        if self.disable_adapters and self.merged_adapters:
            self.unmerge()
        y: Tensor = self.base_layer(x)
        if not self.merged_adapters:
            for name in self.active_in(self.bitfit_delta):
                y = y + self.bitfit_delta[name].to(y.dtype)
        return y

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Add the differences to the backbone's bias.

        Raises:
            IaaRetrievalError: ``safe_merge`` found a value that is not finite.
        """
        bias = self.wrapped().bias
        for name in tuners_utils.check_adapters_to_merge(self, adapter_names):
            if name in self.bitfit_delta:
                merged = bias.data + self.bitfit_delta[name].data.to(bias.dtype)
                if safe_merge and not torch.isfinite(merged).all():
                    raise IaaRetrievalError(f"adapter {name!r} is not finite; it was not merged")
                bias.data = merged
                self.merged_adapters.append(name)

    def unmerge(self) -> None:
        """Take the merged differences off again."""
        bias = self.wrapped().bias
        while self.merged_adapters:
            bias.data = bias.data - self.bitfit_delta[self.merged_adapters.pop()].data.to(bias.dtype)


class BitFitModel(Replacing, tuners_utils.BaseTuner):  # type: ignore[misc]
    """Puts a ``BitFitLayer`` around every module with a bias."""

    prefix = "bitfit_"
    tuner_layer_cls = BitFitLayer
    target_module_mapping: ClassVar[dict[str, list[str]]] = {}

    def _prepare_adapter_config(self, config: BitFitConfig, model_config: dict[str, Any]) -> BitFitConfig:
        config.target_modules = modules_with_bias(self.model)
        # PEFT itself leaves out what exclude_modules and modules_to_save name.
        if not any(tuners_utils.check_target_module_exists(config, name) for name in config.target_modules):
            raise UsageError(
                f"bitfit trains biases, and this {model_config.get('model_type')} backbone has none; "
                "choose another method"
            )
        return config

    def _create_and_replace(
        self,
        config: BitFitConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        **kwargs: Any,
    ) -> None:
        if not isinstance(target, BitFitLayer):
            target = BitFitLayer(target, adapter_name)
            setattr(parent, target_name, target)
        target.add_adapter(adapter_name)


def count_biases(model: nn.Module) -> int:
    """How many numbers BitFit trains in a bare backbone."""
    return sum(model.get_parameter(f"{name}.bias").numel() for name in modules_with_bias(model))


def modules_with_bias(model: nn.Module) -> list[str]:
    """Names, as in the bare backbone, of the linear projections and layer normalisations that have a bias."""
    return [
        name.removesuffix(".base_layer")
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, nn.LayerNorm)) and module.bias is not None
    ]
