"""``python-packages``: find the code of well-known Python packages that a sentence describes.

A collection on which a retriever has much to learn. What a query and its document are:
``iaa_retrieval.collections.code_pairs``; which packages: ``iaa_retrieval.collections.package_wheels``. A package is in
one split, and each split has documents of its own, those of its packages: training sees no project that is tested.

It is fetched and built once, into a directory in BEIR layout per split below the cache, always with the same bytes, and
read from there ever after. No code of the packages is imported.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from iaa_retrieval.cache import cache_directory
from iaa_retrieval.collections.base import Collection, Source
from iaa_retrieval.collections.beir_directory import BeirDirectory
from iaa_retrieval.collections.beir_files import write_corpus, write_queries
from iaa_retrieval.collections.code_definitions import Definition, definitions_in, module_name
from iaa_retrieval.collections.code_pairs import CodePair, CodePairs
from iaa_retrieval.collections.near_duplicates import NearDuplicates
from iaa_retrieval.collections.package_wheels import PACKAGES, Package, fetch_wheels
from iaa_retrieval.collections.qrels_files import write_qrels
from iaa_retrieval.collections.types import Document, Qrels, Query
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.files import atomic_directory, files_below, sha256_of, write_json
from iaa_retrieval.progress import progress
from iaa_retrieval.work_in_progress import locked

LOG = logging.getLogger("iaa_retrieval")

NAME = "python-packages"
# Whose queries come first: of two near duplicates the one that is tested stays, so that nothing tested is trained on.
SPLITS = ("test", "dev", "train")
QUERIES = {"test": 2000, "dev": 1000}  # of all that there are, by a hash of their ids; training has all
SMALL, SMALL_QUERIES = "test-small", 300  # of the test queries, over the same documents, for what is slow
# Of all files (see ``digest_of``): the same on every machine, or it is not this collection.
DIGEST = "8b73f3373406007e9069ac46092b7881c333b212c0136348f12e9671d68ffea3"
COUNTS = "counts.json"

_SKIPPED_DIRECTORIES = {
    "test", "tests", "testing", "conftest.py", "_vendor", "vendor", "_vendored", "externals", "extern", "examples",
}  # fmt: skip


class PythonPackages(Collection):
    """The documents of one split's packages with its queries, or without a split all documents."""

    documents_by_split = True

    def __init__(self, split: str | None) -> None:
        if split is not None and split not in self.splits():
            raise UsageError(f"{NAME} has no split {split!r}; available: {', '.join(self.splits())}")
        self.split = split
        self.name = f"{NAME}:{split}" if split else NAME

    def documents(self) -> Iterator[Document]:
        return chain.from_iterable(part.documents() for part in self._parts())

    def document_count(self) -> int:
        return sum(part.document_count() for part in self._parts())

    def queries(self) -> list[Query]:
        return [query for part in self._parts() for query in part.queries()]

    def qrels(self) -> Qrels:
        if self.split is None:
            raise UsageError(f"choose a split of {NAME}; available: {', '.join(self.splits())}")
        return self._parts()[0].qrels()

    def splits(self) -> list[str]:
        return sorted((*SPLITS, SMALL))

    def _parts(self) -> list[BeirDirectory]:
        built = built_directory()
        if self.split == SMALL:
            return [BeirDirectory(built / "test", SMALL)]
        return [BeirDirectory(built / split, split) for split in SPLITS if self.split in (None, split)]


class PythonPackagesSource(Source):
    """The one collection of released packages."""

    name = NAME

    def claims(self, spec: str) -> bool:
        return spec == NAME

    def open(self, spec: str, split: str | None) -> Collection:
        return PythonPackages(split)

    def data_files(self, spec: str) -> Iterable[Path]:
        return sorted(files_below(built_directory()))

    def known_names(self) -> Iterable[str]:
        return (NAME,)


