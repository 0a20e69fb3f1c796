"""How a re-ranker that is no checkpoint of ours scores a pair, where it does not say so itself. Light: no torch."""

from __future__ import annotations

from dataclasses import dataclass

from iaa_retrieval.models.heads.registry import DEFAULT_HEAD, VOCABULARY_HEAD
from iaa_retrieval.models.pair_template import (
    DEFAULT_INSTRUCTION,
    TEMPLATE_DEFAULT,
    TEMPLATE_HELP,
    TOKENS_DEFAULT,
    PairSettings,
)
from iaa_retrieval.options import Checked, one_of, option


@dataclass(frozen=True, kw_only=True)
class PlainRerankerOptions(Checked):
    """The head, and the text that it sees of a pair."""

    head: str | None = option(
        None,
        help=f"Of another's re-ranker that does not say it itself: {DEFAULT_HEAD} (a classifier's own) or "
        f"{VOCABULARY_HEAD} (the log-odds of two words as a language model's answer).",
        check=one_of(DEFAULT_HEAD, VOCABULARY_HEAD),
    )
    pair_template: str | None = option(
        None,
        help=f"Likewise, what makes one text of a pair: {TEMPLATE_HELP}.",
        default_text=TEMPLATE_DEFAULT,
        metavar="NAME|TEXT",
    )
    pair_instruction: str | None = option(
        None,
        help="Likewise, what the template has for {instruction}: what a document must be to be relevant.",
        default_text=f"{DEFAULT_INSTRUCTION!r} where it has one",
    )
    pair_tokens: tuple[str, str] | None = option(
        None,
        help=f"Likewise, for {VOCABULARY_HEAD}: the two words, each one token.",
        default_text=TOKENS_DEFAULT,
        metavar="YES NO",
    )

    @property
    def settings(self) -> PairSettings:
        """What is said."""
        return PairSettings(self.head, self.pair_template, self.pair_instruction, self.pair_tokens)
