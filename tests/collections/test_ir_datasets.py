"""Real collections; skipped where the data is not there."""

from pathlib import Path

import pytest

from iaa_retrieval.collections.loading import load_collection
from iaa_retrieval.collections.topics import read_topics
from iaa_retrieval.errors import IaaRetrievalError, UsageError


@pytest.fixture(autouse=True)
def home(irds_home: Path) -> None:
    """ir_datasets looks at its home when it is imported, so the copy must come first."""


def test_scifact() -> None:
    collection = load_collection("beir/scifact", split="train")
    assert collection.name == "beir/scifact/train"
    assert load_collection("beir/scifact/train").name == collection.name
    assert load_collection("beir/scifact:train").name == collection.name
    assert load_collection("beir/scifact/test", split="train").name == collection.name
    assert collection.document_count() == len(list(collection.documents())) == 5183
    assert len(collection.queries()) == len(collection.qrels()) == 809
    assert collection.splits() == load_collection("beir/scifact").splits() == ["test", "train"]
    assert (collection.split, collection.split_was_chosen) == ("train", False)
    assert load_collection("beir/scifact").split is None
    assert len(load_collection("beir/scifact").queries()) == 1109
    assert len(read_topics("beir/scifact/test")) == len(read_topics("beir/scifact:test")) == 300


def test_documents_by_id() -> None:
    collection = load_collection("beir/scifact")
    found = collection.get_documents(["4983", "31715818"])
    assert list(found) == ["4983", "31715818"]
    assert found["4983"].title.startswith("Microstructural development of human newborn")
    assert found["4983"] == next(collection.documents())
    with pytest.raises(IaaRetrievalError, match="document 'nope' is not in collection beir/scifact"):
        collection.get_documents(["4983", "nope"])
    assert collection.missing_documents(["no", "4983", "nope", "31715818", "no"]) == ["no", "nope"]


def test_judgments_need_a_split() -> None:
    with pytest.raises(UsageError, match="has no judgments; choose a split: test, train"):
        load_collection("beir/scifact").qrels()


def test_unknown_names() -> None:
    with pytest.raises(UsageError, match=r"unknown collection 'beir/scifacts'.* did you mean beir/scifact"):
        load_collection("beir/scifacts")
    with pytest.raises(UsageError, match="beir/scifact has no split 'dev'; available: test, train"):
        load_collection("beir/scifact", split="dev")
    with pytest.raises(UsageError, match="beir/arguana has no split 'nq'"):  # a neighbour, not a split
        load_collection("beir/arguana", split="nq")


def test_data_that_cannot_be_had_is_one_line() -> None:
    # Needs licensed files in the home, so it fails with and without a network.
    with pytest.raises(IaaRetrievalError, match="cannot read the documents of ir_datasets trec") as caught:
        next(load_collection("trec-robust04").documents())
    assert "\n" not in str(caught.value)


def test_msmarco_mini(data_dir: Path) -> None:
    directory = data_dir / "msmarco-mini"
    collection = load_collection(str(directory), "dl19-pool")
    assert collection.splits() == ["dev", "dl19", "dl19-pool", "train"]
    documents = {document.doc_id for document in collection.documents()}
    assert collection.document_count() == len(documents) == 42522
    assert len(collection.queries()) == 43
    # The pool's judgments are the official ones whose passage is in the corpus.
    official = load_collection(str(directory), "dl19").qrels()
    assert sum(map(len, official.values())) == 9260
    assert collection.qrels() == {
        query_id: {doc_id: grade for doc_id, grade in grades.items() if doc_id in documents}
        for query_id, grades in official.items()
    }
    assert len(load_collection(f"{directory}:train").queries()) == 11492
