"""What a training loss says about itself, and what its function is given. Light: no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iaa_retrieval.errors import UsageError

if TYPE_CHECKING:
    import torch

DISTILLATION = "distillation"
KINDS = ("bi-encoder", "cross-encoder")  # of retrievers, as ``models.kinds`` has them, which needs torch
USES = (*KINDS, DISTILLATION)


@dataclass(frozen=True)
class Loss:
    """One loss: a function of score tensors that gives the mean loss, a scalar with a gradient.

    What it is given depends on its use:

    - ``bi-encoder``: scores [batch, n] of each query against the passages of all queries of the batch (of every
      process), divided by the temperature; the column of each query's positive, int64 [batch]; and which passages are
      known to be relevant to it and must not count as negatives, bool [batch, n].
    - ``cross-encoder``: scores [batch, 1 + negatives] of each query's own passages, the positive first.
    - ``distillation``, for both kinds: these scores and the teacher's, [batch, 1 + negatives] both, the positive first.

    Attributes:
        name: what ``--loss`` (or ``--distillation``) and ``retriever.json`` call it; no other loss has it.
        use: one of ``USES``.
        function: what is called. It imports torch where it computes, so that ``--help`` can list its name without.
        paper: citation.

    Raises:
        UsageError: there is no such use.
    """

    name: str
    use: str
    function: Callable[..., torch.Tensor]
    paper: str

    def __post_init__(self) -> None:
        if self.use not in USES:
            raise UsageError(f"loss {self.name!r} is for {self.use!r}; a loss is for one of {', '.join(USES)}")
