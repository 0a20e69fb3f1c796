"""What the methods share whose parts this package's own IAA tuner inserts: bottlenecks and prefixes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from iaa_retrieval.tuning.methods.base import Dimension, Method, Settings, Tuner
from iaa_retrieval.tuning.methods.scaling import Dimensions
from iaa_retrieval.tuning.methods.sizes import Sizes

PREFIX_LENGTH = Dimension("prefix_length", "Key and value vectors per attention")

INSIDE_WORKSPACE = "attention and feed-forward sub-layers"
INSIDE_FORMULA = "a = LN(x + h + B_r(h)), h = Attn(x)\ny = LN(a + g + B_r(g)), g = FFN(a)"
PREFIX_FORMULA = "Attn(x) = softmax(Q [P_K; K]^T / sqrt(d_head)) [P_V; V] W_o, in every head"
BOTTLENECK_START = "W_down ~ N(0, 0.02); W_up = 0 and biases = 0, so a fresh one leaves the backbone bit-identical"
PREFIX_START = "P_K, P_V ~ N(0, 0.02); a fresh prefix already takes some attention"
BOTTLENECK_TAKES = ("scaling", "activation")


@dataclass(frozen=True, kw_only=True)
class InsertedMethod(Method):
    """A method of bottlenecks and prefixes.

    Attributes:
        parts: which of the tuner's parts it inserts: fields of ``IAAConfig`` besides the dimensions.
    """

    parts: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def tuners(self) -> Sequence[Tuner]:
        """The one tuner of all these methods; their counts leave the biases of bottlenecks out."""
        from iaa_retrieval.tuning.tuners.config import IAAConfig
        from iaa_retrieval.tuning.tuners.model import IAAModel

        return (Tuner("IAA", IAAConfig, IAAModel, extra_biases=True),)

    def peft_config(self, model: Any, dimensions: Dimensions, settings: Settings) -> Any:
        """An ``IAAConfig``, for one of the backbones that we know."""
        from iaa_retrieval.tuning.architectures import architecture_of
        from iaa_retrieval.tuning.tuners.config import IAAConfig

        architecture_of(model)
        return IAAConfig(
            **self.parts,
            r=dimensions.get("r"),
            aside_r=dimensions.get("ar"),
            prefix_length=dimensions.get("prefix_length", 0),
            dropout=settings.dropout,
            scaling=settings.scaling,
            activation=settings.activation,
        )


def inside_weights(sizes: Sizes, r: int) -> int:
    """Weights of the two inside bottlenecks of every layer."""
    return sizes.num_layers * 2 * 2 * sizes.hidden_size * r
