"""The order of the sources, and one from elsewhere: all that it takes stands in this file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from iaa_retrieval.collections import sources
from iaa_retrieval.collections.base import Collection, Source
from iaa_retrieval.collections.loading import is_collection, load_collection, split_spec
from iaa_retrieval.collections.qrels import read_qrels
from iaa_retrieval.collections.sources import find_source, register_source
from iaa_retrieval.collections.topics import read_topics
from iaa_retrieval.collections.types import Document, Qrels, Query
from iaa_retrieval.errors import UsageError
from iaa_retrieval.inference.corpus_reader import Corpus, CorpusDocument
from iaa_retrieval.jobs.evaluate import EvaluateOptions, evaluate_runs
from iaa_retrieval.training.splits import training_collection


class SqliteCollection(Collection):
    """The tables ``documents``, ``queries`` and ``qrels`` of one file."""

    def __init__(self, path: str, split: str | None) -> None:
        self._database = sqlite3.connect(path)
        if split is not None and split not in self.splits():
            raise UsageError(f"{path} has no split {split!r}; available: {', '.join(self.splits())}")
        self.split = split
        self.name = f"sqlite:{path}:{split}" if split else f"sqlite:{path}"

    def documents(self) -> Iterator[Document]:
        return (Document(*row) for row in self._database.execute("SELECT id, title, text FROM documents ORDER BY id"))

    def document_count(self) -> int:
        count: int = self._database.execute("SELECT count(*) FROM documents").fetchone()[0]
        return count

    def queries(self) -> list[Query]:
        judged = self.qrels() if self.split else None
        rows = self._database.execute("SELECT id, text FROM queries ORDER BY id")
        return [Query(*row) for row in rows if judged is None or row[0] in judged]

    def qrels(self) -> Qrels:
        if self.split is None:
            raise UsageError(f"choose a split of {self.name}; available: {', '.join(self.splits())}")
        qrels: Qrels = {}
        rows = self._database.execute("SELECT query, document, grade FROM qrels WHERE split = ?", (self.split,))
        for query_id, doc_id, grade in rows:
            qrels.setdefault(query_id, {})[doc_id] = grade
        return qrels

    def splits(self) -> list[str]:
        return [row[0] for row in self._database.execute("SELECT DISTINCT split FROM qrels ORDER BY split")]


class SqliteSource(Source):
    """``sqlite:FILE``, and a file named ``.sqlite`` without that word."""

    name = "sqlite"
    before = "document-files"  # which takes any file
    described = "a SQLite file"

    def claims(self, spec: str) -> bool:
        path = Path(spec.removeprefix("sqlite:"))
        return path.is_file() and (spec.startswith("sqlite:") or path.suffix == ".sqlite")

    def open(self, spec: str, split: str | None) -> Collection:
        return SqliteCollection(spec.removeprefix("sqlite:"), split)

    def known_names(self) -> list[str]:
        return ["sqlite:books.db"]


SOURCE = SqliteSource()
BROKEN = "no source"


@pytest.fixture(autouse=True)
def own_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has a list of sources of its own, which begins with ours."""
    monkeypatch.setattr(sources, "_SOURCES", list(sources._SOURCES))


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    with sqlite3.connect("library.db") as connection:
        connection.executescript(
            """
            CREATE TABLE documents (id TEXT, title TEXT, text TEXT);
            INSERT INTO documents VALUES ('d1', 'Whales', 'They sing.'), ('d2', '', 'Two owls.'), ('d3', 'Ants', '');
            CREATE TABLE queries (id TEXT, text TEXT);
            INSERT INTO queries VALUES ('q1', 'song'), ('q2', 'birds'), ('q3', 'insects');
            CREATE TABLE qrels (split TEXT, query TEXT, document TEXT, grade INTEGER);
            INSERT INTO qrels VALUES ('train', 'q1', 'd1', 1), ('train', 'q3', 'd3', 2), ('test', 'q2', 'd2', 1);
            """
        )
    return "sqlite:library.db"


def test_ours_are_asked_in_this_order() -> None:
    assert [source.name for source in sources.sources()] == [
        "embedded",
        "python-packages",
        "beir-directory",
        "document-files",
        "ir_datasets",
    ]


