from pathlib import Path

import pytest

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.reproduction.steps import CommandStep, chain_of, expand, without_training


def test_commands_name_outputs_below_the_directory() -> None:
    step = CommandStep("b", "join {a} {c.trec} {a} > {output}")
    assert step.needs == ("a", "c.trec")
    assert step.command_in(Path("runs")) == "join runs/a runs/c.trec runs/a > runs/b"
    assert step.command_in(Path("runs"), {"a": Path("kept/a")}) == "join kept/a runs/c.trec kept/a > runs/b"


def test_variables() -> None:
    assert expand("train <method> <dimensions> --lr <lr>", {"method": "full", "dimensions": "", "lr": "3e-5"}) == (
        "train full --lr 3e-5"
    )
    with pytest.raises(IaaRetrievalError, match="nothing sets <lr> in: --lr <lr>"):
        expand("--lr <lr>", {})


def test_templates_make_the_steps_of_one_condition() -> None:
    templates = {
        "index": "make {output}",
        "run.<topics>": "search {index} <queries> {output}",
        "<name>/run.<topics>": "rerank {run.<topics>} <queries> {output}",
        "<unknown>": "never used {output}",
    }
    chain = chain_of("x/run.dev", templates, {"name": "x", "topics": "dev", "queries": "dev.tsv"})
    assert [(step.name, step.command) for step in chain] == [
        ("index", "make {output}"),
        ("run.dev", "search {index} dev.tsv {output}"),
        ("x/run.dev", "rerank {run.dev} dev.tsv {output}"),
    ]


def test_steps_run_before_what_needs_them_and_once() -> None:
    templates = {"d": "d {b} {c} {output}", "b": "b {a} {output}", "c": "c {a} {output}", "a": "a {output}"}
    assert [step.name for step in chain_of("d", templates, {})] == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("templates", "message"),
    [
        ({"a": "cp {b} {output}"}, "a needs b, which is no step"),
        ({"b": "cp {output}"}, "a condition needs a, which is no step"),
        ({"a": "cp {b} {output}", "b": "cp {a} {output}"}, "step a needs its own output, by way of a and b"),
        ({"a": "cp x y"}, "step a does not say where its {output} goes"),
        ({"a": "echo 'open {output}"}, "the command of step a cannot be parsed: No closing quotation"),
        ({"a": "cp {output}", "<one>": "cp {output}"}, "two steps make a"),
        ({"a": "cp <two> {output}"}, "nothing sets <two>"),
    ],
)
def test_what_cannot_be_a_chain(templates: dict[str, str], message: str) -> None:
    with pytest.raises(IaaRetrievalError, match=message):
        chain_of("a", templates, {"one": "a"})


def test_without_training_nothing_is_left_that_only_training_needs() -> None:
    templates = {
        "index": "index {output}",
        "negatives": "search {index} train {output}",
        "model": "python -m iaa_retrieval.train bi-encoder --negatives {negatives} --output {output}",
        "first": "search {index} test {output}",
        "run": "rerank {first} {model} {output}",
    }
    chain = chain_of("run", templates, {})
    assert [step.name for step in chain] == ["index", "first", "negatives", "model", "run"]
    assert [step.name for step in without_training(chain)] == ["index", "first", "run"]
    assert [step.name for step in chain if step.trains] == ["model"]
