"""No method: a backbone as it is, which ``retriever.json`` and reports call "none"."""

from __future__ import annotations

from dataclasses import dataclass

from iaa_retrieval.tuning.methods.base import Method, Place
from iaa_retrieval.tuning.methods.scaling import Dimensions
from iaa_retrieval.tuning.methods.sizes import Sizes


@dataclass(frozen=True, kw_only=True)
class Untuned(Method):
    """Trains nothing; it is not in the registry, since nobody can choose it for training."""

    def count(self, sizes: Sizes, dimensions: Dimensions) -> int:
        """Zero."""
        return 0


UNTUNED = Untuned(
    name="none",
    title="Untuned",
    paper="",
    place=Place("nothing", "nothing", "-", "-", "-", "none", True),
    formula="the backbone",
    initialisation="the backbone's own weights",
    is_adapter=False,
)
