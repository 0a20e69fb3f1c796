"""Full fine-tuning: no adapter, the backbone itself is trained."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from iaa_retrieval.errors import UsageError
from iaa_retrieval.tuning.methods.base import Method, Place, Settings
from iaa_retrieval.tuning.methods.registry import register
from iaa_retrieval.tuning.methods.scaling import Dimensions
from iaa_retrieval.tuning.methods.sizes import Sizes


@dataclass(frozen=True, kw_only=True)
class Full(Method):
    """Every weight of the backbone is trained."""

    def count(self, sizes: Sizes, dimensions: Dimensions) -> int:
        """Those of a BERT of this size."""
        d = sizes.hidden_size
        embeddings = (30_522 + 512 + 2) * d + 2 * d
        layer = (4 * d * d + 4 * d) + (8 * d * d + 5 * d) + 4 * d
        return embeddings + sizes.num_layers * layer + d * d + d

    def dimensions_on(self, sizes: Sizes, budget: float, backbone_parameters: int) -> dict[str, int]:
        """None, for a budget of 100%; any other is refused."""
        if budget != 1.0:
            raise UsageError(f"method {self.name} trains 100%; leave the budget out, or choose another method")
        return {}

    def apply(self, model: Any, dimensions: Dimensions, settings: Settings) -> Any:
        """The model itself, with everything trainable that takes part in its result."""
        model.requires_grad_(True)
        if settings.unused_pooler:
            model.base_model.pooler.requires_grad_(False)
        return model


register(
    Full(
        name="full",
        title="Full fine-tuning",
        paper="Devlin et al., BERT: Pre-training of Deep Bidirectional Transformers, NAACL 2019",
        place=Place("nothing", "the whole backbone", "in place", "-", "-", "none", True),
        formula="every weight of the backbone is trained",
        initialisation="the backbone's own weights",
        learning_rates=MappingProxyType({"bi-encoder": 3e-5, "cross-encoder": 5e-5}),
        backbone_dropout=None,
        is_adapter=False,
    )
)
