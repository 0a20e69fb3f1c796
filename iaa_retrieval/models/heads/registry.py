"""The heads that there are: ours, those that a program registers, and those that installed packages bring.

A head of this package has its module in a file of its own and is listed here. A program calls ``register_head``
before it trains or loads. A package names a ``Head`` in its entry points::

    [project.entry-points."iaa_retrieval.heads"]
    maximum = "my_package.maximum:MAXIMUM"

Light: no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iaa_retrieval.models.heads.head import Build, Head
from iaa_retrieval.registry import Registry

if TYPE_CHECKING:
    from torch import nn

DEFAULT_HEAD, DECODER_HEAD, VOCABULARY_HEAD = "pooler", "last", "yes-no"


def _mean(width: int, separator: int) -> nn.Module:
    from iaa_retrieval.models.heads.mean import MeanHead

    return MeanHead(width)


def _segments(width: int, separator: int) -> nn.Module:
    from iaa_retrieval.models.heads.segments import SegmentsHead

    return SegmentsHead(separator)


def _last(width: int, separator: int) -> nn.Module:
    from iaa_retrieval.models.heads.last import LastTokenHead

    return LastTokenHead(width)


def _yes_no(width: int, separator: int) -> nn.Module:
    from iaa_retrieval.models.heads.token_odds import TokenOddsHead

    return TokenOddsHead(width)


HEADS: Registry[Head] = Registry("head", "iaa_retrieval.heads")
for _head in (
    Head(DEFAULT_HEAD, "transformers' classifier on the first token", None, needs_separator=False),
    Head("mean", "a linear layer on the mean of the tokens", _mean, needs_separator=False),
    Head("segments", "the cosine of the query's mean and the document's mean, scaled", _segments),
    Head(DECODER_HEAD, "a linear layer on the last token, for decoders", _last, needs_separator=False),
    Head(
        VOCABULARY_HEAD,
        "the log-odds of two words as a language model's answer, by default yes and no",
        _yes_no,
        needs_separator=False,
        of_vocabulary=True,
    ),
):
    HEADS.register(_head)


def register_head(name: str, help: str, build: Build) -> Head:
    """Add a head, which ``train cross-encoder --head`` takes by its name from then on.

    Args:
        name: what the command line and checkpoints call it.
        help: a phrase about it, for ``--help``.
        build: hidden size and the id of the token between query and document, to a module as ``Head`` describes it.

    Returns:
        The head as it was entered.

    Raises:
        ValueError: there is a head of that name already.
    """
    return HEADS.register(Head(name, help, build))


def head_names() -> tuple[str, ...]:
    """What ``--head`` takes, ours first, in the order of registration."""
    return HEADS.names()


def get_head(name: str) -> Head:
    """The head of that name.

    Raises:
        UsageError: there is none; the message lists those that there are.
    """
    return HEADS.get(name)
