"""What a head of a cross-encoder says about itself. Light: no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

Build = Callable[[int, int], "nn.Module"]
"""Hidden size d, and the id of the token between query and document, to a fresh head."""


@dataclass(frozen=True)
class Head:
    """How a cross-encoder makes a score of a pair's last hidden states.

    A head's module is called with fp32 or lower hidden states [batch, tokens, d] and, by position, token ids, attention
    mask and segment ids, int64 [batch, tokens] each (the last is None where the network has no segments). It gives fp32
    scores [batch]. It is trained and saved whole beside any method's adapter.

    Attributes:
        name: what ``--head`` and ``retriever.json`` call it.
        help: a phrase about it.
        build: makes the fresh module, and imports torch where it does, so that ``--help`` can list the name without.
            None is the head that transformers' sequence classifiers have.
        needs_separator: whether it tells query and document apart by the token between them, so that a pair cannot be
            one text made by a template.
        of_vocabulary: whether its score is the log-odds of two words, whose rows in a language model's output it takes.
    """

    name: str
    help: str
    build: Build | None
    needs_separator: bool = True
    of_vocabulary: bool = False
