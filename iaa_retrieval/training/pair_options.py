"""How a cross-encoder in training makes a score of a pair. Light: no torch."""

from __future__ import annotations

from dataclasses import dataclass

from iaa_retrieval.models.heads.registry import head_names
from iaa_retrieval.models.pair_template import (
    DEFAULT_INSTRUCTION,
    TEMPLATE_DEFAULT,
    TEMPLATE_HELP,
    TOKENS_DEFAULT,
    PairSettings,
)
from iaa_retrieval.options import Check, Checked, NamesOf, option
from iaa_retrieval.training.option_groups import CROSS_ENCODER
from iaa_retrieval.training.option_texts import described_heads


@dataclass(frozen=True, kw_only=True)
class PairOptions(Checked):
    """The head, and the text that it sees of a pair."""

    head: str | None = option(
        None,
        help=f"Token vectors of a pair to its score: {described_heads()}.",
        default_text="that of a cross-encoder that is tuned further, else last for a decoder, else pooler",
        type=NamesOf(head_names),
        variants=CROSS_ENCODER,
    )
    pair_template: str | None = option(
        None,
        help=f"Makes one text of a pair: {TEMPLATE_HELP}.",
        default_text=TEMPLATE_DEFAULT,
        metavar="NAME|TEXT",
        variants=CROSS_ENCODER,
    )
    pair_instruction: str | None = option(
        None,
        help="What the template has for {instruction}: what a document must be to be relevant.",
        default_text=f"{DEFAULT_INSTRUCTION!r} where it has one",
        variants=CROSS_ENCODER,
    )
    pair_tokens: tuple[str, str] | None = option(
        None,
        help="For --head yes-no: the two words, each one token, whose log-odds are the score.",
        default_text=TOKENS_DEFAULT,
        metavar="YES NO",
        check=Check(lambda words: len(words) == 2, "two words"),
        variants=CROSS_ENCODER,
    )

    @property
    def pair(self) -> PairSettings:
        """What is said about the way from a pair to its score."""
        tokens = None if self.pair_tokens is None else (self.pair_tokens[0], self.pair_tokens[1])
        return PairSettings(self.head, self.pair_template, self.pair_instruction, tokens)
