"""Token ids of pairs that a template makes one text of; what is too long loses tokens of the document alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from iaa_retrieval.models.pair_template import PairTemplate


@dataclass(frozen=True)
class TemplateRow:
    """The token ids of one pair, and which of them are the document's alone: those from ``start`` to before ``end``."""

    ids: list[int]
    start: int
    end: int

    def cut(self, max_length: int) -> list[int]:
        """At most ``max_length`` ids: tokens at the document's end are left out, all of its template is kept."""
        over = max(0, len(self.ids) - max_length)
        kept = max(self.start, self.end - over)
        return self.ids[:kept] + self.ids[self.end :]


def template_rows(
    tokenizer: Any, template: PairTemplate, pairs: Sequence[tuple[str, str]], *, open_end: bool
) -> list[TemplateRow]:
    """Pairs as token ids, uncut, with the special tokens that the tokenizer puts around a text.

    Args:
        tokenizer: a fast one.
        template: makes a text of each pair.
        pairs: queries and documents.
        open_end: whether the text shall end where it does, for an answer to follow: without what the tokenizer
            appends, such as an end-of-text token. A token that it puts first is left out where the text begins with it.
    """
    if not pairs:
        return []
    filled = [template.fill(query, document) for query, document in pairs]
    encoded = tokenizer(
        [pair.text for pair in filled], truncation=False, return_attention_mask=False, return_token_type_ids=False
    )
    rows = []
    for pair, encoding in zip(filled, encoded.encodings, strict=True):
        ids, offsets, added = list(encoding.ids), list(encoding.offsets), list(encoding.special_tokens_mask)
        while open_end and added and added[-1]:
            del ids[-1], offsets[-1], added[-1]
        if len(ids) > 1 and added[0] and not added[1] and ids[0] == ids[1]:
            del ids[0], offsets[0], added[0]
        inside = [
            place
            for place, (start, end) in enumerate(offsets)
            if not added[place] and pair.start <= start < end <= pair.end
        ]
        rows.append(TemplateRow(ids, inside[0] if inside else 0, inside[-1] + 1 if inside else 0))
    return rows


def template_length(tokenizer: Any, template: PairTemplate, *, open_end: bool) -> int:
    """Tokens that a template takes by itself, around an empty query and an empty document."""
    return len(template_rows(tokenizer, template, [("", "")], open_end=open_end)[0].ids)
