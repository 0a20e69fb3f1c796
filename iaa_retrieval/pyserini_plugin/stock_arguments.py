"""Reading and changing options in a stock Pyserini command line without parsing the rest of it."""

from __future__ import annotations

HYBRID_SECTIONS = ("dense", "sparse", "fusion", "run")
# Options of Pyserini with which others begin; any other beginning of an option stands for it, as argparse has it.
_WHOLE = frozenset(
    ("--b", "--bm25", "--dismax", "--encoder", "--max-passage", "--output", "--prcl", "--rm3", "--rocchio", "--topics")
)
# Options that only this package knows; no beginning of them stands for them.
OWN_OPTIONS = ("--query-prompt", "--query-prompt-name", "--append-eos", "--truncate-dim")


class StockArguments:
    """The words of one command, such as ``--index DIR --topics=FILE --bm25``; later ones win (argparse)."""

    def __init__(self, words: list[str]) -> None:
        self.words = list(words)

    def has(self, option: str) -> bool:
        """Whether ``option`` is there, with or without a value."""
        return any(_stands_for(word.partition("=")[0], option) for word in self.words)

    def get(self, option: str) -> str | None:
        """The value of ``option``, None when it is absent or comes last without a value."""
        value = None
        for index, word in enumerate(self.words):
            name, equals, rest = word.partition("=")
            if not _stands_for(name, option):
                continue
            if equals:
                value = rest
            elif index + 1 < len(self.words):
                value = self.words[index + 1]
        return value

    def set(self, option: str, value: str) -> None:
        """Give ``option`` this value; being last, it wins over what was there."""
        self.words += [option, value]

    def remove(self, option: str, *, has_value: bool = True) -> None:
        """Take out ``option`` wherever it stands, with its value unless it has none."""
        kept: list[str] = []
        words = iter(self.words)
        for word in words:
            name, equals, _ = word.partition("=")
            if not _stands_for(name, option):
                kept.append(word)
            elif has_value and not equals:
                next(words, None)
        self.words = kept


def _stands_for(word: str, option: str) -> bool:
    return word == option or (
        option not in OWN_OPTIONS
        and len(word) > 2
        and word.startswith("--")
        and word not in _WHOLE
        and option.startswith(word)
    )


def split_hybrid(words: list[str]) -> dict[str, StockArguments]:
    """Cut a hybrid command line into its sections as stock Pyserini does: at each section's name."""
    sections: dict[str, StockArguments] = {}
    current: list[str] = []
    for word in words:
        if word in HYBRID_SECTIONS:
            sections[word] = StockArguments([])
            current = sections[word].words
        else:
            current.append(word)
    return sections


def join_hybrid(sections: dict[str, StockArguments]) -> list[str]:
    """The command line of all sections."""
    return [word for name, arguments in sections.items() for word in (name, *arguments.words)]
