"""The registry of losses: which names ``--loss`` and ``--distillation`` take, and what is called then.

A loss is a function of score tensors that returns the mean loss, a scalar. What it is given depends on its use:

- ``bi-encoder``: scores [batch, n] of each query against the passages of all queries of the batch (of every process),
  divided by the temperature; the column of each query's positive, int64 [batch]; and which passages are known to be
  relevant to it and must not count as negatives, bool [batch, n].
- ``cross-encoder``: scores [batch, 1 + negatives] of each query's own passages, the positive first.
- ``distillation``, for both kinds: these scores and the teacher's, [batch, 1 + negatives] both, the positive first.

A loss of this package stands in a module of its own, which :data:`MODULES` names. One from elsewhere is registered
before training starts, or by the module that an entry point of the group :data:`ENTRY_POINTS` names.

Light: no torch. A loss imports it where it computes, so that ``--help`` can list its name without.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, TypeVar

from iaa_retrieval.errors import UsageError

if TYPE_CHECKING:
    import torch

LOG = logging.getLogger("iaa_retrieval")

MODULES = ("contrastive", "localized_contrastive", "pairwise", "pointwise", "kl", "margin_mse")
ENTRY_POINTS = "iaa_retrieval.losses"

DISTILLATION = "distillation"
USES = ("bi-encoder", "cross-encoder", DISTILLATION)
# By use, what is taken when nobody names a loss.
DEFAULT_LOSSES = {"bi-encoder": "contrastive", "cross-encoder": "localized-contrastive", DISTILLATION: "kl"}

LossFunction = Callable[..., "torch.Tensor"]
F = TypeVar("F", bound=LossFunction)


@dataclass(frozen=True)
class Loss:
    """One loss.

    Attributes:
        name: what ``--loss`` (or ``--distillation``) and ``retriever.json`` call it.
        use: one of :data:`USES`, which says what ``function`` is given.
        function: score tensors to the mean loss, a scalar with a gradient.
        paper: citation.
    """

    name: str
    use: str
    function: LossFunction
    paper: str


_LOSSES: dict[tuple[str, str], Loss] = {}


def register_loss(name: str, use: str, paper: str) -> Callable[[F], F]:
    """Decorate a function to enter it in the registry.

    Args:
        name: what commands and checkpoints call it; two uses may have a loss of the same name.
        use: "bi-encoder", "cross-encoder" or "distillation".
        paper: citation.

    Returns:
        A decorator that leaves the function as it is.

    Raises:
        UsageError: there is a loss of that name and use already, or no such use.
    """
    if use not in USES:
        raise UsageError(f"loss {name!r} is for {use!r}; a loss is for one of {', '.join(USES)}")
    if (use, name) in _LOSSES:
        raise UsageError(f"there is a {use} loss {name!r} already; choose another name")

    def enter(function: F) -> F:
        _LOSSES[use, name] = Loss(name, use, function, paper)
        return function

    return enter


def loss_names(use: str) -> tuple[str, ...]:
    """The names of the losses for a use, our own first, in the order of their registration."""
    _load_all()
    return tuple(name for of_use, name in _LOSSES if of_use == use)


def get_loss(use: str, name: str) -> Loss:
    """The loss of that use and name.

    Raises:
        UsageError: there is none; the message lists those that there are.
    """
    names = loss_names(use)
    if name not in names:
        flag = "--distillation" if use == DISTILLATION else "--loss"
        raise UsageError(f"{flag} {name} is out of range; it must be one of {', '.join(names)}")
    return _LOSSES[use, name]


@cache
def _load_all() -> None:
    """Import every module that registers losses, once; one from elsewhere that cannot be imported is left out."""
    for module in MODULES:
        importlib.import_module(f"iaa_retrieval.training.losses.{module}")
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            entry.load()
        except Exception as error:  # whatever another package does wrong must not stop ours
            reason = " ".join(str(error).split()) or type(error).__name__
            LOG.warning("the losses of entry point %s (%s) are left out: %s", entry.name, entry.value, reason)
