"""Collections in a bundle: directories in BEIR layout here, and there under the names that commands call them by."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import starmap
from pathlib import Path

from iaa_retrieval.collections.base import Collection, Source
from iaa_retrieval.collections.beir_directory import BeirDirectory
from iaa_retrieval.collections.beir_files import write_corpus, write_queries
from iaa_retrieval.collections.loading import load_collection
from iaa_retrieval.collections.sources import register_source, sources
from iaa_retrieval.collections.types import Document, Qrels, Query
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.files import files_below, read_json, sha256_of, write_json

TABLE = "collections.json"
UNSPLIT = ""  # where nobody names a split


@dataclass(frozen=True)
class BundledSplit:
    """Where one split of a collection is.

    Attributes:
        directory: in BEIR layout, below that of all collections.
        judgments: the directory's split that holds its judgments; None where it has none.
        split: what the collection itself calls it; None where it has no name for it.
    """

    directory: str
    judgments: str | None
    split: str | None
    split_was_chosen: bool
    documents_by_split: bool


def write_collections(wanted: Iterable[tuple[str, str]], target: Path) -> None:
    """Write collections below ``target``, those with the same documents into one directory.

    Args:
        wanted: names as ``load_collection`` takes them, without ``:SPLIT``, each with a split, or ``UNSPLIT``.

    Raises:
        UsageError: an unknown collection.
        IaaRetrievalError: damaged data, or a query id with two texts among collections of the same documents.
    """
    writer = _Writer(target)
    table: dict[str, dict[str, object]] = {}
    for name, split in wanted:
        part = load_collection(name, split or None)
        table.setdefault(name, {})[split] = asdict(writer.add(name, split, part))
    writer.close()
    write_json(target / TABLE, table)


def collection_digests(directory: Path) -> dict[str, str]:
    """Name of each bundled collection -> hash of all that it holds; hex."""
    table = read_json(directory / TABLE)
    hashes = {
        file.relative_to(directory).as_posix(): sha256_of(file) for file in files_below(directory) if file.name != TABLE
    }
    digests = {}
    for name, splits in table.items():
        digest = hashlib.sha256(json.dumps(splits, sort_keys=True).encode())
        held = {split["directory"] for split in splits.values()}
        judged = {f"{split['directory']}/qrels/{split['judgments']}.tsv" for split in splits.values()}
        for file, found in sorted(hashes.items()):
            # Judgments of another collection over the same documents do not matter to this one.
            if file in judged or (file.split("/")[0] in held and "/qrels/" not in file):
                digest.update(f"{file} {found}\n".encode())
        digests[name] = digest.hexdigest()
    return digests


class _Writer:
    """Directories in BEIR layout, one for each set of documents."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._directories: dict[str, str] = {}  # hash of the documents -> directory
        self._queries: dict[str, dict[str, str]] = {}

    def add(self, name: str, split: str, collection: Collection) -> BundledSplit:
        directory = self._directory_of(collection)
        queries = self._queries.setdefault(directory, {})
        for query_id, text in _queries_of(collection):
            if queries.setdefault(query_id, text) != text:
                raise IaaRetrievalError(f"query {query_id!r} of {name} has another text in a collection beside it")
        qrels = _qrels_of(collection)
        judgments = re.sub(r"[^\w-]+", "-", f"{name}--{split or 'all'}") if qrels else None
        if qrels:
            path = self._target / directory / "qrels" / f"{judgments}.tsv"
            path.parent.mkdir(exist_ok=True)
            # In the collection's own order, which ``write_qrels`` does not keep.
            lines = (f"{query}\t{doc}\t{grade}\n" for query, grades in qrels.items() for doc, grade in grades.items())
            path.write_text("query-id\tcorpus-id\tscore\n" + "".join(lines), encoding="utf-8")
        return BundledSplit(
            directory, judgments, collection.split, collection.split_was_chosen, collection.documents_by_split
        )

    def close(self) -> None:
        for directory, queries in self._queries.items():
            write_queries(self._target / directory / "queries.jsonl", starmap(Query, queries.items()))

    def _directory_of(self, collection: Collection) -> str:
        """Where its documents are; written only where those of no other are the same."""
        new = self._target / f"{len(self._directories):02d}"
        new.mkdir(parents=True)
        write_corpus(new / "corpus.jsonl", collection.documents())
        known = self._directories.setdefault(sha256_of(new / "corpus.jsonl"), new.name)
        if known != new.name:
            shutil.rmtree(new)
        return known


def _queries_of(collection: Collection) -> list[Query]:
    try:
        return collection.queries()
    except UsageError:  # it has none
        return []


def _qrels_of(collection: Collection) -> Qrels:
    try:
        return collection.qrels()
    except UsageError:  # no split was chosen, or it has none
        return {}


class BundledCollection(Collection):
    """A collection of a bundle, which says of itself what the original does."""

    def __init__(self, name: str, place: Path, part: BundledSplit, splits: list[str]) -> None:
        self.name = name
        self.split = part.split
        self.split_was_chosen = part.split_was_chosen
        self.documents_by_split = part.documents_by_split
        self._splits = splits
        self._judged = part.judgments is not None
        self._directory = BeirDirectory(place, part.judgments)

    def documents(self) -> Iterator[Document]:
        """See ``Collection``."""
        return self._directory.documents()

    def document_count(self) -> int:
        """See ``Collection``."""
        return self._directory.document_count()

    def queries(self) -> list[Query]:
        """See ``Collection``; those that are judged, where any are."""
        return self._directory.queries()

    def qrels(self) -> Qrels:
        """See ``Collection``."""
        if not self._judged:
            raise UsageError(f"{self.name} has no judgments; choose a split: {', '.join(self._splits) or 'none'}")
        return self._directory.qrels()

    def splits(self) -> list[str]:
        """See ``Collection``; those that the bundle brings."""
        return self._splits


class BundleSource(Source):
    """The collections of a bundle, asked for before any other source.

    Args:
        directory: what ``write_collections`` wrote.
    """

    name = "bundle"
    described = "a collection of the bundle"

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.before = sources()[0].name
        self._table: dict[str, dict[str, BundledSplit]] = {
            name: {split: BundledSplit(**part) for split, part in splits.items()}
            for name, splits in read_json(directory / TABLE).items()
        }

    def claims(self, spec: str) -> bool:
        """See ``Source``."""
        return spec in self._table

    def open(self, spec: str, split: str | None) -> Collection:
        """See ``Source``."""
        parts = self._table[spec]
        splits = sorted(set(parts) - {UNSPLIT})
        part = parts.get(split or UNSPLIT)
        if part is None:
            asked = f"has no split {split!r}" if split else "comes with its splits alone"
            raise UsageError(f"{spec} {asked} in this bundle; it has: {', '.join(splits) or 'none'}")
        name = f"{spec}:{split}" if split else spec
        return BundledCollection(name, self._directory / part.directory, part, splits)


def use_bundled_collections(directory: Path) -> None:
    """Have this process find the bundle's collections by their names, before any other of those names."""
    if BundleSource.name not in [source.name for source in sources()]:
        register_source(BundleSource(directory))
