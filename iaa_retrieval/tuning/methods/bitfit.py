"""BitFit: every bias is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from iaa_retrieval.tuning.methods.base import IN_POOLER, Method, Place, Settings, Tuner
from iaa_retrieval.tuning.methods.registry import register
from iaa_retrieval.tuning.methods.scaling import Dimensions
from iaa_retrieval.tuning.methods.sizes import Sizes


@dataclass(frozen=True, kw_only=True)
class BitFit(Method):
    """A difference is added to every bias of the backbone. It has no dimension; a budget changes nothing."""

    def count(self, sizes: Sizes, dimensions: Dimensions) -> int:
        """The biases of the backbone; where their number is not known, those of a BERT of this size."""
        if sizes.biases is not None:
            return sizes.biases
        d = sizes.hidden_size
        return d + sizes.num_layers * (4 * d + 5 * d + 2 * d) + d

    def tuners(self) -> Sequence[Tuner]:
        """Its own; what it calls differences are biases, which do not decay."""
        from iaa_retrieval.tuning.tuners.bitfit import BitFitConfig, BitFitLayer, BitFitModel

        return (Tuner("BITFIT", BitFitConfig, BitFitModel, undecayed=BitFitLayer.adapter_layer_names),)

    def peft_config(self, model: Any, dimensions: Dimensions, settings: Settings) -> Any:
        """A ``BitFitConfig``, for one of the backbones that we know."""
        from iaa_retrieval.tuning.architectures import architecture_of
        from iaa_retrieval.tuning.tuners.bitfit import BitFitConfig

        architecture_of(model)
        return BitFitConfig(exclude_modules=IN_POOLER if settings.unused_pooler else None)


register(
    BitFit(
        name="bitfit",
        title="BitFit",
        paper="Ben Zaken et al., BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based Masked "
        "Language-models, ACL 2022",
        place=Place("bias differences", "every bias", "in place", "none", "addition to the bias", "none", True),
        formula="W x + (b + d), for every linear projection and layer normalisation",
        initialisation="d = 0",
    )
)
