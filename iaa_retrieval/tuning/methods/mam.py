"""MAM adapter: a prefix, and a bottleneck parallel to the feed-forward block."""

from __future__ import annotations

from dataclasses import dataclass

from iaa_retrieval.tuning.methods.base import Place, R
from iaa_retrieval.tuning.methods.inserted import (
    BOTTLENECK_START,
    BOTTLENECK_TAKES,
    PREFIX_FORMULA,
    PREFIX_LENGTH,
    PREFIX_START,
    InsertedMethod,
)
from iaa_retrieval.tuning.methods.registry import register
from iaa_retrieval.tuning.methods.scaling import Dimensions
from iaa_retrieval.tuning.methods.sizes import Sizes


@dataclass(frozen=True, kw_only=True)
class MixAndMatch(InsertedMethod):
    """A prefix in every attention and a bottleneck beside every feed-forward block."""

    def count(self, sizes: Sizes, dimensions: Dimensions) -> int:
        """One prefix and one bottleneck in every layer."""
        bottleneck = 2 * sizes.hidden_size * dimensions["r"]
        return sizes.num_layers * (bottleneck + 2 * sizes.keys * dimensions["prefix_length"])


register(
    MixAndMatch(
        name="mam",
        title="MAM adapter",
        paper="He et al., Towards a Unified View of Parameter-Efficient Transfer Learning, ICLR 2022",
        place=Place(
            "key and value vectors; bottleneck",
            "attention; feed-forward sub-layer",
            "parallel",
            "none (free vectors); input of the feed-forward block",
            "concatenation to keys and values; scaled addition before the layer normalisation",
            "none",
            False,
        ),
        formula=PREFIX_FORMULA + "\ny = LN(a + FFN(a) + B_r(a))",
        initialisation=f"{BOTTLENECK_START}; {PREFIX_START}",
        dimensions=(R, PREFIX_LENGTH),
        anchors=((0.005, {"r": 16, "prefix_length": 16}), (0.067, {"r": 200, "prefix_length": 200})),
        takes=BOTTLENECK_TAKES,
        parts={"parallel_ffn": True},
    )
)
