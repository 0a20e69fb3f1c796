"""Encoders that read a text from left to right, as decoders do: what is pooled where nobody says it."""

from __future__ import annotations

from typing import Any

from iaa_retrieval.models.architecture import reads_one_way
from iaa_retrieval.models.text_settings import TextSettings
from iaa_retrieval.models.tokenizer_setup import ending_of
from iaa_retrieval.notices import warn_once


def pooling_of(encoder: Any, settings: TextSettings, name: str) -> str:
    """What the settings say; of an encoder about which nothing is said and that reads one way, the last token.

    Its first token has seen nothing of the text, and its mean mostly the beginning.

    Args:
        encoder: gives one vector per token.
        settings: how it is meant to be used.
        name: what the user calls it.
    """
    if not (settings.pooling_is_guessed and reads_one_way(encoder)):
        return settings.pooling
    warn_once(
        f"{name} reads a text from left to right and does not say how it is pooled: its last token's vector is taken "
        "(--pooling sets another)"
    )
    return "last"


def warn_without_ending(tokenizer: Any, name: str) -> None:
    """Of an encoder that is pooled at its last token, say where that is the text's own."""
    if ending_of(tokenizer):
        return
    token = tokenizer.eos_token
    advice = f"; if it was trained with {token} after every text, say --append-eos" if token else ""
    warn_once(f"{name} is pooled at the last token of the text itself: its tokenizer puts none after it{advice}")
