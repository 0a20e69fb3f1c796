"""The real collection, where it has been fetched already or may be: ``pytest -m regression`` fetches it."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from iaa_retrieval.cache import cache_directory
from iaa_retrieval.collections.code_pairs import normalized
from iaa_retrieval.collections.loading import load_collection
from iaa_retrieval.collections.package_wheels import PACKAGES
from iaa_retrieval.collections.python_packages import COUNTS, DIGEST, NAME, SPLITS, built_directory, digest_of

PAGE = Path(__file__).parents[2] / "docs" / "python-packages.md"

pytestmark = [
    pytest.mark.regression,
]


@pytest.fixture(scope="module")
def built() -> Path:
    return built_directory()


def test_same_bytes_as_everywhere(built: Path) -> None:
    assert digest_of(built) == DIGEST
    assert built.parent == cache_directory()


def test_sizes(built: Path) -> None:
    train, dev, test = (load_collection(NAME, split) for split in ("train", "dev", "test"))
    assert len(train.queries()) > 40_000
    assert len(dev.queries()) == 1000
    assert len(test.queries()) == 2000
    assert 10_000 < (test.document_count() or 0) < 11_000
    assert len(load_collection(NAME, "test-small").queries()) == 300


def test_no_package_text_or_sentence_is_in_two_splits(built: Path) -> None:
    seen: dict[str, Counter[str]] = {"package": Counter(), "text": Counter(), "sentence": Counter()}
    for split in SPLITS:
        collection = load_collection(NAME, split)
        documents = list(collection.documents())
        seen["package"].update({document.doc_id.partition(".")[0] for document in documents})
        seen["text"].update({document.text for document in documents})
        seen["sentence"].update({normalized(query.text) for query in collection.queries()})
    for what, counts in seen.items():
        assert max(counts.values()) == 1, what


def test_the_page_says_what_is_in_it(built: Path) -> None:
    page = PAGE.read_text()
    counts = json.loads((built / COUNTS).read_text())
    assert set(counts) == {package.name for package in PACKAGES}
    for package in PACKAGES:
        numbers = counts[package.name]
        assert re.search(
            rf"^\| {package.split} \| \[{package.name}\]\(\S+/{package.version}/\) \| {package.version} "
            rf"\| {re.escape(package.licence)} \| {numbers['documented']:,} \| {numbers['documents']:,} \|$",
            page,
            re.MULTILINE,
        ), package.name
    for split in SPLITS:
        collection = load_collection(NAME, split)
        assert f"| `{split}` | {collection.document_count():,} | {len(collection.queries()):,} |" in page
