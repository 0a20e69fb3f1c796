"""A cross-encoder without a run: BM25's is made beside the output, kept and found again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from interruptions import Killed, kill_at_epoch

from iaa_retrieval.collections import sources
from iaa_retrieval.collections.base import Collection, Source
from iaa_retrieval.collections.beir_directory import BeirDirectory
from iaa_retrieval.collections.runs import read_run
from iaa_retrieval.collections.types import Document, Query, Run
from iaa_retrieval.errors import UsageError
from iaa_retrieval.java import find_java
from iaa_retrieval.jobs import first_stage
from iaa_retrieval.jobs.train import train_cross_encoder
from iaa_retrieval.models.retriever_config import read_retriever_config
from iaa_retrieval.pyserini_plugin.lucene_index import IndexReport
from iaa_retrieval.training import default_dev
from iaa_retrieval.training.options import TrainOptions
from iaa_retrieval.training.run import train_retriever

pytestmark = [
    pytest.mark.skipif(find_java() is None, reason="no Java 21 or newer on this machine"),
    pytest.mark.usefixtures("same_environment"),
]


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(default_dev, "FEWEST_DEV_QUERIES", 2)


def values(toy: Any, output: Path, **others: Any) -> dict[str, Any]:
    small = {"collection": toy.collection, "backbone": toy.backbone, "batch_size": 8, "r": 3, "ar": 3}
    return {**small, "precision": "fp32", "device": "cpu", "max_steps": 2, "output": output, **others}


def files(folder: Path) -> list[str]:
    return sorted(path.name.rsplit("-", 1)[0] for path in folder.iterdir())


@pytest.fixture
def without_lucene(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of Lucene, which takes seconds to start: a file of ids, and a search that finds all of them."""

    def build(collection: Collection, output: Path, **_: object) -> IndexReport:
        ids = [document.doc_id for document in collection.documents()]
        output.mkdir(parents=True)
        (output / "ids").write_text("\n".join(ids))
        return IndexReport(output, len(ids), 0)

    def search(index: Path, queries: Sequence[Query], *, hits: int, **_: object) -> Run:
        ids = (index / "ids").read_text().split()
        found = dict(zip(ids[:hits], range(hits, 0, -1), strict=False))
        return {query.query_id: {doc_id: float(score) for doc_id, score in found.items()} for query in queries}

    monkeypatch.setattr(first_stage, "build_index", build)
    monkeypatch.setattr(first_stage, "bm25_run", search)


def test_with_no_option_but_the_collection(toy: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "iaa_retrieval")
    result = train_cross_encoder(**values(toy, tmp_path / "one"))
    folder = tmp_path / "bm25-toy"
    assert files(folder) == ["bm25-dev", "bm25-train", "index"]
    (train,), (dev,) = folder.glob("bm25-train-*"), folder.glob("bm25-dev-*")
    assert sorted(read_run(train)) == sorted(f"q{number}" for number in range(24))
    assert sorted(read_run(dev)) == sorted(f"q{number}" for number in range(24, 32))
    # A query is three words of its document, which BM25 finds first.
    assert all(max(hits, key=hits.__getitem__) == f"d{query_id[1:]}" for query_id, hits in read_run(train).items())
    config = read_retriever_config(result.output)
    assert config is not None and config.interpolation is not None
    assert (config.training["negatives"], config.training["split"]) == (train.name, "train")
    assert (config.interpolation.first_stage, config.interpolation.tag) == (dev.name, "bm25")
    # BM25 is perfect here, and no re-ranker better.
    assert (config.interpolation.weight, config.interpolation.first_stage_score) == (0.0, 1.0)
    saved = yaml.safe_load((result.output / "train_config.yaml").read_text())
    assert (saved["negatives"], saved["dev_run"]) == (str(train), str(dev))
    assert f"hits of 24 queries written to {train}" in caplog.text
    assert f"40 documents indexed in {folder}" in caplog.text
    # A second training beside it finds all of that, one with other queries the index.
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    caplog.clear()
    train_cross_encoder(**values(toy, tmp_path / "two", method="lora", ar=None))
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert f"hits of 24 queries found in {train}" in caplog.text
    third = train_cross_encoder(**values(toy, tmp_path / "three", dev_fraction=0.25, train_queries=10, max_steps=1))
    assert files(folder) == ["bm25-dev", "bm25-train", "bm25-train", "index"]
    config = read_retriever_config(third.output)
    assert config is not None and config.interpolation is not None
    (both,) = set(folder.glob("bm25-train-*")) - {train}
    # The held-out queries are of the same collection, and stand in the same run.
    assert (len(read_run(both)), config.training["queries"], config.interpolation.queries) == (16, 10, 6)
    assert config.interpolation.first_stage == both.name


