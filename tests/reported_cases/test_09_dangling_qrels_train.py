"""Case 09, its half about training: judgments of what the collection does not have are left out, with one warning."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from iaa_retrieval.files import read_json
from iaa_retrieval.train import main

DANGLING = {"doc": "q3\tw99z\t1\n", "query": "q99\tw05a\t1\n"}


@pytest.fixture
def folder(reported_cases: Path, tmp_path: Path) -> Path:
    common = reported_cases / "common" / "beir"
    return Path(shutil.copytree(common, tmp_path / "collection", copy_function=shutil.copyfile))


@pytest.fixture
def train(folder: Path, tmp_path: Path, tiny_backbone: Callable[[str], Path]) -> Callable[..., Result]:
    words = ("--collection", folder, "--split", "train", "--max-steps", 2, "--batch-size", 4, "--train-max-length", 16)
    settings = ("--backbone", tiny_backbone("bert"), "--precision", "fp32", "--device", "cpu")
    output = ("--output", tmp_path / "ckpt")

    def run(kind: str, *others: object) -> Result:
        return CliRunner().invoke(main, [kind, *map(str, (*words, *settings, *output, *others))])

    return run


@pytest.mark.parametrize("what", ["doc", "query"])
def test_a_dangling_judgment_is_left_out_of_training_and_said(
    what: str, folder: Path, train: Callable[..., Result], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open(folder / "qrels" / "train.tsv", "a", encoding="utf-8") as stream:
        stream.write(DANGLING[what])
    result = train("bi-encoder")
    assert result.exit_code == 0, result.output
    missing = {"doc": "w99z", "query": "q99"}[what]
    warnings = [record.getMessage() for record in caplog.records if missing in record.getMessage()]
    assert len(warnings) == 1
    assert " 1 of 9 " in warnings[0]
    assert read_json(tmp_path / "ckpt" / "retriever.json")["training"]["queries"] == 8


@pytest.mark.parametrize("kind", ["bi-encoder", "cross-encoder"])
@pytest.mark.parametrize("what", ["doc", "query"])
def test_a_dangling_judgment_is_left_out_of_the_dev_queries_and_said(
    what: str, kind: str, folder: Path, train: Callable[..., Result], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    header, *judgments = (folder / "qrels" / "train.tsv").read_text().splitlines()
    dangling = {"doc": "q7\tw99z\t1", "query": "q99\tw05a\t1"}[what]
    for split, lines in (("train", judgments[:4]), ("dev", [*judgments[4:], dangling])):
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join([header, *lines]) + "\n")
    run = tmp_path / "run.trec"
    hits = [f"Q0 {doc_id} 1 {9 - rank} t" for rank, doc_id in enumerate(unjudged(folder)[:4])]
    run.write_text("".join(f"q{query} {hit}\n" for query in range(8) for hit in hits))
    result = train(kind, "--dev-split", "dev", "--negatives", run)
    assert result.exit_code == 0, result.output
    missing = {"doc": "w99z", "query": "q99"}[what]
    assert len([record for record in caplog.records if missing in record.getMessage()]) == 1
    assert read_json(tmp_path / "ckpt" / "retriever.json")["dev_scores"].keys() == {"nDCG@10", "MRR@10"}


def unjudged(folder: Path) -> list[str]:
    judged = (folder / "qrels" / "test.tsv").read_text().split()
    ids = [json.loads(line)["_id"] for line in (folder / "corpus.jsonl").read_text().splitlines()]
    return [doc_id for doc_id in ids if doc_id not in judged]


def test_judgments_of_which_every_document_dangles_are_an_error(folder: Path, train: Callable[..., Result]) -> None:
    path = folder / "qrels" / "train.tsv"
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join([header, *(f"{line.split()[0]}\tother-{n}\t1" for n, line in enumerate(lines))]) + "\n")
    result = train("bi-encoder")
    assert result.exit_code == 1
    assert "document 'other-0' is not in collection" in result.output
    assert "are these judgments of another collection?" in result.output
    assert "Traceback" not in result.output
