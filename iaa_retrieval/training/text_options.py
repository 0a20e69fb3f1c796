"""The options of training about texts: what stands around them, where they are cut, and what becomes of their tokens.

Light: no torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from iaa_retrieval.options import one_of, option
from iaa_retrieval.prompt_options import append_eos_field, prompt_field, prompt_name_field
from iaa_retrieval.training.option_groups import BI_ENCODER
from iaa_retrieval.training.pair_options import PairOptions

_OWN_PROMPT = {"bi-encoder": "the backbone's own prompt, if it has one; '' means none"}


@dataclass(frozen=True, kw_only=True)
class TextOptions(PairOptions):
    """How texts go into the network, and how vectors come out. Lengths are in tokens.

    Without a prefix or prompt, a bi-encoder keeps its backbone's; an empty one means none.
    """

    query_prefix: str | None = option(None, help="Put before every query, with a space.", default_text=_OWN_PROMPT)
    document_prefix: str | None = option(
        None, help="Put before every document, with a space.", default_text=_OWN_PROMPT
    )
    query_prompt: str | None = prompt_field("query", _OWN_PROMPT)
    document_prompt: str | None = prompt_field("document", _OWN_PROMPT)
    query_prompt_name: str | None = prompt_name_field("query")
    document_prompt_name: str | None = prompt_name_field("document")
    append_eos: bool = append_eos_field(variants=BI_ENCODER)
    query_max_length: int | None = option(
        None,
        help="Tokens of a query.",
        default_text={"bi-encoder": "what the backbone says, else 64", "cross-encoder": "64"},
    )
    document_max_length: int | None = option(
        None,
        help={"bi-encoder": "Tokens of a document.", "cross-encoder": "Tokens of a query and document together."},
        default_text={
            "bi-encoder": "what the backbone says, else 256",
            "cross-encoder": "256, and those of a template",
        },
    )
    train_max_length: int | None = option(
        None, help="The same during training, to train faster.", default_text="--document-max-length"
    )
    pooling: str | None = option(
        None,
        help="Token vectors to one.",
        default_text="the backbone's own, else last of a decoder and mean of others",
        check=one_of("mean", "cls", "last"),
        variants=BI_ENCODER,
    )
    normalize: bool | None = option(
        None, help="Unit-length vectors.", default_text="the backbone's own, else yes", variants=BI_ENCODER
    )

    @property
    def around(self) -> dict[str, tuple[str | None, str | None, str | None]]:
        """By role what is said of it: prefix, prompt and the name of a prompt."""
        return {
            "query": (self.query_prefix, self.query_prompt, self.query_prompt_name),
            "document": (self.document_prefix, self.document_prompt, self.document_prompt_name),
        }

    @property
    def asks_for_prompts(self) -> bool:
        """Whether anything is said about what stands around texts."""
        return any(value is not None for said in self.around.values() for value in said)
