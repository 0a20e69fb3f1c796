from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reproduction_files import condition, score, toy_values, write_reproduction

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.reproduction.conditions import Step, load_reproduction, reproductions_directory

Values = dict[str, Any]


def test_a_reproduction_is_read(tmp_path: Path) -> None:
    write_reproduction(tmp_path, toy_values(tmp_path))
    toy = load_reproduction("toy", tmp_path)
    assert (toy.name, toy.title, toy.relevance_level) == ("toy", "Toy & co", 1)
    assert [c.name for c in toy.conditions] == ["plain", "copied", "better"]
    assert toy.conditions[0].scores["MRR@10"].value == 0.75
    assert [step.name for step in toy.chain(toy.conditions[1])] == ["first.trec", "copy.trec"]
    assert [c.name for c in toy.select(stage="reranking")] == ["copied", "better"]
    assert [c.name for c in toy.select("copied")] == ["copied"]
    with pytest.raises(UsageError, match=r"no condition plain reranking; it has: plain \(retrieval\), copied"):
        toy.select("plain", "reranking")


def test_commands_name_outputs_below_the_directory(tmp_path: Path) -> None:
    step = Step("b", "join {a} {c.trec} {a} > {output}")
    assert step.needs == ("a", "c.trec")
    assert step.command_in(Path("runs")) == "join runs/a runs/c.trec runs/a > runs/b"


def test_steps_run_before_what_needs_them_and_once(tmp_path: Path) -> None:
    values = toy_values(tmp_path)
    values["steps"] = {
        "d": "d {b} {c} {output}",
        "b": "b {a} {output}",
        "c": "c {a} {output}",
        "a": "a {output}",
    }
    values["conditions"] = [condition("only", "d", nDCG_at_10=score(0.5))]
    write_reproduction(tmp_path, values)
    toy = load_reproduction("toy", tmp_path)
    assert [step.name for step in toy.chain(toy.conditions[0])] == ["a", "b", "c", "d"]


def test_an_unknown_name_lists_the_known(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write_reproduction(tmp_path, toy_values(tmp_path), name)
    with pytest.raises(UsageError, match="no reproduction of 'c'; there are: a, b"):
        load_reproduction("c", tmp_path)


def edit_condition(**changes: Any) -> Callable[[Values], None]:
    return lambda values: values["conditions"][0].update(changes)


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
        (edit_condition(scores={"MRR@10": {"value": 1}}), "malformed: 'tolerance'"),
        (edit_condition(scores={"MRR@10": score("high")}), "malformed: could not convert string to float"),  # type: ignore[arg-type]
        (edit_condition(scores={"MRR@10": score(0.5, "guess")}), "plain MRR@10: provenance is measured or paper"),
        (edit_condition(scores={"ERR@10": score(0.5)}), "condition plain: .*ERR@10"),
        (edit_condition(scores={"ndcg@10": score(0.5)}), "plain ndcg@10: write it as in nDCG@10"),
        (edit_condition(measured={}), "is measured, but not when and with what"),
        (edit_condition(run="nothing.trec"), "condition plain has an unknown run or stage"),
        (edit_condition(stage="searching"), "condition plain has an unknown run or stage"),
        (edit_condition(name="better", stage="reranking"), "two conditions better of stage reranking"),
        (steps(extra="cp {missing} {output}"), "step extra needs missing, which is not a step"),
        (steps(extra="cp a b"), "step extra does not say where its {output} goes"),
        (steps(extra="echo 'open {output}"), "command of step extra cannot be parsed: No closing quotation"),
        (steps(x="cp {y} {output}", y="cp {x} {output}"), "step x needs its own output, by way of x and y"),
        (steps(x="cp {x} {output}"), "step x needs its own output"),
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


def test_every_committed_reproduction_is_well_formed() -> None:
    names = [path.stem for path in reproductions_directory().glob("*.yaml")]
    assert names
    for name in names:
        load_reproduction(name)
