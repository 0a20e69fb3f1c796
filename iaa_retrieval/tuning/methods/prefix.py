"""Prefix-tuning: free key and value vectors in every attention."""

from __future__ import annotations

from dataclasses import dataclass

from iaa_retrieval.tuning.methods.base import Place
from iaa_retrieval.tuning.methods.inserted import PREFIX_FORMULA, PREFIX_LENGTH, PREFIX_START, InsertedMethod
from iaa_retrieval.tuning.methods.registry import register
from iaa_retrieval.tuning.methods.scaling import Dimensions
from iaa_retrieval.tuning.methods.sizes import Sizes


@dataclass(frozen=True, kw_only=True)
class Prefix(InsertedMethod):
    """Every attention also attends to vectors that are trained; the positions of the text stay as they are."""

    def count(self, sizes: Sizes, dimensions: Dimensions) -> int:
        """A key and a value vector for each position of the prefix, in every layer."""
        return sizes.num_layers * 2 * sizes.keys * dimensions["prefix_length"]


register(
    Prefix(
        name="prefix",
        title="Prefix-tuning",
        paper="Li and Liang, Prefix-Tuning: Optimizing Continuous Prompts for Generation, ACL 2021",
        place=Place(
            "key and value vectors",
            "attention of every layer",
            "parallel",
            "none (free vectors)",
            "concatenation to keys and values",
            "none",
            False,
        ),
        formula=PREFIX_FORMULA,
        initialisation=PREFIX_START,
        dimensions=(PREFIX_LENGTH,),
        anchors=((0.005, {"prefix_length": 32}), (0.036, {"prefix_length": 200})),
    )
)
