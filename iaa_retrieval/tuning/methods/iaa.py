"""IAA: bottlenecks inside every layer, joined by aside modules around sub-layers, layers or the whole encoder."""

from __future__ import annotations

from dataclasses import dataclass

from iaa_retrieval.tuning.methods.base import Dimension, Place, R
from iaa_retrieval.tuning.methods.inserted import (
    BOTTLENECK_START,
    BOTTLENECK_TAKES,
    INSIDE_FORMULA,
    INSIDE_WORKSPACE,
    InsertedMethod,
    inside_weights,
)
from iaa_retrieval.tuning.methods.registry import register
from iaa_retrieval.tuning.methods.scaling import Anchors, Dimensions
from iaa_retrieval.tuning.methods.sizes import Sizes

PAPER = (
    "Ma et al., Scattered or Connected? An Optimized Parameter-efficient Tuning Approach for Information "
    "Retrieval, CIKM 2022"
)
AR = Dimension("ar", "Dimension of the aside modules")


@dataclass(frozen=True, kw_only=True)
class IAA(InsertedMethod):
    """Houlsby's bottlenecks, and one aside module around every sub-layer, every layer or the encoder."""

    def count(self, sizes: Sizes, dimensions: Dimensions) -> int:
        """The bottlenecks inside, and as many asides as there are places for them."""
        asides = {"sublayer": 2 * sizes.num_layers, "layer": sizes.num_layers, "model": 1}[self.parts["aside"]]
        inside = inside_weights(sizes, dimensions["r"])
        return inside + asides * 2 * sizes.hidden_size * dimensions["ar"]


def _register(letter: str, aside: str, place: Place, formula: str, anchors: Anchors) -> None:
    register(
        IAA(
            name=f"iaa-{letter}",
            title=f"IAA-{letter.upper()}",
            paper=PAPER,
            place=place,
            formula=formula,
            initialisation=BOTTLENECK_START,
            dimensions=(R, AR),
            anchors=anchors,
            takes=BOTTLENECK_TAKES,
            parts={"inside": True, "aside": aside},
        )
    )


_register(
    "s",
    "sublayer",
    Place(
        "bottlenecks",
        INSIDE_WORKSPACE,
        "sequential inside, parallel around every sub-layer",
        "output of the last projection; input of the sub-layer",
        "addition before the residual; addition to the sub-layer's output",
        "none",
        False,
    ),
    formula="a = LN(x + h + B_r(h)) + B_ar(x), h = Attn(x)\ny = LN(a + g + B_r(g)) + B_ar(a), g = FFN(a)",
    anchors=((0.005, {"r": 8, "ar": 8}), (0.067, {"r": 100, "ar": 100})),
)
_register(
    "l",
    "layer",
    Place(
        "bottlenecks",
        INSIDE_WORKSPACE + "; layers",
        "sequential inside, parallel around every layer",
        "output of the last projection; input of the layer",
        "addition before the residual; addition to the layer's output",
        "none",
        False,
    ),
    formula=INSIDE_FORMULA + "\nx' = y + B_ar(x), around every layer",
    anchors=((0.005, {"r": 12, "ar": 12}), (0.067, {"r": 50, "ar": 300})),
)
_register(
    "m",
    "model",
    Place(
        "bottlenecks",
        INSIDE_WORKSPACE + "; encoder",
        "sequential inside, parallel around the whole encoder",
        "output of the last projection; output of the embeddings",
        "addition before the residual; addition to the encoder's output",
        "none",
        False,
    ),
    formula=INSIDE_FORMULA + "\nEncoder(e) + B_ar(e), around the whole stack of layers, e the embeddings",
    # The paper prints ar = 960 at 6.7%, which is 7.6%; 360 is the dimension that gives its share.
    anchors=((0.005, {"r": 15, "ar": 24}), (0.067, {"r": 185, "ar": 360})),
)
