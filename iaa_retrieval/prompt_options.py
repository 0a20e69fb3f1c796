"""What stands around a text: the options that every verb with an encoder offers, in the same words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import click

from iaa_retrieval.options import option

PLACEHOLDERS = {"query": "{query}", "document": "{document}"}
# What a user may take for the place of a text.
OTHER_PLACES = (*PLACEHOLDERS.values(), "{text}", "{passage}", "{doc}")
OWN_PROMPT = "the encoder's own, if it has one"


def typed_prompt(text: str) -> str:
    r"""A prompt as typed in a shell: the two characters ``\n`` are a line end, and ``\\n`` stands for these two."""
    return re.sub(r"\\(\\?)n", lambda found: "\\n" if found[1] else "\n", text)


class PromptText(click.ParamType[str]):
    """A prompt on the command line, or in its file of defaults."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The prompt, with line ends where ``typed_prompt`` sees them."""
        return typed_prompt(str(value))


def prefix_field(what: str, default_text: str) -> Any:
    """The field of a prefix, before ``what`` (a query, the text of a document), of a dataclass of options."""
    return option(None, help=f"Put before every {what}, with a space.", default_text=default_text)


def prompt_field(role: str, default_text: str | Mapping[str, str] = OWN_PROMPT, variants: tuple[str, ...] = ()) -> Any:
    """The field ``query_prompt`` or ``document_prompt`` of a dataclass of options."""
    return option(
        None,
        help=f"Put before every {role} to the letter, without a space; with {PLACEHOLDERS[role]} in it, the {role} "
        r"stands there and alone is cut. \n is a line end.",
        default_text=default_text,
        type=PromptText(),
        metavar="TEXT",
        variants=variants,
    )


def prompt_name_field(role: str, variants: tuple[str, ...] = ()) -> Any:
    """The field ``query_prompt_name`` or ``document_prompt_name`` of a dataclass of options."""
    return option(
        None,
        help=f"The prompt of that name in the model's sentence-transformers files, for every {role}.",
        metavar="NAME",
        variants=variants,
    )


def append_eos_field(variants: tuple[str, ...] = ()) -> Any:
    """The field ``append_eos`` of a dataclass of options."""
    return option(
        False,
        help="End every text with the tokenizer's end-of-text token, for models trained so whose tokenizer does not do "
        "it by itself; it stays when a text is cut.",
        variants=variants,
    )


def asked_around(options: Any, role: str, *, prefix: str | None) -> dict[str, Any]:
    """What such options ask for around the texts of ``role``, as keyword arguments of ``load_bi_encoder``."""
    return {
        f"{role}_prefix": prefix,
        **{name: getattr(options, name) for name in (f"{role}_prompt", f"{role}_prompt_name", "append_eos")},
    }
