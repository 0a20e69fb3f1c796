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
    assert [step.name for step in toy.plans[1].chain("test")] == ["first.trec", "copy.trec"]
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
    training = toy.plans[0].chain("test")[0]
    assert training.command == (
        "python -m iaa_retrieval.train retrieval tiny iaa-l --r 2 --ar 3 2e-3 300 42 test q.tsv {output}"
    )
    assert toy.plans[0].trained_weights == 2 * 32 * (2 * 2 * 3 + 3 * 3)


@pytest.mark.parametrize(("stage", "weights"), [("retrieval", 22_565_376), ("reranking", 22_713_216)])
def test_full_fine_tuning_trains_what_training_says(stage: str, weights: int) -> None:
    """As ``count_trainable`` counts MiniLM: without the pooler where nothing goes through it."""
    scifact = load_reproduction("beir-scifact")
    (full,) = scifact.select("full", stage)
    assert full.trained_weights == weights


def test_further_seeds_have_outputs_of_their_own(tmp_path: Path) -> None:
    values = tuned_values(tmp_path)
    seeds = {42: 0.81, 43: 0.83}
    values["conditions"][0] |= {
        "seeds": [42, 43],
        "scores": {"test": {"nDCG@10": score(0.82, seeds=seeds)}},
    }
    write_reproduction(tmp_path, values)
    toy = load_reproduction("toy", tmp_path)
    tuned = toy.plans[0]
    assert [step.name for step in tuned.chain("test")] == ["iaa-l-0.5", "iaa-l-0.5.trec"]
    second = tuned.chain("test", 43)
    assert [step.name for step in second] == ["iaa-l-0.5-seed43", "iaa-l-0.5-seed43.trec"]
    assert "--seed 43" in second[0].command
    found = tuned.condition.score("test", "nDCG@10")
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
        (
            edit_condition(scores={"test": {"MRR@10": {"value": 1}}}),
            r"malformed: conditions\[0\] \(plain\): scores.test.MRR@10: 'tolerance' is missing",
        ),
        (edit_score(value="high"), r"plain\): scores.test.MRR@10.value should be a valid number, not 'high'"),
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
        (
            lambda values: values["stages"]["retrieval"].update(
                rate_search={"methods": [], "full": [], "metric": "nDCQ@10"}
            ),
            "unknown metric 'nDCQ@10'",
        ),
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


