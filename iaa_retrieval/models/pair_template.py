"""How a query and a document are put into one text for a model that was not made for pairs. Light: no torch.

Encoders have separators and segments between two texts; decoders read one text, which says by words what is what.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from iaa_retrieval.errors import UsageError

QUERY, DOCUMENT, INSTRUCTION = "{query}", "{document}", "{instruction}"

# What the authors of Qwen3-Reranker put around a pair, and say it is for.
_QWEN3_RERANKER = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
    f"<Instruct>: {INSTRUCTION}\n<Query>: {QUERY}\n<Document>: {DOCUMENT}<|im_end|>\n"
    "<|im_start|>assistant\n<think>\n\n</think>\n\n"
)
DEFAULT_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
QWEN3_RERANKER, PLAIN, MONOT5, NO_TEMPLATE = "qwen3-reranker", "plain", "monot5", "none"
TEMPLATES = {
    QWEN3_RERANKER: _QWEN3_RERANKER,
    PLAIN: f"Query: {QUERY}\nDocument: {DOCUMENT}\nRelevant (yes or no):\n",
    MONOT5: f"Query: {QUERY} Document: {DOCUMENT} Relevant:",
    NO_TEMPLATE: "",
}
TOKENS = {MONOT5: ("▁true", "▁false")}
DEFAULT_TOKENS = ("yes", "no")

# What options say about these.
TEMPLATE_HELP = f"a name ({', '.join(TEMPLATES)}) or a text with {QUERY} and {DOCUMENT}, taken to the letter"
TEMPLATE_DEFAULT = (
    f"the model's own; else for --head yes-no {QWEN3_RERANKER} on Qwen3, {MONOT5} on T5, {PLAIN} on others and where a "
    f"tokenizer puts nothing between two texts, else {NO_TEMPLATE}"
)
TOKENS_DEFAULT = f"{' '.join(DEFAULT_TOKENS)}, for the template {MONOT5} {' '.join(TOKENS[MONOT5])}"


@dataclass(frozen=True)
class PairSettings:
    """What a user, or a model, says about the way from a pair to a score; None leaves it to the model's kind.

    Attributes:
        head: a name in ``models.heads``.
        template: a name in ``TEMPLATES``, or a text with ``{query}`` and ``{document}``.
        instruction: what stands for ``{instruction}`` in it.
        tokens: the two words of the vocabulary whose log-odds are the score.
    """

    head: str | None = None
    template: str | None = None
    instruction: str | None = None
    tokens: tuple[str, str] | None = None

    @property
    def given(self) -> bool:
        """Whether anything is said."""
        return self != PairSettings()

    def or_else(self, other: PairSettings) -> PairSettings:
        """These settings, and where they say nothing those of ``other``.

        The instruction belongs to its template: that of ``other`` counts only with the template of ``other``.
        """
        return PairSettings(
            head=other.head if self.head is None else self.head,
            template=other.template if self.template is None else self.template,
            instruction=other.instruction if self.template is None and self.instruction is None else self.instruction,
            tokens=other.tokens if self.tokens is None else self.tokens,
        )


class FilledTemplate(NamedTuple):
    """A pair as one text, and where in it the document begins and ends."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class PairTemplate:
    """A template whose instruction is filled in: the texts before, between and after the two."""

    before: str
    between: str
    after: str
    query_first: bool

    def around(self, query: tuple[str, str], document: tuple[str, str]) -> PairTemplate:
        """The template with what goes before and after each of the two texts as a part of it, which is never cut."""
        first, second = (query, document) if self.query_first else (document, query)
        return replace(
            self,
            before=self.before + first[0],
            between=first[1] + self.between + second[0],
            after=second[1] + self.after,
        )

    def fill(self, query: str, document: str) -> FilledTemplate:
        """The text of a pair."""
        first, second = (query, document) if self.query_first else (document, query)
        text = f"{self.before}{first}{self.between}{second}{self.after}"
        start = len(self.before) + (len(query) + len(self.between) if self.query_first else 0)
        return FilledTemplate(text, start, start + len(document))


def template_text(template: str) -> str:
    """The text of a template, by its name or as it is; without a template, empty.

    Raises:
        UsageError: neither a name nor a text with both places.
    """
    if template in TEMPLATES:
        return TEMPLATES[template]
    if not template:
        return ""
    for place, least in ((QUERY, 1), (DOCUMENT, 1), (INSTRUCTION, 0)):
        if not least <= template.count(place) <= 1:
            raise UsageError(
                f"--pair-template {template!r} must have {place} {'once' if least else 'at most once'}, or be one of "
                f"{', '.join(TEMPLATES)}"
            )
    return template


def parse_template(text: str, instruction: str) -> PairTemplate:
    """A template's text, from ``template_text``, with its instruction filled in."""
    query_first = text.index(QUERY) < text.index(DOCUMENT)
    first, second = (QUERY, DOCUMENT) if query_first else (DOCUMENT, QUERY)
    # An instruction may hold anything, so the places are looked for in the text without it.
    before, _, rest = text.partition(first)
    between, _, after = rest.partition(second)
    filled = [part.replace(INSTRUCTION, instruction) for part in (before, between, after)]
    return PairTemplate(filled[0], filled[1], filled[2], query_first)


def template_instruction(text: str, instruction: str | None) -> str:
    """What stands for ``{instruction}`` in a template; empty where it has no such place.

    Raises:
        UsageError: an instruction is given for which the template has no place.
    """
    if INSTRUCTION not in text:
        if instruction:
            raise UsageError(f"--pair-instruction has no place in this template, which has no {INSTRUCTION}")
        return ""
    return DEFAULT_INSTRUCTION if instruction is None else instruction