@pytest.mark.usefixtures("without_lucene")
def test_a_resumed_run_takes_the_same_run(toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = values(toy, tmp_path / "out", epochs=2.0, max_steps=-1)
    with pytest.MonkeyPatch.context() as patch:
        kill_at_epoch(patch, 1)
        with pytest.raises(Killed):
            train_cross_encoder(**asked)
    monkeypatch.setattr(first_stage, "bm25_run", lambda *_, **__: pytest.fail("searched again"))
    monkeypatch.setattr(first_stage, "build_index", lambda *_, **__: pytest.fail("indexed again"))
    resumed = train_cross_encoder(**asked, resume=True)
    assert resumed.dev_scores
    # Other documents are another index: nothing stale is taken.
    collection = shutil.copytree(toy.collection, tmp_path / "other" / "toy")
    corpus = collection / "corpus.jsonl"
    corpus.write_text(corpus.read_text().replace("water", "wine"))
    with pytest.raises(pytest.fail.Exception, match="indexed again"):
        train_cross_encoder(**values(toy, tmp_path / "two") | {"collection": collection})


def test_a_run_that_is_named_is_taken(toy: Any, tmp_path: Path) -> None:
    train_cross_encoder(**values(toy, tmp_path / "one", negatives=toy.run))
    train_cross_encoder(**values(toy, tmp_path / "two", teacher=toy.run))
    assert not (tmp_path / "bm25-toy").exists()


def test_several_processes_do_not_make_one(toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match=r"2 processes cannot make a first stage together; give a run .* --negatives"):
        train_cross_encoder(**values(toy, tmp_path / "one"))


def test_the_training_itself_makes_none(toy: Any, tmp_path: Path) -> None:
    paths = {"collection": toy.collection, "backbone": toy.backbone, "output": tmp_path / "one", "device": "cpu"}
    options = TrainOptions.of(kind="cross-encoder", **{k: str(v) for k, v in paths.items()}, max_steps=1)
    with pytest.raises(UsageError, match="a cross-encoder learns from negatives; give a first-stage run"):
        train_retriever(options)


class SplitDocuments(BeirDirectory):
    """The toy collection with documents of each split's own: those of its queries."""

    documents_by_split = True

    def documents(self) -> Iterator[Document]:
        wanted = {doc_id for grades in self.qrels().values() for doc_id in grades}
        return (document for document in super().documents() if document.doc_id in wanted)


class SplitSource(Source):
    name = "split-documents"

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def claims(self, spec: str) -> bool:
        return spec == self.name

    def open(self, spec: str, split: str | None) -> Collection:
        collection = SplitDocuments(self.directory, split)
        collection.name = f"{spec}:{split}" if split else spec
        return collection


@pytest.mark.usefixtures("without_lucene")
def test_dev_queries_search_the_documents_of_their_own_split(
    toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_SOURCES", [SplitSource(toy.collection), *sources._SOURCES])
    result = train_cross_encoder(**values(toy, tmp_path / "one") | {"collection": "split-documents"})
    folder = tmp_path / "bm25-split-documents"
    assert files(folder) == ["bm25-dev", "bm25-train", "index", "index"]
    for name, numbers in (("train", range(24)), ("dev", range(24, 32))):
        run = read_run(next(folder.glob(f"bm25-{name}-*")))
        assert {doc_id for hits in run.values() for doc_id in hits} == {f"d{number}" for number in numbers}
    config = read_retriever_config(result.output)
    assert config is not None and config.interpolation is not None and config.interpolation.queries == 8
