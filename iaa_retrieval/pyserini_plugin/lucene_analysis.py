"""How the text of a Lucene index was cut into terms, which its queries must be too.

An index keeps no trace of its analyser, and a search with another one finds little or nothing without failing.
So an index made here says beside Lucene's files (Lucene and Pyserini leave others' files alone) what it was made
with, and searches follow it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.files import read_json, write_json
from iaa_retrieval.pyserini_plugin.stock_arguments import StockArguments

FILE_NAME = "analysis.json"
# The codes for which Anserini has an analyser; it takes any other for English without a word.
# The last four are cut at white space only.
LANGUAGES = (
    *("en", "ar", "bn", "da", "de", "es", "fa", "fi", "fr", "hi", "hu", "id", "it", "ja", "ko", "nl", "no", "pl"),
    *("pt", "ru", "sv", "te", "th", "tr", "uk", "zh"),
    *("ha", "so", "sw", "yo"),
)
# Pyserini's indexer knows Japanese, its searcher takes it for English.
_UNKNOWN_TO_THE_SEARCHER = "ja"


@dataclass(frozen=True)
class Analysis:
    """Which analyser: that of a language, or for pre-tokenized text, white space alone."""

    language: str = "en"
    pretokenized: bool = False

    def __str__(self) -> str:
        return "--pretokenized" if self.pretokenized else f"--language {self.language}"

    def check(self) -> None:
        """Refuse what no analyser of Anserini stands for.

        Raises:
            UsageError: an unknown language, or a language of pre-tokenized text.
        """
        require_language(self.language)
        if self.pretokenized and self.language != "en":
            raise UsageError(
                f"--pretokenized text is cut at white space, not as --language {self.language}; choose one"
            )

    def indexer_options(self) -> list[str]:
        """What Anserini's indexer is told."""
        return ["-pretokenized"] if self.pretokenized else ["-language", self.language]


def require_language(language: str) -> None:
    """Refuse a language code that Anserini would silently take for English.

    Raises:
        UsageError: an unknown code; the message lists the known ones.
    """
    if language not in LANGUAGES:
        raise UsageError(f"--language {language}: Pyserini has no analyser of that name, only {', '.join(LANGUAGES)}")


def write_analysis(index: Path, analysis: Analysis) -> None:
    """Keep ``analysis`` inside the index directory."""
    write_json(index / FILE_NAME, dataclasses.asdict(analysis))


def read_analysis(index: str | Path) -> Analysis | None:
    """The analysis of an index, or None where nothing is known of it (one made by stock Pyserini).

    Raises:
        IaaRetrievalError: the record is damaged.
    """
    path = Path(index) / FILE_NAME
    if not path.is_file():
        return None
    record = read_json(path)
    try:
        return Analysis(str(record["language"]), bool(record["pretokenized"]))
    except (TypeError, KeyError) as error:
        raise IaaRetrievalError(
            f"{path} does not say how the index was analysed; remove it to search the index unchecked"
        ) from error


def follow_index(arguments: StockArguments, *, hybrid: bool = False) -> None:
    """Let a stock command line analyse its queries as ``--index`` was analysed.

    Args:
        arguments: the options of the search; those that are missing are set.
        hybrid: stock hybrid search knows ``--language`` alone.

    Raises:
        UsageError: an unknown language, or an option that contradicts the index; both sides are named.
    """
    if arguments.has("--dense") or arguments.has("--impact"):
        return  # no analyser has a part in these
    language, index = arguments.get("--language"), arguments.get("--index") or ""
    if language is not None:
        require_language(language)
    made = read_analysis(index)
    if made is None:
        return
    if language is not None and (made.pretokenized or language != made.language):
        raise _contradiction(f"--language {language}", index, made)
    # The queries of both of these are cut at white space.
    for option in ("--pretokenized", "--tokenizer"):
        if arguments.has(option) and not made.pretokenized:
            raise _contradiction(option, index, made)
    if arguments.has("--stopwords") and made != Analysis():
        raise _contradiction("--stopwords (of English)", index, made)
    if made.pretokenized:
        if hybrid:
            raise UsageError(
                f"--index {index} was made with --pretokenized, which Pyserini's hybrid search cannot search; use an "
                "index of plain text"
            )
        if not (arguments.has("--pretokenized") or arguments.has("--tokenizer")):
            arguments.words.append("--pretokenized")
    elif made.language != "en":
        arguments.set("--language", made.language)


def _contradiction(option: str, index: str, made: Analysis) -> UsageError:
    return UsageError(
        f"{option} contradicts --index {index}, which was made with {made}; leave it out, or make an index that fits "
        "with: python -m iaa_retrieval.index"
    )


def set_analysis(searcher: Any, analysis: Analysis) -> None:
    """Let a LuceneSearcher analyse its queries like this."""
    if analysis.pretokenized:
        from pyserini.analysis import JWhiteSpaceAnalyzer

        searcher.set_analyzer(JWhiteSpaceAnalyzer())
    elif analysis.language != "en":
        with all_languages():
            searcher.set_language(analysis.language)


@contextmanager
def all_languages() -> Iterator[None]:
    """Teach Pyserini's searcher the language that only its indexer knows."""
    from pyserini.pyclass import autoclass
    from pyserini.search.lucene import LuceneSearcher

    stock = LuceneSearcher.set_language

    def set_language(searcher: Any, language: str) -> None:
        if language == _UNKNOWN_TO_THE_SEARCHER:
            analyzers = autoclass("io.anserini.analysis.AnalyzerMap")
            searcher.set_analyzer(analyzers.getLanguageSpecificAnalyzer(language))
        else:
            stock(searcher, language)

    LuceneSearcher.set_language = set_language
    try:
        yield
    finally:
        LuceneSearcher.set_language = stock
