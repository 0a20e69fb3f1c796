"""How pairs of query and document become token ids, the one way for training and inference."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from iaa_retrieval.errors import UsageError
from iaa_retrieval.inference.batching import pad
from iaa_retrieval.inference.tokens import OnCut, PairTokens, cut_text, tokenize_pairs, with_lead
from iaa_retrieval.models.cross_encoder import SHORTEST_PAIR, CrossEncoder
from iaa_retrieval.models.template_tokens import template_rows


class PairReader:
    """Reads pairs as a cross-encoder's settings say: prompts, template, lengths.

    Args:
        model: the cross-encoder.
        max_length: tokens of a pair; None is the model's own.

    Raises:
        UsageError: a length that the model's template does not fit into.
    """

    def __init__(self, model: CrossEncoder, max_length: int | None = None) -> None:
        self._model = model
        self.max_length = max_length or model.config.document_max_length
        if self.max_length < model.template_length + SHORTEST_PAIR and model.template:
            raise UsageError(
                f"pairs of {self.max_length} tokens leave no room for texts: the template of {model.source} takes "
                f"{model.template_length}; {SHORTEST_PAIR + model.template_length} is the least"
            )

    def tokens(
        self,
        pairs: Sequence[tuple[str, str]],
        *,
        on_query_cut: OnCut | None = None,
        on_document_cut: OnCut | None = None,
    ) -> PairTokens:
        """Unpadded token ids of (query, document) pairs, at most ``max_length`` each.

        A long query is cut first, then the document as far as is needed; a template is kept whole. The two callables
        are told of pairs whose query, or whose document beside its query, is cut.
        """
        config = self._model.config
        if self._model.template is not None:
            return self._by_template(pairs, on_query_cut, on_document_cut)
        queries = with_lead(config.query_lead, [query for query, _ in pairs])
        documents = with_lead(config.document_lead, [document for _, document in pairs])
        return tokenize_pairs(
            self._model.tokenizer,
            list(zip(queries, documents, strict=True)),
            max_length=self.max_length,
            query_max_length=config.query_max_length,
            query_suffix=config.query_suffix,
            passage_suffix=config.document_suffix,
            on_query_cut=on_query_cut,
            on_passage_cut=on_document_cut,
        )

    def inputs(self, tokens: PairTokens, batch: Sequence[int], device: torch.device) -> dict[str, torch.Tensor]:
        """Padded inputs of the network [len(batch), tokens] of the pairs at the positions ``batch``."""
        pad_id = self._model.tokenizer.pad_token_id or 0
        ids, mask = pad([tokens.input_ids[i] for i in batch], pad_id, device, self.max_length)
        inputs = {"input_ids": ids, "attention_mask": mask}
        if "token_type_ids" in self._model.input_names:
            inputs["token_type_ids"], _ = pad([tokens.token_type_ids[i] for i in batch], 0, device, self.max_length)
        return inputs

    def _by_template(
        self, pairs: Sequence[tuple[str, str]], on_query_cut: OnCut | None, on_document_cut: OnCut | None
    ) -> PairTokens:
        model, template = self._model, self._model.template
        assert template is not None
        limit = min(model.config.query_max_length, (self.max_length - model.template_length) // 2)
        cut = {query: cut_text(model.tokenizer, query, limit) for query in {query for query, _ in pairs}}
        rows = template_rows(
            model.tokenizer,
            template,
            [(cut[query], document) for query, document in pairs],
            open_end=model.has_open_end,
        )
        ids = [row.cut(self.max_length) for row in rows]
        for position, (query, _) in enumerate(pairs):
            if on_query_cut is not None and len(cut[query]) < len(query):
                on_query_cut(position)
            if on_document_cut is not None and len(ids[position]) < len(rows[position].ids):
                on_document_cut(position)
        return PairTokens(ids, [[0] * len(row) for row in ids])
