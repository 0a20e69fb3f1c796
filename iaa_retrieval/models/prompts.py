"""What stands before and after a text on its way into the tokenizer, and how it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from iaa_retrieval.errors import UsageError
from iaa_retrieval.models.retriever_config import RetrieverConfig
from iaa_retrieval.models.text_settings import prompt_named
from iaa_retrieval.prompt_options import OTHER_PLACES, PLACEHOLDERS


class Frame(NamedTuple):
    """What stands around the texts of one role.

    Attributes:
        prompt: before the text, to the letter.
        prefix: before the text and a space, as Pyserini has it.
        suffix: after the text, to the letter; where a text is cut, it stays.
        asked: what the user said of all this, for messages.
        word: whether that was a ``prefix`` or a ``prompt``.
    """

    prompt: str = ""
    prefix: str = ""
    suffix: str = ""
    asked: str = ""
    word: str = "prompt"

    @property
    def lead(self) -> str:
        """All that goes before a text."""
        return self.prompt + (f"{self.prefix} " if self.prefix else "")

    def settings(self, role: str) -> dict[str, str]:
        """The fields of ``RetrieverConfig`` that say so, for queries or documents."""
        return {f"{role}_prompt": self.prompt, f"{role}_prefix": self.prefix, f"{role}_suffix": self.suffix}


class Asked(NamedTuple):
    """What the user says about one role's texts; at most one of these, None leaves it to the model.

    Attributes:
        prefix: put before a text and a space; an empty one means nothing.
        prompt: put before a text to the letter; with ``{query}`` (``{document}``) in it, the text stands there.
        prompt_name: of one of the model's own prompts.
    """

    prefix: str | None = None
    prompt: str | None = None
    prompt_name: str | None = None


def asked_frames(name: str, asked: Mapping[str, Asked], prefix_is_verbatim: bool = False) -> dict[str, Frame]:
    """What stands around the texts of each role about which the user says anything.

    Args:
        name: of the model, whose metadata has the prompts that are asked for by name.
        asked: by role.
        prefix_is_verbatim: whether a prefix is put before a text without a space.

    Raises:
        UsageError: several things are said about one role, the model has no prompt of that name, or a template names
            another place than its role's.
    """
    frames = {role: _frame(name, role, about, prefix_is_verbatim) for role, about in asked.items()}
    return {role: frame for role, frame in frames.items() if frame is not None}


def _frame(name: str, role: str, asked: Asked, prefix_is_verbatim: bool) -> Frame | None:
    several = [f"{role} {label.replace('_', ' ')}" for label, value in asked._asdict().items() if value is not None]
    if len(several) > 1:
        raise UsageError(
            f"{' and '.join(several)}: each says what stands before a {role}; give one of them and leave out the rest"
        )
    if asked.prefix is not None:
        verbatim = {"prompt": asked.prefix} if prefix_is_verbatim else {"prefix": asked.prefix}
        return Frame(**verbatim, asked=asked.prefix, word="prefix")
    if asked.prompt_name is not None:
        prompt = prompt_named(name, asked.prompt_name)
        return Frame(prompt=prompt, asked=prompt)  # to the letter, as sentence-transformers has it
    return None if asked.prompt is None else _of_template(role, asked.prompt)


def described(role: str, config: RetrieverConfig) -> str:
    """What stands around the texts of ``role``, as a user would ask for it."""
    lead, suffix = around(role, config)
    return f"{lead}{PLACEHOLDERS[role]}{suffix}" if suffix else lead


def around(role: str, config: RetrieverConfig) -> tuple[str, str]:
    """What stands before and after the texts of ``role``, to the letter."""
    if role == "query":
        return config.query_lead, config.query_suffix
    return config.document_lead, config.document_suffix


def require_room(tokenizer: Any, config: RetrieverConfig, *, query: int, document: int) -> None:
    """Refuse lengths at which a template, which is never cut where it has a part after the text, leaves none to it.

    Args:
        tokenizer: the model's.
        config: its settings.
        query, document: the most tokens of either kind of text.

    Raises:
        UsageError: names the template, what it takes and the length.
    """
    for role, length in (("query", query), ("document", document)):
        lead, suffix = around(role, config)
        if suffix and (taken := len(tokenizer(lead + suffix)["input_ids"])) >= length:
            raise UsageError(
                f"the {role} prompt {described(role, config)!r} takes {taken} tokens by itself, and {length} are read: "
                "no room for a text; set a greater length"
            )


def require_one_segment(config: RetrieverConfig) -> None:
    """Refuse title and text as two segments where a prompt goes on after the text.

    Raises:
        UsageError: it does.
    """
    if config.document_suffix:
        raise UsageError(
            f"the document prompt {described('document', config)!r} goes on after the text, and title and text as two "
            "segments (--add-sep) leave no such place; leave one of them out"
        )


def _of_template(role: str, text: str) -> Frame:
    place = PLACEHOLDERS[role]
    other = next((word for word in OTHER_PLACES if word != place and word in text), None)
    if other is not None:
        raise UsageError(f"{role} prompt {text!r}: the place of a {role} is called {place}, not {other}")
    lead, found, suffix = text.partition(place)
    if place in suffix:
        raise UsageError(f"{role} prompt {text!r} has {place} more than once; a {role} stands in one place")
    return Frame(prompt=lead, suffix=suffix if found else "", asked=text)
