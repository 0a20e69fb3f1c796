"""A collection in a bundle is what the original is: documents, queries, judgments and splits, under the same name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from toy_collection import write_toy_collection

from iaa_retrieval.collections import sources
from iaa_retrieval.collections.base import Collection, Source
from iaa_retrieval.collections.loading import load_collection
from iaa_retrieval.collections.types import Document, Qrels, Query
from iaa_retrieval.errors import UsageError
from iaa_retrieval.remote.collections import (
    BundleSource,
    collection_digests,
    use_bundled_collections,
    write_collections,
)


class ByPackage(Collection):
    """Documents of their own for each split; without one, all of them and no judgments."""

    documents_by_split = True

    def __init__(self, split: str | None) -> None:
        self.name = f"by-package:{split}" if split else "by-package"
        self.split = split

    def documents(self) -> Iterator[Document]:
        for part in [self.split] if self.split else self.splits():
            yield Document(f"{part}-1", "", f"first of {part}")
            yield Document(f"{part}-2", "titled", "")

    def document_count(self) -> int:
        return 2 if self.split else 4

    def queries(self) -> list[Query]:
        # Not in the order of their ids, which the order of training follows.
        return [Query(f"{part}-q{n}", f"query {n}") for part in [self.split or "test"] for n in (2, 1)]

    def qrels(self) -> Qrels:
        if self.split is None:
            raise UsageError("choose a split")
        return {f"{self.split}-q2": {f"{self.split}-1": 2}, f"{self.split}-q1": {f"{self.split}-2": 1}}

    def splits(self) -> list[str]:
        return ["test", "train"]


class ByPackageSource(Source):
    name = "by-package"

    def claims(self, spec: str) -> bool:
        return spec == "by-package"

    def open(self, spec: str, split: str | None) -> Collection:
        return ByPackage(split)


@pytest.fixture(autouse=True)
def own_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registering in a test lasts as long as the test."""
    monkeypatch.setattr(sources, "_SOURCES", [ByPackageSource(), *sources._SOURCES])


def same(one: Collection, other: Collection) -> None:
    assert list(one.documents()) == list(other.documents())
    assert one.document_count() == other.document_count()
    assert one.queries() == other.queries()
    assert list(one.qrels().items()) == list(other.qrels().items())  # in the same order
    assert (one.split, one.splits()) == (other.split, other.splits())
    assert getattr(one, "documents_by_split", False) == getattr(other, "documents_by_split", False)


def wanted(toy: str) -> list[tuple[str, str]]:
    return [*((toy, split) for split in ("train", "dev", "test")), ("by-package", "")] + [
        ("by-package", split) for split in ("test", "train")
    ]


def test_each_split_is_what_it_was(tmp_path: Path) -> None:
    toy = str(write_toy_collection(tmp_path / "toy"))
    write_collections(wanted(toy), tmp_path / "bundled")
    source = BundleSource(tmp_path / "bundled")
    for name, split in ((toy, "train"), (toy, "dev"), ("by-package", "train"), ("by-package", "test")):
        assert source.claims(name)
        same(source.open(name, split), load_collection(name, split))
    whole = source.open("by-package", None)
    assert list(whole.documents()) == list(ByPackage(None).documents()) and whole.name == "by-package"
    with pytest.raises(UsageError, match="by-package has no judgments; choose a split: test, train"):
        whole.qrels()
    with pytest.raises(UsageError, match=r"by-package has no split 'dev' in this bundle; it has: test, train"):
        source.open("by-package", "dev")


def test_documents_are_written_once(tmp_path: Path) -> None:
    toy = str(write_toy_collection(tmp_path / "toy"))
    write_collections(wanted(toy), tmp_path / "bundled")
    # One of the toy collection, and of the other: all, those of test and those of train.
    assert len(list((tmp_path / "bundled").glob("*/corpus.jsonl"))) == 4


def test_they_are_found_before_all_others(tmp_path: Path) -> None:
    write_collections([("by-package", "train")], tmp_path / "bundled")
    for _ in range(2):
        use_bundled_collections(tmp_path / "bundled")
    assert sources.sources()[0].name == "bundle"
    found = load_collection("by-package:train")
    with pytest.raises(UsageError, match="by-package comes with its splits alone in this bundle; it has: train"):
        load_collection("by-package")
    assert found.name == "by-package:train" and len(list(found.documents())) == 2


def test_digests_follow_the_content(tmp_path: Path) -> None:
    toy = str(write_toy_collection(tmp_path / "toy"))
    write_collections(wanted(toy), tmp_path / "one")
    write_collections(wanted(toy), tmp_path / "two")
    before = collection_digests(tmp_path / "one")
    assert before == collection_digests(tmp_path / "two") and before[toy] != before["by-package"]
    (tmp_path / "toy" / "qrels" / "dev.tsv").write_text("q24\td24\t3\n")
    write_collections(wanted(toy), tmp_path / "three")
    after = collection_digests(tmp_path / "three")
    assert after["by-package"] == before["by-package"] and after[toy] != before[toy]
