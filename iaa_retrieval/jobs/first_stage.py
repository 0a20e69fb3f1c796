"""BM25 runs for training a re-ranker where no run is named, kept beside the output and used again."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from iaa_retrieval.collections.base import Collection
from iaa_retrieval.collections.loading import split_spec
from iaa_retrieval.collections.runs import read_run, write_run
from iaa_retrieval.collections.types import Document, Query
from iaa_retrieval.progress import progress
from iaa_retrieval.pyserini_plugin.bm25 import K1, B, bm25_run
from iaa_retrieval.pyserini_plugin.lucene_index import build_index
from iaa_retrieval.training.judgments import Judgments, scored_dev_queries
from iaa_retrieval.training.options import TrainOptions
from iaa_retrieval.training.run import FirstStage
from iaa_retrieval.versions import library_versions
from iaa_retrieval.work_in_progress import locked

LOG = logging.getLogger("iaa_retrieval")

HITS = 100  # of each query, unless the options look deeper
TAG = "bm25"


class _Index(NamedTuple):
    """A Lucene index, and the hash of the documents in it."""

    path: Path
    digest: str


def first_stage_folder(options: TrainOptions) -> Path:
    """Where the BM25 runs and indexes of a collection lie: beside the output, so that trainings there share them."""
    name = split_spec(options.data.collection)[0]
    name = Path(name).resolve().name if Path(name).expanduser().exists() else name
    return Path(options.output).parent / f"bm25-{re.sub(r'[^A-Za-z0-9._]+', '-', name).strip('-')}"


def make_first_stage(options: TrainOptions, judgments: Judgments) -> FirstStage:
    """Search with BM25 for the training queries and for the dev queries that are scored, or find these runs.

    What is made is named after a hash of all that it depends on (documents, queries, settings and versions), so what
    is there under its name is what would be made. The dev queries search the documents of their own split, where the
    collection keeps them apart.

    Raises:
        IaaRetrievalError: no Java, documents that Lucene cannot take, or another process makes the same.
    """
    folder = first_stage_folder(options)
    collection, with_dev = judgments.collection, judgments.dev_collection
    train, dev = set(judgments.train), set(scored_dev_queries(judgments, options.dev, options.seed))
    hits = max(HITS, options.data.negative_ranks[1], options.dev.dev_depth)
    LOG.info("no --negatives were named: they are taken from BM25, in %s", folder)
    with locked(folder):
        index = _index(collection, folder)
        if with_dev is collection or options.dev.dev_run or not dev:
            wanted = train if options.dev.dev_run else train | dev
            return FirstStage(str(_run(index, _texts(collection, wanted), hits, folder / "bm25-train")))
        of_train = _run(index, _texts(collection, train), hits, folder / "bm25-train")
        if with_dev.documents_by_split:
            index = _index(with_dev, folder)
        return FirstStage(str(of_train), str(_run(index, _texts(with_dev, dev), hits, folder / "bm25-dev")))


def _texts(collection: Collection, ids: set[str]) -> list[Query]:
    return sorted(query for query in collection.queries() if query.query_id in ids)


def _index(collection: Collection, folder: Path) -> _Index:
    digest = _digest_of_documents(progress(collection.documents(), desc="reading documents", unit="doc"))
    path = folder / f"index-{digest[:8]}"
    if not path.is_dir():
        made = build_index(collection, path, threads=os.cpu_count() or 1)
        LOG.info("BM25: %d documents indexed in %s", made.documents, path)
    return _Index(path, digest)


def _run(index: _Index, queries: list[Query], hits: int, stem: Path) -> Path:
    pyserini = library_versions().get("pyserini", "")
    made_of = [index.digest, queries, hits, K1, B, pyserini]
    path = stem.with_name(f"{stem.name}-{hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:8]}.trec")
    found = path.is_file()
    if not found:
        write_run(path, bm25_run(index.path, queries, hits=hits, threads=os.cpu_count() or 1), TAG)
    LOG.info(
        "BM25: %d hits of %d queries %s %s",
        sum(map(len, read_run(path).values())),
        len(queries),
        "found in" if found else "written to",
        path,
    )
    return path


def _digest_of_documents(documents: Iterable[Document]) -> str:
    digest = hashlib.sha256()
    for document in documents:
        digest.update(json.dumps([document.doc_id, document.contents]).encode() + b"\n")
    return digest.hexdigest()