def edit_stage(**changes: Any) -> Callable[[Values], None]:
    return lambda values: values["stages"]["retrieval"].update(changes)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            edit_score(tolerence=0.1),
            "conditions[0] (plain): scores.test.MRR@10.tolerence is no known key; did you mean tolerance?",
        ),
        (edit_condition(seed=1), "conditions[0] (plain): seed is no known key; did you mean seeds?"),
        (
            edit_condition(xyz=1),
            "conditions[0] (plain): xyz is no known key; its keys are name, display_name, stage, method, budget, "
            "counts_as, dimensions, run, settings, seeds, scores, measured, note",
        ),
        (
            edit_condition(measured={"hardwear": "x"}),
            "conditions[0] (plain): measured.hardwear is no known key; did you mean hardware?",
        ),
        (
            edit_stage(settings={"lr": {"vaule": 1, "provenance": "ours"}}),
            "stages.retrieval.settings.lr.vaule is no known key; did you mean value?",
        ),
        (edit_stage(collumns={}), "stages.retrieval.collumns is no known key; did you mean columns?"),
        (lambda values: values.update(topicsets={}), "topicsets is no known key; did you mean topic_sets?"),
        (
            lambda values: values["topic_sets"]["test"].update(relevance_levels=2),
            "topic_sets.test.relevance_levels is no known key; did you mean relevance_level?",
        ),
        (
            lambda values: values["roles"]["subject"].update(method="lora"),
            "roles.subject.method is no known key; did you mean methods?",
        ),
        (edit_condition(seeds=["1"]), "conditions[0] (plain): seeds[0] should be a valid integer, not '1'"),
        (edit_condition(seeds=[]), "conditions[0] (plain): seeds []: List should have at least 1 item"),
        (lambda values: values.update(conditions=[]), "conditions []: List should have at least 1 item"),
        (columns(), "stages.retrieval.columns {}: Dictionary should have at least 1 item"),
        (edit_condition(note=["a"]), "conditions[0] (plain): note should be text, not ['a']"),
        (edit_condition(scores=[]), "conditions[0] (plain): scores should be a mapping, not []"),
        (edit_score(tolerance=-1), "scores.test.MRR@10.tolerance should be greater than or equal to 0, not -1"),
        (lambda values: values["conditions"].append("bm25"), "conditions[3] should be a mapping, not 'bm25'"),
        (lambda values: values["backbone"].update(layers=1.5), "backbone.layers should be a valid integer, not 1.5"),
    ],
)
def test_a_wrong_key_or_type_is_named_with_its_place(
    edit: Callable[[Values], None], message: str, tmp_path: Path
) -> None:
    values = toy_values(tmp_path)
    edit(values)
    path = write_reproduction(tmp_path, values)
    with pytest.raises(IaaRetrievalError) as caught:
        load_reproduction("toy", tmp_path)
    assert str(caught.value).startswith(f"{path} is malformed: ")
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (columns(tset=["MRR@10"]), "stage retrieval has columns of tset, which is no topic set; did you mean test?"),
        (
            edit_condition(scores={"test": {"MRR@100": score(0.5)}}),
            "condition plain (retrieval): test MRR@100 is no column of its stage; did you mean test MRR@10?",
        ),
        (
            edit_condition(run="fist.trec"),
            "condition plain (retrieval): a condition needs fist.trec, which is no step; did you mean first.trec?",
        ),
        (edit_condition(stage="retreival"), "the file has no such stage; did you mean retrieval?"),
        (lambda values: values["roles"].update(full="ful"), "roles: unknown tuning method 'ful'"),
        (lambda values: values["roles"].update(full="iaa-l"), "roles: iaa-l is named twice"),
    ],
)
def test_a_name_that_the_file_does_not_know_is_refused_with_the_nearest(
    edit: Callable[[Values], None], message: str, tmp_path: Path
) -> None:
    values = toy_values(tmp_path)
    edit(values)
    path = write_reproduction(tmp_path, values)
    with pytest.raises(IaaRetrievalError) as caught:
        load_reproduction("toy", tmp_path)
    assert str(caught.value).startswith(f"{path}: ") and message in str(caught.value)


def test_a_name_that_was_asked_for_is_answered_with_the_nearest(tmp_path: Path) -> None:
    write_reproduction(tmp_path, toy_values(tmp_path))
    with pytest.raises(UsageError, match=r"no condition plian; .*; did you mean plain\?"):
        load_reproduction("toy", tmp_path).select("plian")
    with pytest.raises(UsageError, match=r"there are: toy; did you mean toy\?"):
        load_reproduction("toyy", tmp_path)


def test_numbers_and_dates_of_yaml_are_taken_as_they_are_written(tmp_path: Path) -> None:
    path = write_reproduction(tmp_path, tuned_values(tmp_path))
    text = path.read_text().replace("date: '2026-11-21'", "date: 2026-11-21")
    settings = "settings: {lr: {value: 1e-3, provenance: ours}, steps: {value: 300, provenance: ours}}"
    path.write_text(text.replace("  method: iaa-l\n", f"  method: iaa-l\n  {settings}\n"))
    condition = load_reproduction("toy", tmp_path).conditions[0]
    assert condition.measured["date"] == "2026-11-21"
    assert {name: setting.value for name, setting in condition.settings.items()} == {"lr": "1e-3", "steps": "300"}


def test_a_key_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    """Of which plain YAML would take the last."""
    path = write_reproduction(tmp_path, toy_values(tmp_path))
    text = path.read_text()
    path.write_text(text.replace("  method: none\n", "  method: none\n  run: other\n", 1))
    with pytest.raises(IaaRetrievalError, match=r"toy\.yaml is malformed: line \d+: 'run' is there twice"):
        load_reproduction("toy", tmp_path)


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
