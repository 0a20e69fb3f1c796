"""A tuning method as another package brings it: importing this module registers it, without torch or PEFT.

Its tuner is in ``query_update_tuner.py``, which is imported with PEFT, and what needs transformers' trainer is apart.
Nothing in iaa_retrieval knows either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from iaa_retrieval.tuning.methods import Dimension, Dimensions, Method, Place, Settings, Sizes, Tuner, register


@dataclass(frozen=True, kw_only=True)
class QueryUpdate(Method):
    """A low-rank update of every query projection."""

    def count(self, sizes: Sizes, dimensions: Dimensions) -> int:
        return sizes.num_layers * (sizes.hidden_size + sizes.queries) * dimensions["update_rank"]

    def tuners(self) -> Sequence[Tuner]:
        from query_update_tuner import QueryUpdateConfig, QueryUpdateModel

        return (Tuner("QUPDATE", QueryUpdateConfig, QueryUpdateModel, undecayed=("qupdate_up",)),)

    def peft_config(self, model: Any, dimensions: Dimensions, settings: Settings) -> Any:
        from query_update_tuner import QueryUpdateConfig

        return QueryUpdateConfig(rank=dimensions["update_rank"], scaling=settings.scaling)

    def callbacks(self, network: Any, index: int) -> Sequence[Any]:
        from query_update_callback import Steps

        network.steps = Steps(index)
        return (network.steps,)

    def extra_loss(self, network: Any) -> Any:
        """Holds the update down."""
        return sum(p.square().sum() for name, p in network.named_parameters() if "qupdate_up" in name)

    def after_training(self, network: Any) -> None:
        network.steps.events.append("after training")


METHOD = register(
    QueryUpdate(
        name="query-update",
        title="Query update",
        paper="Nobody, A Method for This Test, 2024",
        place=Place(
            "low-rank product", "query projections", "parallel", "its input", "addition to its output", "none", True
        ),
        formula="W x + b + s U D x, for the query projections",
        initialisation="D ~ N(0, 1), U = 0",
        dimensions=(Dimension("update_rank", "Rank of the update"),),
        takes=("scaling",),
        learning_rates={"bi-encoder": 0.2, "cross-encoder": 0.3},
    )
)
