from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reproduction_files import condition, score, toy_values, tuned_values, write_reproduction

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.reproduction.loading import load_reproduction, reproduction_names, reproductions_directory
from iaa_retrieval.tuning.budget import choose_dimensions

Values = dict[str, Any]


def test_a_reproduction_is_read(tmp_path: Path) -> None:
    write_reproduction(tmp_path, toy_values(tmp_path))
    toy = load_reproduction("toy", tmp_path)
    assert (toy.name, toy.title, toy.topic_sets["test"].relevance_level) == ("toy", "Toy & co", 1)
    assert [c.name for c in toy.conditions] == ["plain", "copied", "better"]
    plain = toy.conditions[0]
    found = plain.score("test", "MRR@10")
    assert found is not None and found.value == 0.75
    assert plain.score("test", "R@5") is None and plain.score("dev", "MRR@10") is None
    assert [step.name for step in toy.chain(toy.conditions[1], "test")] == ["first.trec", "copy.trec"]
    assert [c.name for c in toy.select(stage="reranking")] == ["copied", "better"]
    assert [c.name for c in toy.select("copied")] == ["copied"]
    assert [c.is_measured for c in toy.conditions] == [True, False, True]
    with pytest.raises(UsageError, match=r"no condition plain reranking; it has: plain \(retrieval\), copied"):
        toy.select("plain", "reranking")


def test_values_of_a_condition_are_put_into_the_commands(tmp_path: Path) -> None:
    values = tuned_values(tmp_path)
    values["stages"]["retrieval"]["settings"] = {
        "lr": {"value": "1e-3", "provenance": "ours"},
        "steps": {"value": 300, "provenance": "paper"},
    }
    values["steps"]["<name>"] = (
        "python -m iaa_retrieval.train <stage> <backbone> <method> <dimensions> "
        "<lr> <steps> <seed> <topics> <queries> {output}"
    )
    values["conditions"][0] |= {"settings": {"lr": {"value": "2e-3", "provenance": "ours"}}}
    write_reproduction(tmp_path, values)
    toy = load_reproduction("toy", tmp_path)
    training = toy.chain(toy.conditions[0], "test")[0]
    assert training.command == (
        "python -m iaa_retrieval.train retrieval tiny iaa-l --r 2 --ar 3 2e-3 300 42 test q.tsv {output}"
    )
    assert toy.trained_weights(toy.conditions[0]) == 2 * 32 * (2 * 2 * 3 + 3 * 3)


@pytest.mark.parametrize(("stage", "weights"), [("retrieval", 22_565_376), ("reranking", 22_713_216)])
def test_full_fine_tuning_trains_what_training_says(stage: str, weights: int) -> None:
    """As `count_trainable` counts MiniLM: without the pooler where nothing goes through it."""
    scifact = load_reproduction("beir-scifact")
    (full,) = scifact.select("full", stage)
    assert scifact.trained_weights(full) == weights


def test_further_seeds_have_outputs_of_their_own(tmp_path: Path) -> None:
    values = tuned_values(tmp_path)
    seeds = {42: 0.81, 43: 0.83}
    values["conditions"][0] |= {
        "seeds": [42, 43],
        "scores": {"test": {"nDCG@10": score(0.82, seeds=seeds)}},
    }
    write_reproduction(tmp_path, values)
    toy = load_reproduction("toy", tmp_path)
    tuned = toy.conditions[0]
    assert [step.name for step in toy.chain(tuned, "test")] == ["iaa-l-0.5", "iaa-l-0.5.trec"]
    second = toy.chain(tuned, "test", 43)
    assert [step.name for step in second] == ["iaa-l-0.5-seed43", "iaa-l-0.5-seed43.trec"]
    assert "--seed 43" in second[0].command
    found = tuned.score("test", "nDCG@10")
    assert found is not None and found.seeds == seeds
    assert found.deviation == pytest.approx(0.02 / 2**0.5)


def test_a_condition_without_scores_is_not_yet_run(tmp_path: Path) -> None:
    values = toy_values(tmp_path)
    values["conditions"] = [condition("later", "first.trec")]
    write_reproduction(tmp_path, values)
    later = load_reproduction("toy", tmp_path).conditions[0]
    assert later.scores == {} and not later.is_measured