def built_directory() -> Path:
    """Where the collection is, with a directory in BEIR layout per split; made where it is not there yet.

    Raises:
        IaaRetrievalError: the packages cannot be fetched, or what is made of them is not this collection.
    """
    directory = cache_directory() / f"{NAME}-{DIGEST[:12]}"
    if not directory.is_dir():
        with locked(directory):
            if not directory.is_dir():
                _fetch_and_build(directory)
    return directory


def _fetch_and_build(directory: Path) -> None:
    LOG.info("fetching %d packages (about 130 MB, once) for %s", len(PACKAGES), directory)
    with tempfile.TemporaryDirectory(prefix=f"{NAME}-") as wheels, atomic_directory(directory) as partial:
        build(fetch_wheels(Path(wheels)), partial)
        digest = digest_of(partial)
        if digest != DIGEST:
            raise IaaRetrievalError(
                f"the packages gave other files than they should (hash {digest[:12]} instead of {DIGEST[:12]}), so "
                f"that scores on {NAME} could not be compared; this Python reads their source differently"
            )


def digest_of(directory: Path) -> str:
    """SHA-256 of the names and hashes of all files of a built collection; hex."""
    digest = hashlib.sha256()
    for file in sorted(files_below(directory)):
        digest.update(f"{file.relative_to(directory).as_posix()} {sha256_of(file)}\n".encode())
    return digest.hexdigest()


def build(wheels: dict[Package, Path], directory: Path) -> None:
    """Write each split in BEIR layout, and how much every package gave.

    Args:
        wheels: package -> its wheel, which is read as the archive that it is.
        directory: an empty one.
    """
    pairs, seen = CodePairs(), NearDuplicates()
    counts: dict[str, dict[str, int]] = {}
    bar = progress(total=len(wheels), desc="reading packages", unit="package")
    for split in SPLITS:
        kept: list[CodePair] = []
        for package in sorted(package for package in wheels if package.split == split):
            found = list(definitions_of(wheels[package]))
            eligible = list(pairs.of(found))
            new = [pair for pair in eligible if seen.add(pair.document.text)]
            kept += new
            counts[package.name] = {"documented": len(found), "eligible": len(eligible), "documents": len(new)}
            bar.update()
            LOG.info("%s %s: %d documents", package.name, package.version, len(new))
        judged = _drawn(kept, QUERIES.get(split))
        (directory / split / "qrels").mkdir(parents=True)
        write_corpus(directory / split / "corpus.jsonl", (pair.document for pair in kept))
        write_queries(directory / split / "queries.jsonl", (pair.query for pair in judged))
        write_qrels(directory / split / "qrels" / f"{split}.tsv", _qrels_of(judged))
        if split == "test":
            write_qrels(directory / split / "qrels" / f"{SMALL}.tsv", _qrels_of(_drawn(judged, SMALL_QUERIES)))
        LOG.info("%s: %d documents, %d queries", split, len(kept), len(judged))
    bar.close()
    write_json(directory / COUNTS, counts)


def definitions_of(wheel: Path) -> Iterator[Definition]:
    """The documented definitions of a wheel's modules, by their names; tests and vendored packages are left out."""
    found: list[Definition] = []
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            parts = tuple(name.split("/"))
            if name.endswith(".py") and _SKIPPED_DIRECTORIES.isdisjoint(parts):
                found += definitions_in(archive.read(name), module_name(parts))
    return iter(sorted(found, key=lambda definition: definition.name))


def _drawn(pairs: list[CodePair], most: int | None) -> list[CodePair]:
    """All pairs, or so many of them by a hash of their ids, in their order."""
    by_hash = sorted(pairs, key=lambda pair: hashlib.sha256(pair.query.query_id.encode()).digest())
    drawn = {pair.query.query_id for pair in by_hash[:most]}
    return [pair for pair in pairs if pair.query.query_id in drawn]


def _qrels_of(pairs: list[CodePair]) -> Qrels:
    return {pair.query.query_id: {pair.document.doc_id: 1} for pair in pairs}
