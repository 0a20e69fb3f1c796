"""Case 15: what is indexed in one language is searched in it, and an empty run is never written in silence."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from iaa_retrieval import index, search
from iaa_retrieval.collections.runs import read_run
from iaa_retrieval.collections.types import Query
from iaa_retrieval.java import find_java

pytestmark = [
    pytest.mark.skipif(find_java() is None, reason="no Java 21 or newer on this machine"),
    pytest.mark.usefixtures("same_environment"),
]


@pytest.fixture(scope="module")
def case(reported_cases: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The case's files, indexed as English, as Chinese and as Japanese."""
    folder = tmp_path_factory.mktemp("language")
    for name in ("docs.jsonl", "queries.tsv"):
        shutil.copy(reported_cases / "15-language" / name, folder)
    for language in ("en", "zh", "ja"):
        made = CliRunner().invoke(
            index.main,
            ["--collection", f"{folder}/docs.jsonl", "--output", f"{folder}/{language}", "--threads", "1"]
            + (["--language", language] if language != "en" else []),
        )
        assert made.exit_code == 0, made.output
    yield folder


def searched(case: Path, language: str, output: Path, *more: str) -> Result:
    words = ["--bm25", "--index", f"{case}/{language}", "--topics", f"{case}/queries.tsv", "--output", str(output)]
    return CliRunner().invoke(search.main, ["lucene", *words, *more])


def best(run: Path) -> dict[str, str]:
    return {query: max(hits, key=hits.__getitem__) for query, hits in read_run(run).items()}


@pytest.mark.parametrize("language", ["zh", "ja"])
def test_a_search_follows_the_language_of_the_index(case: Path, tmp_path: Path, language: str) -> None:
    from iaa_retrieval.pyserini_plugin.bm25 import bm25_run

    for number, more in enumerate(([], ["--language", language], ["--batch-size", "4", "--threads", "2"])):
        result = searched(case, language, tmp_path / str(number), *more)
        assert result.exit_code == 0, result.output
        assert best(tmp_path / str(number)) == {"1": "c1", "2": "c3"}
    queries = [Query(*line.split("\t")) for line in (case / "queries.tsv").read_text().splitlines()]
    assert bm25_run(case / language, queries) == read_run(tmp_path / "0")


def test_stock_pyserini_searches_the_index_as_before(case: Path) -> None:
    from iaa_retrieval.java import prepare_java

    prepare_java()
    from pyserini.search.lucene import LuceneSearcher

    searcher = LuceneSearcher(f"{case}/zh")
    searcher.set_language("zh")
    query = (case / "queries.tsv").read_text().splitlines()[0].split("\t")[1]
    assert searcher.search(query)[0].docid == "c1"


@pytest.mark.parametrize(
    ("made", "option"),
    [
        ("en", ("--language", "zh")),
        ("zh", ("--language", "en")),
        ("zh", ("--pretokenized",)),
        ("en", ("--tokenizer", "bert-base-uncased")),
        ("zh", ("--stopwords", "list.txt")),
    ],
)
def test_a_search_that_contradicts_the_index_is_refused_naming_both(
    case: Path, tmp_path: Path, made: str, option: tuple[str, ...]
) -> None:
    result = searched(case, made, tmp_path / "run", *option)
    assert result.exit_code == 2
    assert " ".join(option[: 2 if option[0] == "--language" else 1]) in result.output
    assert f"{case}/{made}, which was made with --language {made}" in result.output
    assert not list(tmp_path.iterdir())


def test_an_unknown_language_is_refused_whoever_made_the_index(case: Path, tmp_path: Path) -> None:
    stock = tmp_path / "stock"
    shutil.copytree(case / "en", stock, ignore=shutil.ignore_patterns("analysis.json"))
    words = ["--index", str(stock), "--topics", f"{case}/queries.tsv", "--output", str(tmp_path / "run")]
    result = CliRunner().invoke(search.main, ["lucene", *words, "--language", "chinese"])
    assert result.exit_code == 2
    assert "--language chinese: Pyserini has no analyser of that name" in result.output


def test_an_empty_run_is_never_written_without_a_word(
    case: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Of an index that stock Pyserini made nothing is known, so it is searched as it is asked for.
    stock = tmp_path / "stock"
    shutil.copytree(case / "en", stock, ignore=shutil.ignore_patterns("analysis.json"))
    words = ["--index", str(stock), "--topics", f"{case}/queries.tsv", "--output", str(tmp_path / "run")]
    result = CliRunner().invoke(search.main, ["lucene", *words, "--language", "zh"])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "run").read_text() == ""
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1 and warnings[0].startswith("no query has a hit (2 queries)")
