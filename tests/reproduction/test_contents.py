import os
import shutil
from pathlib import Path

import pytest

from iaa_retrieval.collections import sources
from iaa_retrieval.collections.base import Collection, Source
from iaa_retrieval.files import sha256_of
from iaa_retrieval.reproduction.contents import ABSENT, Digests, contents_of, named_in


def test_words_that_may_name_something() -> None:
    command = (
        'python -m iaa_retrieval.train bi-encoder --collection "$DATA/toy" --split train --negatives {bm25.trec} '
        "--backbone=models/bert --lr 1e-3 docs/file --resume --output {output}"
    )
    assert named_in(command) == ["$DATA/toy", "1e-3", "docs/file", "iaa_retrieval.train", "models/bert", "train"]


def test_what_is_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy" / "qrels").mkdir(parents=True)
    (tmp_path / "toy" / "corpus.jsonl").write_text("a")
    (tmp_path / "toy" / "qrels" / "test.tsv").write_text("b")
    digests = Digests(tmp_path / "record.json")
    found = contents_of(["$DATA/toy", "toy:test", "toy/corpus.jsonl", "train", "1e-3", "no/such/path"], digests)
    assert set(found) == {"$DATA/toy", "toy:test", "toy/corpus.jsonl"}
    assert found["$DATA/toy"] == found["toy:test"]
    assert found["toy/corpus.jsonl"] == sha256_of("toy/corpus.jsonl")
    (tmp_path / "toy" / "qrels" / "test.tsv").write_text("c")
    assert contents_of(["toy"], digests)["toy"] != found["toy:test"]
    # Names count, not only bytes.
    before = digests.of(tmp_path / "toy")
    (tmp_path / "toy" / "corpus.jsonl").rename(tmp_path / "toy" / "other.jsonl")
    assert digests.of(tmp_path / "toy") != before


def test_a_backbone_by_its_short_name(tmp_path: Path) -> None:
    [digest] = contents_of(["all-MiniLM-L6-v2"], Digests(tmp_path / "record.json")).values()
    assert digest != ABSENT


class ShelfSource(Source):
    """``shelf:FOLDER``, whose data are two files of that folder."""

    name = "shelf"

    def claims(self, spec: str) -> bool:
        return spec.startswith("shelf:")

    def open(self, spec: str, split: str | None) -> Collection:
        raise NotImplementedError

    def data_files(self, spec: str) -> list[Path]:
        folder = Path(spec.removeprefix("shelf:"))
        return [path for path in (folder / "texts.db", folder / "judged" / "qrels.db") if path.is_file()]


def test_a_collection_of_a_registered_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_SOURCES", [*sources._SOURCES, ShelfSource()])
    name = f"shelf:{tmp_path}"
    digests = Digests(tmp_path / "record.json")
    assert contents_of([name], digests) == {name: ABSENT}
    (tmp_path / "texts.db").write_text("a")
    (tmp_path / "notes.txt").write_text("a")
    found = contents_of([name], digests)
    (tmp_path / "notes.txt").write_text("b")
    assert contents_of([name], digests) == found
    (tmp_path / "judged").mkdir()
    (tmp_path / "judged" / "qrels.db").write_text("b")
    judged = contents_of([name], digests)
    (tmp_path / "texts.db").write_text("other")
    changed = contents_of([name], digests)
    assert len({ABSENT, found[name], judged[name], changed[name]}) == 4


def test_a_collection_of_the_catalogue(irds_home: Path, tmp_path: Path) -> None:
    """Its sources count, not what ir_datasets makes of them when it first reads them."""
    digests = Digests(tmp_path / "record.json")
    found = contents_of(["beir/scifact/test"], digests)
    source = irds_home / "beir" / "scifact"
    (source / "queries.json").touch()
    (source / "other.qrels").touch()
    (source / "docs.pklz4").mkdir(exist_ok=True)
    (source / "docs.pklz4" / "bin.more").touch()
    assert contents_of(["beir/scifact/test"], digests) == found
    for name in ("queries.json", "other.qrels", "docs.pklz4/bin.more"):
        os.unlink(source / name)
    kept = tmp_path / "kept.zip"
    shutil.copyfile(source / "source.zip", kept)
    try:
        with open(source / "source.zip", "ab") as stream:
            stream.write(b"more")
        assert contents_of(["beir/scifact/test"], digests) != found
    finally:
        shutil.copyfile(kept, source / "source.zip")
    assert contents_of(["beir/dbpedia-entity"], digests) == {"beir/dbpedia-entity": ABSENT}