def test_an_unknown_name_lists_the_known(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write_reproduction(tmp_path, toy_values(tmp_path), name)
    assert reproduction_names(tmp_path) == ["a", "b"]
    with pytest.raises(UsageError, match="no reproduction of 'c'; there are: a, b"):
        load_reproduction("c", tmp_path)


def edit_condition(**changes: Any) -> Callable[[Values], None]:
    return lambda values: values["conditions"][0].update(changes)


def edit_score(**changes: Any) -> Callable[[Values], None]:
    return lambda values: values["conditions"][0]["scores"]["test"]["MRR@10"].update(changes)


def columns(**changes: Any) -> Callable[[Values], None]:
    return lambda values: values["stages"]["retrieval"].update(columns=changes)


def remove(key: str) -> Callable[[Values], None]:
    def edit(values: Values) -> None:
        del values[key]

    return edit


def steps(**changes: str) -> Callable[[Values], None]:
    return lambda values: values["steps"].update(changes)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (remove("title"), "malformed: 'title'"),
        (remove("steps"), "malformed: 'steps'"),
        (edit_condition(scores={"test": {"MRR@10": {"value": 1}}}), "malformed: 'tolerance'"),
        (edit_score(value="high"), "malformed: could not convert string to float"),
        (edit_score(provenance="guess"), r"condition plain \(retrieval\): MRR@10: provenance is measured, paper, publ"),
        (edit_score(seeds={1: 0.1, 2: 0.3}), "0.75 is not the mean of its seeds' values"),
        (edit_score(better_than=["full"]), "better_than is full or best-baseline, and computed for measured scores"),
        (edit_score(better_than=["bm25"], provenance="paper"), "better_than is full or best-baseline"),
        (edit_condition(scores={"test": {"R@5": score(0.5)}}), "test R@5 is no column of its stage"),
        (edit_condition(scores={"dev": {"MRR@10": score(0.5)}}), "dev MRR@10 is no column of its stage"),
        (edit_condition(seeds=[1, 2]), "each of the seeds 1, 2 needs its value"),
        (columns(test=["ERR@10"]), "unknown metric 'ERR@10'"),
        (columns(test=["ndcg@10"]), "retrieval, ndcg@10: write it as nDCG@10"),
        (columns(dev=["MRR@10"]), "stage retrieval has columns of dev, which is no topic set"),
        (edit_condition(measured={}), "is measured, but not when and with what"),
        (edit_condition(run="nothing.trec"), "plain .*a condition needs nothing.trec, which is no step"),
        (edit_condition(stage="searching"), "plain .*the file has no such stage"),
        (edit_condition(name="better", stage="reranking"), "two conditions better of stage reranking"),
        (edit_condition(method="iaa-x"), "unknown tuning method 'iaa-x'"),
        (edit_condition(method="lora"), "method lora takes r; given: none"),
        (edit_condition(settings={"lr": {"value": 1, "provenance": "rumour"}}), "provenance is paper or ours"),
        (steps(**{"first.trec": "cp {missing} {output}"}), "first.trec needs missing, which is no step"),
        (steps(**{"first.trec": "cp <lr> {output}"}), "nothing sets <lr>"),
    ],
)
def test_malformed_files(edit: Callable[[Values], None], message: str, tmp_path: Path) -> None:
    values = toy_values(tmp_path)
    edit(values)
    path = write_reproduction(tmp_path, values)
    with pytest.raises(IaaRetrievalError, match=message) as caught:
        load_reproduction("toy", tmp_path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", ["title: [", "- a\n- b\n", "", "steps: 5\n"])
def test_not_even_the_right_yaml(content: str, tmp_path: Path) -> None:
    (tmp_path / "toy.yaml").write_text(content)
    with pytest.raises(IaaRetrievalError, match=r"toy\.yaml is malformed"):
        load_reproduction("toy", tmp_path)


@pytest.mark.parametrize("name", reproduction_names())
def test_committed_reproductions_name_conditions_by_method_and_budget(name: str) -> None:
    reproduction = load_reproduction(name)
    for entry in reproduction.conditions:
        if entry.method == "none":
            assert entry.name in ("bm25", "dense-untuned") and not entry.budget
        elif entry.method == "full":
            assert (entry.name, entry.budget) == ("full", "100%")
        else:
            assert entry.name == f"{entry.method}-{entry.budget.rstrip('%')}"


@pytest.mark.parametrize("name", ["beir-scifact", "beir-nfcorpus", "msmarco-mini"])
def test_measured_dimensions_are_those_that_the_budget_chooses(name: str) -> None:
    reproduction = load_reproduction(name)
    backbone = reproduction.backbone
    for entry in reproduction.conditions:
        if entry.dimensions:
            share = float(entry.budget.rstrip("%")) / 100
            assert entry.dimensions == choose_dimensions(
                entry.method, share, backbone.hidden_size, backbone.layers, backbone.parameters
            )


def test_it_is_beside_the_package() -> None:
    assert (reproductions_directory() / "README.md").is_file()
