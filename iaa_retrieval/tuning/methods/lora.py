"""LoRA, by PEFT's own tuner, with a scaling that does not depend on the rank."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from iaa_retrieval.errors import UsageError
from iaa_retrieval.tuning.methods.base import Method, Place, R, Settings
from iaa_retrieval.tuning.methods.registry import register
from iaa_retrieval.tuning.methods.scaling import Dimensions
from iaa_retrieval.tuning.methods.sizes import Sizes


@dataclass(frozen=True, kw_only=True)
class Lora(Method):
    """A low-rank update of the query and value projections, or of every linear projection in the layers.

    Attributes:
        targets: ``attention`` or ``all``.
    """

    targets: str = "attention"

    def spread(self, model: Any, dimensions: Dimensions) -> dict[str, int]:
        """The rank that trains as many weights at this method's targets as ``dimensions`` do at ``attention``'s.

        Args:
            model: the bare model, whose projections' real widths count.
            dimensions: of the update of the query and value projections.
        """
        one, other = (sum(_projections(model, targets).values()) for targets in ("attention", self.targets))
        return {"r": max(1, round(dimensions["r"] * one / other))}

    def count(self, sizes: Sizes, dimensions: Dimensions) -> int:
        """Two factors at each of two projections in every layer, as long as its input and its output are wide."""
        return sizes.num_layers * (2 * sizes.hidden_size + sizes.queries + sizes.keys) * dimensions["r"]

    def peft_config(self, model: Any, dimensions: Dimensions, settings: Settings) -> Any:
        """A ``peft.LoraConfig``, for one of the backbones that we know.

        ``lora_alpha`` is ``2 * r * scaling``, so that the update is ``2 * scaling * B A x`` at every rank and one
        learning rate fits all budgets.
        """
        from peft import LoraConfig

        from iaa_retrieval.tuning.architectures import architecture_of, in_layers

        architecture = architecture_of(model)
        modules: tuple[str, ...] = architecture.lora_targets
        if self.targets == "all":
            modules = tuple(sorted({name for _, name in _projections(model, self.targets)}))
        return LoraConfig(
            r=dimensions["r"],
            lora_alpha=2 * dimensions["r"] * settings.scaling,
            lora_dropout=settings.dropout,
            target_modules="|".join(in_layers(architecture, module) for module in modules),
        )


def aimed_at(method: Method, targets: str) -> Method:
    """The method on other projections.

    Raises:
        UsageError: it is not LoRA.
    """
    if not isinstance(method, Lora):
        raise UsageError(f"--targets says which projections LoRA updates, and method {method.name} has none to choose")
    return replace(method, targets=targets)


def _projections(model: Any, targets: str) -> dict[tuple[str, str], int]:
    """What one rank costs at each projection: the widths of its input and output, by its layer and name therein."""
    from torch import nn

    from iaa_retrieval.tuning.architectures import architecture_of, in_layers

    architecture = architecture_of(model)
    inside = re.compile(rf"({in_layers(architecture)})\.(.+)")
    found = {}
    for name, module in model.named_modules():
        match = inside.fullmatch(name)
        if match and isinstance(module, nn.Linear) and (targets == "all" or match[2] in architecture.lora_targets):
            found[match[1], match[2]] = module.in_features + module.out_features
    return found


register(
    Lora(
        name="lora",
        title="LoRA",
        paper="Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022",
        place=Place(
            "low-rank matrix product",
            "query and value projections",
            "parallel",
            "input of the projection",
            "scaled addition to the projection's output",
            "none",
            True,
        ),
        formula="W x + b + 2 s B A x, for the query and value projections; A is r x d, B is d x r",
        initialisation="A is Kaiming-uniform, B = 0, so a fresh update leaves the backbone bit-identical",
        dimensions=(R,),
        anchors=((0.005, {"r": 16}), (0.067, {"r": 200})),
        takes=("scaling",),
    )
)