def test_a_registered_source_is_read_by_its_name(database: str) -> None:
    assert not is_collection(database)
    with pytest.raises(UsageError, match=r"unknown collection 'sqlite': not a file, a directory or an ir_datasets id$"):
        load_collection(database)
    register_source(SOURCE)
    assert is_collection(database) and is_collection(f"{database}:train")
    assert split_spec(database) == (database, None)
    assert split_spec(f"{database}:train") == (database, "train")
    collection = load_collection(database)
    assert (collection.name, collection.split, collection.document_count()) == (database, None, 3)
    assert collection.get_documents(["d2"]) == {"d2": Document("d2", "", "Two owls.")}
    assert [query.query_id for query in collection.queries()] == ["q1", "q2", "q3"]
    assert load_collection(f"{database}:train", "test").qrels() == {"q2": {"d2": 1}}
    with pytest.raises(UsageError, match="no split 'dev'; available: test, train"):
        load_collection(database, "dev")
    Path("library.db").rename("library.sqlite")
    assert load_collection("library.sqlite").document_count() == 3


def test_whatever_takes_a_collection_takes_its_names(database: str, tmp_path: Path) -> None:
    register_source(SOURCE)
    assert list(Corpus(database)) == [
        CorpusDocument("d1", ("Whales", "They sing.")),
        CorpusDocument("d2", ("", "Two owls.")),
        CorpusDocument("d3", ("Ants", "")),
    ]
    assert training_collection(database, None).name == f"{database}:train"
    assert read_topics(f"{database}:test") == [Query("q2", "birds")]
    assert read_qrels(f"{database}:train") == {"q1": {"d1": 1}, "q3": {"d3": 2}}
    run = tmp_path / "run.trec"
    run.write_text("q1 Q0 d2 1 2.0 x\nq1 Q0 d1 2 1.0 x\nq3 Q0 d3 1 1.0 x\n")
    result = evaluate_runs(EvaluateOptions(f"{database}:train", (run,), "MRR"))
    assert result.scores[0].means == {"MRR": 0.75}  # ranks 2 and 1


def test_an_unknown_name_is_told_of_it(database: str) -> None:
    register_source(SOURCE)
    with pytest.raises(UsageError) as caught:
        load_collection("sqlite:boks.db")
    assert str(caught.value) == (
        "unknown collection 'sqlite': not a file, a directory, a SQLite file or an ir_datasets id"
    )
    with pytest.raises(UsageError, match=r"a SQLite file or an ir_datasets id; did you mean sqlite:books\.db\?"):
        load_collection("sqlite-books.db")


def test_a_source_goes_where_it_says(database: str) -> None:
    register_source(SOURCE)
    assert [source.name for source in sources.sources()][2:5] == ["beir-directory", "sqlite", "document-files"]
    last = SqliteSource()
    last.name, last.before = "last", ""
    register_source(last)
    assert sources.sources()[-1] is last
    assert find_source(database) is SOURCE


def test_what_cannot_be_registered_is_refused() -> None:
    with pytest.raises(TypeError, match="'no source' is not a source of collections"):
        register_source(BROKEN)  # type: ignore[arg-type]
    misplaced = SqliteSource()
    misplaced.before = "files"
    with pytest.raises(ValueError, match="before 'files', which is no source; there are: embedded, python-packages"):
        register_source(misplaced)
    register_source(SOURCE)
    with pytest.raises(ValueError, match="a source of collections called 'sqlite' already"):
        register_source(SqliteSource())
    assert len(sources.sources()) == 6


def test_packages_bring_sources_and_a_broken_one_is_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def declared(*, group: str) -> list[EntryPoint]:
        assert group == "iaa_retrieval.sources"
        values = {"gone": "no_such_package:SOURCE", "odd": f"{__name__}:BROKEN", "sqlite": f"{__name__}:SOURCE"}
        return [EntryPoint(name, value, group) for name, value in values.items()]

    monkeypatch.setattr("iaa_retrieval.registry.entry_points", declared)
    monkeypatch.setattr(sources.PACKAGES, "_loaded", False)
    assert SOURCE in sources.sources()
    assert SOURCE in sources.sources()
    assert caplog.messages == [
        "source of collections gone (entry point no_such_package:SOURCE) is left out: No module named "
        "'no_such_package'",
        f"source of collections odd (entry point {__name__}:BROKEN) is left out: 'no source' is not a source of "
        "collections (iaa_retrieval.collections.base.Source)",
    ]
