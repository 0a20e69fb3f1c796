from collections.abc import Iterator
from dataclasses import replace

import pytest

from iaa_retrieval.collections.base import Collection
from iaa_retrieval.collections.types import Document, Qrels, Query
from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.training.data import Example, ExampleDataset, TrainingData, load_training_data


class InMemory(Collection):
    """Documents a-f, the last one empty; queries 1, 2 and 3, the last one empty."""

    name = "memory"

    def documents(self) -> Iterator[Document]:
        for doc_id in "abcde":
            yield Document(doc_id, doc_id.upper(), f"text of {doc_id}")
        yield Document("f", "", "")

    def document_count(self) -> int:
        return 6

    def queries(self) -> list[Query]:
        return [Query("1", "one"), Query("2", "two"), Query("3", " ")]

    def qrels(self) -> Qrels:
        return {}

    def splits(self) -> list[str]:
        return []


def test_texts_positives_and_negatives_are_gathered() -> None:
    data = load_training_data(InMemory(), {"2": {"c": 1, "b": 2, "d": 0}, "1": {"e": 1}}, {"2": ["d", "a"]})
    assert data.queries == {"1": "one", "2": "two"}
    assert data.positives == {"1": ["e"], "2": ["b", "c"]}
    assert data.negatives == {"1": [], "2": ["d", "a"]}
    assert data.passages == {doc_id: f"{doc_id.upper()} text of {doc_id}" for doc_id in "abcde"}


def test_queries_without_a_relevant_document_are_left_out() -> None:
    data = load_training_data(InMemory(), {"1": {"a": 1}, "2": {"b": 0}}, {"2": ["c"]})
    assert (data.queries, data.positives, data.negatives) == ({"1": "one"}, {"1": ["a"]}, {"1": []})


def test_empty_documents_are_left_out() -> None:
    data = load_training_data(InMemory(), {"1": {"a": 1}, "2": {"b": 1, "f": 1}}, {"1": ["f", "c"]})
    assert data.positives == {"1": ["a"], "2": ["b"]}
    assert data.negatives == {"1": ["c"], "2": []}


@pytest.mark.parametrize(
    ("qrels", "negatives", "message"),
    [
        ({}, {}, "memory: no query has a relevant document"),
        ({"1": {"a": 0}}, {}, "memory: no query has a relevant document"),
        ({"9": {"a": 1}}, {}, "judge query 9, which its queries do not have"),
        ({"1": {"z": 1}}, {}, "document 'z' is not in collection memory"),
        ({"1": {"a": 1}}, {"1": ["z"]}, "document 'z' is not in collection memory"),
        ({"1": {"a": 1, "b": 1}}, {"1": ["c", "b"]}, "document b is both relevant to query 1 and"),
        ({"3": {"a": 1}}, {}, "memory: query 3 is empty"),
        ({"1": {"f": 1}}, {}, "memory: every relevant document is empty"),
    ],
)
def test_data_that_cannot_be_trained_on(qrels: Qrels, negatives: dict[str, list[str]], message: str) -> None:
    with pytest.raises(IaaRetrievalError, match=message):
        load_training_data(InMemory(), qrels, negatives)


def test_a_negative_that_the_collection_lacks_is_named_with_the_run_that_has_it() -> None:
    with pytest.raises(
        IaaRetrievalError, match=r"^bm25\.trec: document 'y' \(and 1 more\) is not in collection memory$"
    ):
        load_training_data(InMemory(), {"1": {"a": 1}}, {"1": ["y", "b", "z"]}, "bm25.trec")


def test_judgments_of_what_the_collection_lacks_are_left_out_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    qrels = {"1": {"a": 1, "y": 1, "zero": 0}, "2": {"z": 1}, "3": {"b": 1}, "9": {"c": 1}}
    data = load_training_data(InMemory(), qrels, {"1": ["d"], "2": ["e"]})
    assert (data.queries, data.positives, data.negatives) == ({"1": "one"}, {"1": ["a"]}, {"1": ["d"]})
    assert [record.getMessage() for record in caplog.records] == [
        "memory: 2 of 4 judged queries are missing from its queries or empty (e.g. 9); left out of training",
        "memory: 2 of 3 judged documents are not in it (e.g. y of query 1); left out of training",
    ]


def test_relevant_documents_without_text_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    load_training_data(InMemory(), {"1": {"a": 1, "f": 1}}, {})
    assert "memory: 1 relevant documents are empty (e.g. f); left out of training" in caplog.text


@pytest.mark.parametrize(
    ("qrels", "message"),
    [
        ({"8": {"a": 1}, "9": {"a": 1}}, "judge query 8, .* none of the 2 judged queries has a text"),
        ({"1": {"y": 1, "z": 1}, "2": {"z": 1}}, "document 'y' is not in collection memory, nor is any other of its 3"),
    ],
)
def test_judgments_of_another_collection(qrels: Qrels, message: str) -> None:
    with pytest.raises(IaaRetrievalError, match=f"{message}.*; are these judgments of another collection"):
        load_training_data(InMemory(), qrels, {})


def many(negatives: dict[str, list[str]] | None = None) -> TrainingData:
    """Five queries with two relevant documents and ten negatives each, unless ``negatives`` says otherwise."""
    positives = {f"q{n}": [f"p{n}a", f"p{n}b"] for n in range(5)}
    mined = {f"q{n}": [f"n{n}-{k}" for k in range(10)] for n in range(5)} if negatives is None else negatives
    return TrainingData({}, {}, positives, mined)


