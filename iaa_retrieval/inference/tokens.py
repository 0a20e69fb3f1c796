"""From text to token ids, the same way in training and inference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class PairTokens(NamedTuple):
    """Token ids and segment ids of query-passage pairs, unpadded."""

    input_ids: list[list[int]]
    token_type_ids: list[list[int]]


def with_prefix(prefix: str, texts: Sequence[str]) -> Sequence[str]:
    """Put ``prefix`` and a space before each text, as Pyserini does; an empty prefix adds nothing."""
    return [f"{prefix} {text}" for text in texts] if prefix else texts


def tokenize_texts(
    tokenizer: Any, texts: Sequence[str], max_length: int, second_texts: Sequence[str] | None = None
) -> list[list[int]]:
    """Token ids of each text (or pair of texts), special tokens included, cut to ``max_length``."""
    if not texts:
        return []
    pair = (list(second_texts),) if second_texts is not None else ()
    encoded = tokenizer(
        list(texts),
        *pair,
        truncation=True,
        max_length=max_length,
        return_attention_mask=False,
        return_token_type_ids=False,
    )
    ids: list[list[int]] = encoded["input_ids"]
    return ids


def tokenize_pairs(
    tokenizer: Any, pairs: Sequence[tuple[str, str]], *, max_length: int, query_max_length: int
) -> PairTokens:
    """Token ids of (query, passage) pairs; a long query is cut to ``query_max_length``, then the passage to fit."""
    if not pairs:
        return PairTokens([], [])
    query_limit = min(query_max_length, max_length // 2)
    cut = {query: _cut(tokenizer, query, query_limit) for query in {query for query, _ in pairs}}
    encoded = tokenizer(
        [cut[query] for query, _ in pairs],
        [passage for _, passage in pairs],
        truncation="only_second",
        max_length=max_length,
        return_attention_mask=False,
        return_token_type_ids=True,
    )
    return PairTokens(encoded["input_ids"], encoded["token_type_ids"])


def _cut(tokenizer: Any, text: str, limit: int) -> str:
    """The longest start of ``text`` that takes at most ``limit`` tokens without special ones."""
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    offsets = encoded["offset_mapping"]
    return text if len(offsets) <= limit else text[: offsets[limit - 1][1]]
