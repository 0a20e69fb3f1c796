"""Training that ended in values that are no numbers: how it says so, and how another process reads it."""

from __future__ import annotations

from iaa_retrieval.errors import NotFiniteError

_MARK = "so no checkpoint was made; use a lower --lr"


def divergence(what: str) -> NotFiniteError:
    """The failure that a training ends with."""
    return NotFiniteError(f"{what}, {_MARK}, or --precision fp32")


def tells_of_divergence(message: str) -> bool:
    """Whether a message, such as the last line of a training's log, is that of a ``NotFiniteError``.

    That is the failure above, or that of the dev queries where the weights have become no numbers.
    """
    from iaa_retrieval.models.precision import NOT_FINITE_ADVICE

    return _MARK in message or NOT_FINITE_ADVICE in message