def draws(dataset: ExampleDataset) -> list[Example]:
    return [dataset[index] for index in range(len(dataset))]


def test_one_example_for_each_relevant_document() -> None:
    dataset = ExampleDataset(many(), 3, seed=1)
    examples = draws(dataset)
    assert [(e.query_id, e.passage_ids[0]) for e in examples] == [(f"q{n}", f"p{n}{x}") for n in range(5) for x in "ab"]
    for example in examples:
        own = {f"n{example.query_id[1:]}-{k}" for k in range(10)}
        assert len(set(example.passage_ids[1:])) == 3
        assert set(example.passage_ids[1:]) <= own


def test_draws_depend_on_seed_epoch_and_position_only() -> None:
    dataset = ExampleDataset(many(), 3, seed=1)
    first = draws(dataset)
    assert draws(dataset) == first
    assert [dataset[index] for index in reversed(range(10))] == first[::-1]
    assert draws(ExampleDataset(many(), 3, seed=1)) == first
    assert draws(ExampleDataset(many(), 3, seed=2)) != first
    dataset.set_epoch(1)
    second = draws(dataset)
    assert second != first
    assert [(e.query_id, e.passage_ids[0]) for e in second] == [(e.query_id, e.passage_ids[0]) for e in first]
    dataset.set_epoch(0)
    assert draws(dataset) == first


def test_missing_negatives_are_borrowed_and_never_relevant() -> None:
    # Query 0 has one negative; all that it can borrow are x, y and its own relevant documents.
    negatives = {"q0": ["own"], "q1": ["x", "p0a", "p0b"], "q2": ["y", "x", "own"]}
    dataset = ExampleDataset(many(negatives), 3, seed=3)
    for epoch in range(30):
        dataset.set_epoch(epoch)
        for index in (0, 1):
            _, *drawn = dataset[index].passage_ids
            assert sorted(drawn) == ["own", "x", "y"]
        assert all(len(example.passage_ids) == 4 for example in draws(dataset))


def test_with_a_teacher_every_passage_of_an_example_is_scored() -> None:
    negatives = {"q0": ["x", "y"], "q1": ["x"], "q2": ["x", "y", "z"]}
    scores = dict.fromkeys(("x", "y", "z"), 1.0)
    teacher = {"q0": {"p0b": 3.0, **scores}, "q1": {"p1a": 3.0, **scores}, "q2": {"p2a": 1.0, "p2b": 2.0, **scores}}
    dataset = ExampleDataset(replace(many(negatives), teacher=teacher), 2, seed=3)
    # Without a score: p0a and all of q3 and q4. Too few negatives: q1.
    assert [(e.query_id, e.passage_ids[0]) for e in draws(dataset)] == [("q0", "p0b"), ("q2", "p2a"), ("q2", "p2b")]
    assert all(set(e.passage_ids) <= set(teacher[e.query_id]) and len(e.passage_ids) == 3 for e in draws(dataset))
    with pytest.raises(IaaRetrievalError, match="no query's positive together with 2 of its negatives"):
        ExampleDataset(replace(many(negatives), teacher={"q9": {"a": 1.0}}), 2, seed=3)


def test_too_few_documents_to_borrow_and_no_negatives_at_all() -> None:
    assert len(ExampleDataset(many({"q1": ["x"]}), 3, seed=3)[0].passage_ids) == 2
    assert ExampleDataset(many({}), 3, seed=3)[0].passage_ids == ["p0a"]
    assert ExampleDataset(many(), 0, seed=3)[0].passage_ids == ["p0a"]


def test_a_document_that_is_the_query_itself_is_never_borrowed() -> None:
    # Queries 0 and 1 have none of their own and borrow from query 2's, to which query 0's own document belongs.
    dataset = ExampleDataset(many({"q2": ["q0", "x"], "q3": ["y"]}), 2, seed=3)
    seen: dict[str, set[str]] = {}
    for epoch in range(30):
        dataset.set_epoch(epoch)
        for example in draws(dataset):
            assert len(example.passage_ids) == 3
            seen.setdefault(example.query_id, set()).update(example.passage_ids[1:])
    assert seen["q0"] == {"x", "y"}
    assert seen["q1"] == {"q0", "x", "y"}


def test_examples_without_a_possible_negative_are_left_out_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    # All that there is to borrow is relevant to query 0.
    data = many({"q1": ["p0a"]})
    assert len(ExampleDataset(data, 2, seed=3)) == 10
    assert caplog.text == ""
    dataset = ExampleDataset(data, 2, seed=3, needs_negatives=True)
    assert {example.query_id for example in draws(dataset)} == {"q1", "q2", "q3", "q4"}
    assert [record.getMessage() for record in caplog.records] == [
        "2 of 10 training examples have no negative of their own or to borrow (e.g. query q0 with document p0a); "
        "left out",
        "8 of 8 training examples have fewer than --negatives-per-query 2 negatives; a batch with one of them compares "
        "as few for each of its queries",
    ]
    with pytest.raises(IaaRetrievalError, match="no training query has a negative to be compared with"):
        ExampleDataset(many({}), 2, seed=3, needs_negatives=True)


def test_examples_that_the_teacher_does_not_score_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    data = replace(many(), teacher={"q1": {"p1a": 2.0}, "q2": {"p2a": 1.0}})
    assert len(ExampleDataset(data, 2, seed=3)) == 2
    assert (
        "8 of 10 training examples lack the teacher's scores of 2 negatives or their own (e.g. query q0 with document "
        "p0a); left out" in caplog.text
    )
