"""From text to token ids, the same way in training and inference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from iaa_retrieval.errors import IaaRetrievalError

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
    suffix: str = "",
    on_cut: OnCut | None = None,
) -> list[list[int]]:
    """Token ids of each text (or pair of texts), special tokens included, cut to ``max_length``.

    Args:
        suffix: put after each text (no pairs then) to the letter; where a text is cut, it stays.

    Raises:
        IaaRetrievalError: the suffix leaves no room for a text.
    """
    if not texts:
        return []
    if suffix:
        return [encoding.ids for encoding in _fitted(tokenizer, texts, None, suffix, max_length, on_cut)]
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
    query_suffix: str = "",
    passage_suffix: str = "",
    on_query_cut: OnCut | None = None,
    on_passage_cut: OnCut | None = None,
) -> PairTokens:
    """Token ids of (query, passage) pairs; a long query is cut to ``query_max_length``, then the passage to fit.

    ``query_suffix`` and ``passage_suffix`` are put after the texts to the letter, and are never cut.

    Raises:
        IaaRetrievalError: a suffix leaves no room for a text.
    """
    if not pairs:
        return PairTokens([], [])
    query_limit = min(query_max_length, max_length // 2)
    cut = {query: cut_text(tokenizer, query, query_limit, query_suffix) for query in {query for query, _ in pairs}}
    if on_query_cut is not None:
        for position, (query, _) in enumerate(pairs):
            if len(cut[query]) < len(query):
                on_query_cut(position)
    queries, passages = [cut[query] + query_suffix for query, _ in pairs], [passage for _, passage in pairs]
    if passage_suffix:
        fitted = _fitted(tokenizer, passages, queries, passage_suffix, max_length, on_passage_cut)
        return PairTokens([encoding.ids for encoding in fitted], [encoding.type_ids for encoding in fitted])
    encoded = tokenizer(
        queries,
        passages,
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


def cut_text(tokenizer: Any, text: str, limit: int, suffix: str = "") -> str:
    """The longest start of ``text`` that takes, with ``suffix``, at most ``limit`` tokens without special ones."""
    if suffix:
        encode = partial(_encodings, tokenizer, suffix=suffix, add_special_tokens=False)
        return _fitting_start(lambda start: encode([start])[0], text, limit)
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    offsets = encoded["offset_mapping"]
    return text if len(offsets) <= limit else text[: offsets[limit - 1][1]]


def _encodings(
    tokenizer: Any, texts: Sequence[str], queries: Sequence[str] | None = None, *, suffix: str, **options: Any
) -> list[Any]:
    """The tokens of each text with ``suffix`` after it, however many, as the tokenizer's library has them.

    ``queries`` are first segments, before the texts.
    """
    ended = [text + suffix for text in texts]
    given = (ended,) if queries is None else (list(queries), ended)
    found: list[Any] = tokenizer(*given, verbose=False, **options).encodings
    return found


def _fitted(
    tokenizer: Any,
    texts: Sequence[str],
    queries: Sequence[str] | None,
    suffix: str,
    max_length: int,
    on_cut: OnCut | None,
) -> list[Any]:
    """What ``_encodings`` gives, where it is too long for the longest start of the text that fits."""
    encodings = _encodings(tokenizer, texts, queries, suffix=suffix)
    for position, encoding in enumerate(encodings):
        if len(encoding.ids) > max_length:
            before = None if queries is None else [queries[position]]

            def encode(start: str, before: Sequence[str] | None = before) -> Any:
                return _encodings(tokenizer, [start], before, suffix=suffix)[0]

            start = _fitting_start(encode, texts[position], max_length, 0 if queries is None else 1)
            encodings[position] = encode(start)
            if on_cut is not None:
                on_cut(position)
    return encodings


def _fitting_start(encode: Callable[[str], Any], text: str, limit: int, sequence: int = 0) -> str:
    """The longest start of ``text`` that ``encode`` makes at most ``limit`` tokens of.

    Where a text ends, its last tokens and those of what follows it may become others, so that it takes several steps.

    Args:
        encode: a start of the text to its tokens, with all that stands around it.
        sequence: which segment the text is in, from 0.

    Raises:
        IaaRetrievalError: what stands around it is too long by itself.
    """
    start = text
    while (excess := len((encoding := encode(start)).ids) - limit) > 0:
        if not start:
            raise IaaRetrievalError(
                f"what stands around a text takes {limit + excess} tokens, and {limit} are read; set a greater length"
            )
        places = zip(encoding.offsets, encoding.sequence_ids, strict=True)
        ends = [end for (_, end), found in places if found == sequence and end <= len(start)]
        shorter = start[: max(ends[: max(len(ends) - excess, 0)], default=0)]
        start = shorter if len(shorter) < len(start) else start[:-1]  # one character may take several tokens
    return start
