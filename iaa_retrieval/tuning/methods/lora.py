"""LoRA, by PEFT's own tuner, with a scaling that does not depend on the rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from iaa_retrieval.tuning.methods.base import Method, Place, R, Settings
from iaa_retrieval.tuning.methods.registry import register
from iaa_retrieval.tuning.methods.scaling import Dimensions
from iaa_retrieval.tuning.methods.sizes import Sizes


@dataclass(frozen=True, kw_only=True)
class Lora(Method):
    """A low-rank update of the query and value projections."""

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
        return LoraConfig(
            r=dimensions["r"],
            lora_alpha=2 * dimensions["r"] * settings.scaling,
            lora_dropout=settings.dropout,
            target_modules="|".join(in_layers(architecture, module) for module in architecture.lora_targets),
        )


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
