"""Which split is trained on: the named one, else the one called train, and never a guess."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy_collection import write_toy_collection

from iaa_retrieval.errors import UsageError
from iaa_retrieval.files import read_json
from iaa_retrieval.training.options import TrainOptions
from iaa_retrieval.training.run import train_retriever
from iaa_retrieval.training.splits import dev_collection, training_collection


@pytest.fixture
def with_splits(tmp_path: Path) -> Callable[..., Path]:
    """``with_splits("dev", "test")``: the toy collection with the judgments of its train split under these names."""

    def make(*names: str) -> Path:
        directory = write_toy_collection(tmp_path / "-".join(names))
        judgments = (directory / "qrels" / "train.tsv").read_text()
        for path in (directory / "qrels").iterdir():
            path.unlink()
        for name in names:
            (directory / "qrels" / f"{name}.tsv").write_text(judgments)
        return directory

    return make


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (("train",), "train"),
        (("training",), "training"),
        (("dev", "test", "train"), "train"),
        (("test", "train", "training"), "train"),
        (("test", "training"), "training"),
    ],
)
def test_without_a_name_the_split_called_train_is_taken(
    names: tuple[str, ...], taken: str, with_splits: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    collection = training_collection(str(with_splits(*names)), None)
    assert collection.split == taken
    assert len(collection.qrels()) == 24
    assert caplog.text == ""


@pytest.mark.parametrize(
    "names", [("test",), ("dev",), ("dev", "test"), ("train-small",), ("2019",)], ids=lambda names: "+".join(names)
)
def test_without_a_name_no_other_split_is_taken(names: tuple[str, ...], with_splits: Callable[..., Path]) -> None:
    directory = with_splits(*names)
    with pytest.raises(UsageError) as refused:
        training_collection(str(directory), None)
    assert str(refused.value) == (
        f"{directory} has no split called train; it has {', '.join(names)}, and --split {names[-1]} trains on that one"
    )


def test_a_collection_without_judgments_says_so_itself(with_splits: Callable[..., Path]) -> None:
    directory = with_splits()
    with pytest.raises(UsageError, match=r"choose a split of .*; it has no qrels"):
        training_collection(str(directory), None).qrels()


def test_of_documents_alone_nothing_is_said_but_that_they_have_no_judgments(
    with_splits: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(UsageError, match=r"holds documents only; name a collection with judgments"):
        training_collection(str(with_splits() / "corpus.jsonl"), None).qrels()
    assert caplog.text == ""


@pytest.mark.parametrize("how", ["option", "name"])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("train", None),
        ("train-2019", None),
        ("test", "for testing"),
        ("test_small", "for testing"),
        ("dev", "for development"),
        ("valid", "for development"),
        ("2019", "does not say what its judgments are for"),
    ],
)
def test_a_named_split_is_taken_with_one_warning_if_its_name_is_not_trains(
    name: str, said: str | None, how: str, with_splits: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    directory = str(with_splits(name, "training"))
    by_option = how == "option"
    collection = training_collection(directory if by_option else f"{directory}:{name}", name if by_option else None)
    assert (collection.split, len(collection.qrels())) == (name, 24)
    messages = [record.getMessage() for record in caplog.records]
    if said is None:
        assert messages == []
    else:
        assert len(messages) == 1
        assert f"training on split {name} of {directory}" in messages[0]
        assert said in messages[0]


@pytest.mark.parametrize(
    ("spec", "split", "taken", "said"),
    [
        ("beir/scifact", None, "train", None),
        ("beir/scifact/train", None, "train", None),
        ("beir/scifact/test", "train", "train", None),
        ("beir/scifact", "test", "test", "for testing"),
        ("beir/scifact/test", None, "test", "for testing"),
        ("embedded", None, "train", None),
        ("embedded:test", None, "test", "for testing"),
    ],
)
def test_splits_of_ir_datasets_and_of_the_embedded_collection(
    spec: str,
    split: str | None,
    taken: str,
    said: str | None,
    irds_home: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert training_collection(spec, split).split == taken
    messages = [record.getMessage() for record in caplog.records]
    assert (messages == []) if said is None else (len(messages) == 1 and said in messages[0])


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("beir/arguana", "training on beir/arguana, whose name does not say what its judgments are for"),
        ("msmarco-passage/train/judged", None),
        ("msmarco-passage/train/split200-valid", "for development"),
        ("msmarco-passage/trec-dl-2019/judged", "does not say"),
    ],
)
def test_an_id_with_judgments_of_its_own(
    spec: str, said: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from iaa_retrieval.collections.ir_datasets_collection import IrDatasetsCollection

    monkeypatch.setattr(IrDatasetsCollection, "qrels", lambda self: {"q": {"d": 1}})  # instead of a download
    assert training_collection(spec, None).name == spec
    messages = [record.getMessage() for record in caplog.records]
    assert (messages == []) if said is None else (len(messages) == 1 and said in messages[0])


def test_choosing_the_checkpoint_by_test_queries_is_said(
    with_splits: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    directory = str(with_splits("train", "dev", "test"))
    assert dev_collection(directory, "dev").split == "dev"
    assert caplog.text == ""
    assert dev_collection(directory, "test").split == "test"
    assert [r.getMessage() for r in caplog.records if "the checkpoint is chosen by split test" in r.getMessage()]


@pytest.mark.parametrize(("spec", "split"), [("", None), (":train", None), ("", "train")])
def test_the_checkpoint_records_the_split_that_was_used(
    spec: str, split: str | None, toy: Any, toy_options: Callable[..., TrainOptions]
) -> None:
    from iaa_retrieval.options import changed

    options = changed(toy_options(max_steps=1), collection=f"{toy.collection}{spec}", split=split)
    output = train_retriever(options).output
    assert read_json(output / "retriever.json")["training"]["split"] == "train"
    assert "split: train\n" in (output / "train_config.yaml").read_text()


def test_dev_queries_that_are_training_queries_under_another_id_are_said(
    toy: Any, toy_options: Callable[..., TrainOptions], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from iaa_retrieval.options import changed
    from iaa_retrieval.training.judgments import load_judgments

    directory = write_toy_collection(tmp_path / "twice")
    queries = directory / "queries.jsonl"
    lines = queries.read_text().splitlines()
    lines[24] = lines[0].replace('"q0"', '"q24"')
    queries.write_text("\n".join(lines) + "\n")
    options = changed(toy_options(dev_split="dev"), collection=str(directory))
    load_judgments(options.data, options.dev, options.seed)
    assert "1 of 8 queries of dev split dev have the text of a training query (e.g. q24)" in caplog.text
