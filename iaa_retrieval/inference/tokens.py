"""From text to token ids, the same way in training and inference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

OnCut = Callable[[int], None]
"""Told the position of every text that was longer than its limit."""


class PairTokens(NamedTuple):
    """Token ids and segment ids of query-passage pairs, unpadded."""

    input_ids: list[list[int]]
    token_type_ids: list[list[int]]


def with_lead(lead: str, texts: Sequence[str]) -> Sequence[str]:
    """Put ``lead`` (see ``RetrieverConfig.query_lead``) before each text, to the letter."""
    return [f"{lead}{text}" for text in texts] if lead else texts


def with_prefix(prefix: str, texts: Sequence[str]) -> Sequence[str]:
    """Put ``prefix`` and a space before each text, as Pyserini does; an empty prefix adds nothing."""
    return with_lead(f"{prefix} " if prefix else "", texts)


def tokenize_texts(
    tokenizer: Any,
    texts: Sequence[str],
    max_length: int,
    second_texts: Sequence[str] | None = None,
    *,
    on_cut: OnCut | None = None,
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
    _report_cuts(encoded, ids, max_length, on_cut)
    return ids


def tokenize_pairs(
    tokenizer: Any,
    pairs: Sequence[tuple[str, str]],
    *,
    max_length: int,
    query_max_length: int,
    on_query_cut: OnCut | None = None,
    on_passage_cut: OnCut | None = None,
) -> PairTokens:
    """Token ids of (query, passage) pairs; a long query is cut to ``query_max_length``, then the passage to fit."""
    if not pairs:
        return PairTokens([], [])
    query_limit = min(query_max_length, max_length // 2)
    cut = {query: cut_text(tokenizer, query, query_limit) for query in {query for query, _ in pairs}}
    if on_query_cut is not None:
        for position, (query, _) in enumerate(pairs):
            if len(cut[query]) < len(query):
                on_query_cut(position)
    encoded = tokenizer(
        [cut[query] for query, _ in pairs],
        [passage for _, passage in pairs],
        truncation="only_second",
        max_length=max_length,
        return_attention_mask=False,
        return_token_type_ids=True,
    )
    _report_cuts(encoded, encoded["input_ids"], max_length, on_passage_cut)
    return PairTokens(encoded["input_ids"], encoded["token_type_ids"])


def _report_cuts(encoded: Any, rows: Sequence[Sequence[int]], max_length: int, on_cut: OnCut | None) -> None:
    if on_cut is None:
        return
    for position, row in enumerate(rows):
        # Only a row of full length can have been cut; what was cut off lies beside it.
        if len(row) == max_length and encoded.encodings[position].overflowing:
            on_cut(position)


def cut_text(tokenizer: Any, text: str, limit: int) -> str:
    """The longest start of ``text`` that takes at most ``limit`` tokens without special ones."""
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    offsets = encoded["offset_mapping"]
    return text if len(offsets) <= limit else text[: offsets[limit - 1][1]]
