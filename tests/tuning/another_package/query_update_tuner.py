"""The tuner of the method of ``query_update.py``: configuration, layer and model, as in PEFT's small tuners."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from peft.config import PeftConfig
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer, check_adapters_to_merge
from torch import Tensor, nn

from iaa_retrieval.tuning.tuners.peft_types import peft_type


@dataclass
class QueryUpdateConfig(PeftConfig):
    rank: int = 1
    scaling: float = 1.0
    target_modules: Any = None
    exclude_modules: Any = None
    modules_to_save: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = peft_type("QUPDATE")


class QueryUpdateLayer(nn.Module, BaseTunerLayer):
    adapter_layer_names = ("qupdate_down", "qupdate_up")

    def __init__(self, base_layer: nn.Linear, adapter_name: str, config: QueryUpdateConfig) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.qupdate_down = nn.ParameterDict()
        self.qupdate_up = nn.ParameterDict()
        self.merged_adapters: list[str] = []
        self._active_adapter = adapter_name
        self._disable_adapters = False
        self.scaling = config.scaling
        self.qupdate_down[adapter_name] = nn.Parameter(torch.randn(config.rank, base_layer.in_features))
        self.qupdate_up[adapter_name] = nn.Parameter(torch.zeros(base_layer.out_features, config.rank))

    def update(self, name: str) -> Tensor:
        product: Tensor = self.scaling * self.qupdate_up[name] @ self.qupdate_down[name]
        return product

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.base_layer(x)
        if not self.disable_adapters and not self.merged:
            for name in self.active_adapters:
                y = y + x @ self.update(name).T.to(y.dtype)
        return y

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        for name in check_adapters_to_merge(self, adapter_names):
            self.base_layer.weight.data += self.update(name).data
            self.merged_adapters.append(name)


class QueryUpdateModel(BaseTuner):
    prefix = "qupdate_"
    tuner_layer_cls = QueryUpdateLayer
    target_module_mapping: ClassVar[dict[str, list[str]]] = {"bert": ["query"]}

    def _create_and_replace(
        self, config: Any, adapter_name: str, target: Any, target_name: str, parent: Any, current_key: str, **_: Any
    ) -> None:
        setattr(parent, target_name, QueryUpdateLayer(target, adapter_name, config))
