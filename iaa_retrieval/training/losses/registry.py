"""The losses that there are: ours, those that a program registers, and those that installed packages bring.

A loss of this package stands in a module of its own and is listed here. A program calls ``register_loss`` before
it trains. A package names a ``Loss`` in its entry points::

    [project.entry-points."iaa_retrieval.losses"]
    hinge = "my_package.hinge:HINGE"

Light: no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from iaa_retrieval.errors import UsageError
from iaa_retrieval.registry import Registry
from iaa_retrieval.training.losses.contrastive import CONTRASTIVE
from iaa_retrieval.training.losses.kl import KL
from iaa_retrieval.training.losses.lambda_loss import LAMBDA
from iaa_retrieval.training.losses.listmle import LISTMLE
from iaa_retrieval.training.losses.localized_contrastive import LOCALIZED_CONTRASTIVE
from iaa_retrieval.training.losses.loss import DISTILLATION, Loss
from iaa_retrieval.training.losses.margin_mse import MARGIN_MSE
from iaa_retrieval.training.losses.pairwise import PAIRWISE
from iaa_retrieval.training.losses.pointwise import POINTWISE
from iaa_retrieval.training.losses.ranknet import RANKNET

if TYPE_CHECKING:
    import torch

# By use, what is taken when nobody names a loss.
DEFAULT_LOSSES = {loss.use: loss.name for loss in (CONTRASTIVE, LOCALIZED_CONTRASTIVE, KL)}

LOSSES: Registry[Loss] = Registry("loss", "iaa_retrieval.losses")
for _loss in (CONTRASTIVE, LOCALIZED_CONTRASTIVE, PAIRWISE, POINTWISE, LAMBDA, KL, MARGIN_MSE, RANKNET, LISTMLE):
    LOSSES.register(_loss)


def register_loss(name: str, use: str, function: Callable[..., torch.Tensor], paper: str) -> Loss:
    """Add a loss, which ``--loss`` of its kind (or ``--distillation``) takes by its name from then on.

    Args:
        name: what the command line and checkpoints call it.
        use: "bi-encoder", "cross-encoder" or "distillation", which says what ``function`` is given (see
            ``Loss``).
        function: score tensors, such as [batch, 1 + negatives] with the positive first, to the mean loss, a scalar.
        paper: citation.

    Returns:
        The loss as it was entered.

    Raises:
        UsageError: there is no such use.
        ValueError: there is a loss of that name already.
    """
    return LOSSES.register(Loss(name, use, function, paper))


def loss_names(use: str) -> tuple[str, ...]:
    """The names of the losses for a use, ours first, in the order of their registration."""
    return tuple(name for name in LOSSES.names() if LOSSES.get(name).use == use)


def get_loss(use: str, name: str) -> Loss:
    """The loss of that use and name.

    Raises:
        UsageError: there is none; the message lists those that there are.
    """
    names = loss_names(use)
    if name not in names:
        flag = "--distillation" if use == DISTILLATION else "--loss"
        raise UsageError(f"{flag} {name} is out of range; it must be one of {', '.join(names)}")
    return LOSSES.get(name)
