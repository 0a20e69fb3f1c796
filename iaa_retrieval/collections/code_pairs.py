"""Pairs of a sentence and the code that it describes, from documented definitions: the rules of code search.

A document is the source of a function, method or class without its docstrings; its query is the first sentence of its
docstring; it is that query's one relevant document.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from iaa_retrieval.collections.code_definitions import Definition
from iaa_retrieval.collections.types import Document, Query

MAX_CHARACTERS = 2000  # of a document; about 600 word pieces
MIN_QUERY_WORDS = 3
MIN_CODE_WORDS = 12  # fewer, and little but the name is left to match


class CodePair(NamedTuple):
    """A query, its one relevant document and the module that it is from."""

    query: Query
    document: Document
    module: str


class CodePairs:
    """Takes definitions one after another, and leaves out what is trivial or there already.

    Left out is a pair whose sentence or code is too short, whose sentence stands in the code, or whose sentence, code
    or name another pair has.
    """

    def __init__(self) -> None:
        self._queries: set[str] = set()
        self._documents: set[str] = set()
        self._names: set[str] = set()

    def of(self, definitions: Iterable[Definition]) -> Iterator[CodePair]:
        """The pairs of the definitions, in their order."""
        for definition in definitions:
            code = _cut(definition.code)
            query = normalized(definition.summary)
            if _is_trivial(definition) or query in normalized(code):
                continue
            # A name may come twice: defined once per platform, say.
            if query in self._queries or code in self._documents or definition.name in self._names:
                continue
            self._queries.add(query)
            self._documents.add(code)
            self._names.add(definition.name)
            yield CodePair(
                Query(f"q:{definition.name}", definition.summary),
                Document(definition.name, "", code),
                definition.module,
            )


def normalized(text: str) -> str:
    """The words of a text in lower case, with single spaces."""
    return " ".join(re.findall(r"\w+", text.lower()))


def _is_trivial(definition: Definition) -> bool:
    return (
        len(re.findall(r"[A-Za-z]{2,}", definition.summary)) < MIN_QUERY_WORDS
        or len(re.findall(r"\w+", definition.code)) < MIN_CODE_WORDS
    )


def _cut(code: str) -> str:
    """Whole lines up to the length limit (a single longer line is cut)."""
    if len(code) <= MAX_CHARACTERS:
        return code
    end = code.rfind("\n", 0, MAX_CHARACTERS)
    return code[: end if end > 0 else MAX_CHARACTERS]
