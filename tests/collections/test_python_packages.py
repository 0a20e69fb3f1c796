"""The collection from wheels that are made here; the real one is in test_python_packages_built.py."""

import zipfile
from pathlib import Path

import pytest

from iaa_retrieval.collections import package_wheels, python_packages
from iaa_retrieval.collections.loading import load_collection
from iaa_retrieval.collections.package_wheels import PACKAGES, Package
from iaa_retrieval.collections.python_packages import SMALL, build, definitions_of, digest_of
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.files import sha256_of

FUNCTION = '''
def {name}(values, limit):
    """{summary}

    At length.
    """
    total = 0
    for value in {values}:
        total += {step}
    return total
'''
SUMMARIES = {
    "alpha": ["Add numbers until nothing is left.", "Multiply all of them together."],
    "beta": ["Count words of every sentence.", "Add numbers until nothing is left."],
    "gamma": ["Draw a sample without repeats.", "Sort rows by their last column."],
}


def function(number: int, summary: str, word: str) -> str:
    return FUNCTION.format(
        name=f"f{number}", summary=summary, values=f"{word}_{number}(values)", step=f"{word} * {number}"
    )


def wheel(directory: Path, name: str) -> Path:
    path = directory / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        source = "".join(function(number, summary, name) for number, summary in enumerate(SUMMARIES[name]))
        archive.writestr(f"{name}/__init__.py", source)
        archive.writestr(f"{name}/tests/test_it.py", function(7, "Check that all of it works.", "test"))
        archive.writestr(f"{name}/_vendor/other.py", function(8, "Do what another package does.", "vendored"))
        archive.writestr(f"{name}/template.py", "def {{ name }}(): pass")
        archive.writestr(f"{name}/bad.py", 'raise SystemExit("imported")\n')
    return path


@pytest.fixture
def wheels(tmp_path: Path) -> dict[Package, Path]:
    splits = {"alpha": "train", "beta": "test", "gamma": "dev"}
    made = {name: wheel(tmp_path, name) for name in splits}
    return {Package(name, "1.0", splits[name], "MIT", sha256_of(path)): path for name, path in made.items()}


@pytest.fixture
def built(tmp_path: Path, wheels, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The collection made of these wheels, in a cache of its own."""
    once = tmp_path / "once"
    once.mkdir()
    build(wheels, once)
    monkeypatch.setenv("IAA_RETRIEVAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(python_packages, "DIGEST", digest_of(once))
    monkeypatch.setattr(python_packages, "fetch_wheels", lambda directory: wheels)
    return once


def test_tests_and_vendored_code_are_left_out(wheels) -> None:
    names = {definition.name for path in wheels.values() for definition in definitions_of(path)}
    assert names == {"alpha.f0", "alpha.f1", "beta.f0", "beta.f1", "gamma.f0", "gamma.f1"}


def test_each_split_has_its_own_packages(built) -> None:
    ids = {
        split: [d.doc_id for d in load_collection(f"python-packages:{split}").documents()]
        for split in ("train", "dev", "test")
    }
    # alpha.f0 says what beta.f1 says: what is tested is not trained on.
    assert ids == {"train": ["alpha.f1"], "dev": ["gamma.f0", "gamma.f1"], "test": ["beta.f0", "beta.f1"]}
    everything = load_collection("python-packages")
    assert [document.doc_id for document in everything.documents()] == [*ids["test"], *ids["dev"], *ids["train"]]
    assert everything.document_count() == 5
    assert everything.splits() == ["dev", "test", SMALL, "train"]
    assert everything.documents_by_split


def test_a_query_and_its_document(built) -> None:
    collection = load_collection("python-packages:dev")
    assert [(query.query_id, query.text) for query in collection.queries()] == [
        ("q:gamma.f0", "Draw a sample without repeats."),
        ("q:gamma.f1", "Sort rows by their last column."),
    ]
    assert collection.qrels() == {"q:gamma.f0": {"gamma.f0": 1}, "q:gamma.f1": {"gamma.f1": 1}}
    assert next(collection.documents()).text.startswith("def f0(values, limit):\n    total = 0\n")


def test_the_small_split_searches_the_documents_of_test(built, monkeypatch: pytest.MonkeyPatch) -> None:
    small, test = load_collection("python-packages", SMALL), load_collection("python-packages", "test")
    assert list(small.documents()) == list(test.documents())
    assert set(small.qrels()) <= set(test.qrels())


def test_queries_are_drawn_by_their_ids(tmp_path: Path, wheels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python_packages, "QUERIES", {"test": 1})
    build(wheels, tmp_path)
    assert len((tmp_path / "test" / "queries.jsonl").read_text().splitlines()) == 1
    assert len((tmp_path / "test" / "corpus.jsonl").read_text().splitlines()) == 2


def test_it_is_built_once(built, monkeypatch: pytest.MonkeyPatch) -> None:
    load_collection("python-packages:test").queries()

    def fail(directory: Path) -> None:
        raise AssertionError("fetched again")

    monkeypatch.setattr(python_packages, "fetch_wheels", fail)
    assert load_collection("python-packages:test").document_count() == 2


def test_other_files_are_refused(built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python_packages, "DIGEST", "0" * 64)
    with pytest.raises(IaaRetrievalError, match="gave other files than they should"):
        load_collection("python-packages:test").queries()
    assert not list((tmp_path / "cache").glob("python-packages-*"))  # nothing half made is left


def test_pip_that_fails_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    with pytest.raises(IaaRetrievalError, match="could not be fetched: pip download failed") as failed:
        package_wheels.fetch_wheels(tmp_path)
    assert "\n" not in str(failed.value)


def test_no_package_is_there_twice() -> None:
    assert len({package.name for package in PACKAGES}) == len(PACKAGES)
    assert {package.split for package in PACKAGES} == {"train", "dev", "test"}
    assert all(len(package.sha256) == 64 and package.licence for package in PACKAGES)


def test_unknown_split() -> None:
    with pytest.raises(UsageError, match="no split 'eval'; available: dev, test, test-small, train"):
        load_collection("python-packages", "eval")
    with pytest.raises(UsageError, match="choose a split"):
        load_collection("python-packages").qrels()
