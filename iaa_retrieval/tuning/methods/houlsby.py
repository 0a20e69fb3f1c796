"""Houlsby's adapter: a bottleneck after both sub-layers."""

from __future__ import annotations

from dataclasses import dataclass

from iaa_retrieval.tuning.methods.base import Place, R
from iaa_retrieval.tuning.methods.inserted import (
    BOTTLENECK_START,
    BOTTLENECK_TAKES,
    INSIDE_FORMULA,
    INSIDE_WORKSPACE,
    InsertedMethod,
    inside_weights,
)
from iaa_retrieval.tuning.methods.registry import register
from iaa_retrieval.tuning.methods.scaling import Dimensions
from iaa_retrieval.tuning.methods.sizes import Sizes


@dataclass(frozen=True, kw_only=True)
class Houlsby(InsertedMethod):
    """Bottlenecks on the outputs of attention and feed-forward block, before the residual."""

    def count(self, sizes: Sizes, dimensions: Dimensions) -> int:
        """Two bottlenecks in every layer."""
        return inside_weights(sizes, dimensions["r"])


register(
    Houlsby(
        name="adapter",
        title="Adapter",
        paper="Houlsby et al., Parameter-Efficient Transfer Learning for NLP, ICML 2019",
        place=Place(
            "bottleneck",
            INSIDE_WORKSPACE,
            "sequential",
            "output of the sub-layer's last projection",
            "addition before the residual",
            "none",
            False,
        ),
        formula=INSIDE_FORMULA,
        initialisation=BOTTLENECK_START,
        dimensions=(R,),
        anchors=((0.005, {"r": 16}), (0.067, {"r": 200})),
        takes=BOTTLENECK_TAKES,
        parts={"inside": True},
    )
)
