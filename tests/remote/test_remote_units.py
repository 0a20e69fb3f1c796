"""Which units there are, what each of them needs, and which can begin: all of it follows from the YAML."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reproduction_files import toy_values, write_reproduction

from iaa_retrieval.errors import IaaRetrievalError, NotFiniteError
from iaa_retrieval.files import read_json
from iaa_retrieval.remote import execution
from iaa_retrieval.remote.matrix import Matrix, Outcome
from iaa_retrieval.remote.new_rates import enter_rate
from iaa_retrieval.remote.places import UNIT_RECORD
from iaa_retrieval.remote.selection import Selection
from iaa_retrieval.remote.units import ROW, Digests, Unit, rows_of, runs_there, trials_of
from iaa_retrieval.reproduction.loading import load_reproduction
from iaa_retrieval.reproduction.plan import Reproduction
from iaa_retrieval.reproduction.steps import CommandStep

TRAIN = (
    "python -m iaa_retrieval.train bi-encoder --collection beir/toy/train --negatives {untuned.trec} <dimensions> "
    "--method <method> --lr <lr> --max-steps <steps> --seed <seed> --output {output}"
)
ENCODE = "python -m iaa_retrieval.encode input --corpus beir/toy output --embeddings {output} encoder --encoder "
SEARCH = "python -m iaa_retrieval.search faiss --topics beir/toy/test --output {output} "
RATE = "    settings:\n      lr: {value: 3e-3, provenance: ours}\n"
STEPS = "    settings:\n      steps: {value: 9, provenance: ours}\n"
DIGESTS = Digests({"beir/toy": "d", "beir/toy/train": "d"}, {"tiny": "b"}, {"toy/first.trec": "g"}, "bf16")


def values(directory: Path, train: str = TRAIN, **search: Any) -> dict[str, Any]:
    """``search`` is added to the search of learning rates."""
    found = toy_values(directory)
    setting = {"provenance": "ours"}
    found["stages"]["retrieval"] |= {
        "run": "tuned/<name>.trec",
        "settings": {"lr": {"value": "5e-3", **setting}, "steps": {"value": 100, **setting}},
        "rate_search": {
            **{"methods": ["1e-3", "3e-3"], "full": ["2e-5"], "metric": "nDCG@10", "settings": {"steps": 7}},
            **search,
        },
    }
    found["steps"] |= {
        "lucene-index": "python -m iaa_retrieval.index --collection beir/toy --output {output}",
        "bm25.trec": "python -m iaa_retrieval.search lucene --index {lucene-index} --output {output}",
        "untuned-index": f"{ENCODE} tiny",
        "untuned.trec": f"{SEARCH} --index {{untuned-index}} --encoder tiny",
        "tuned/<name>": train,
        "tuned/<name>-index": f"{ENCODE} {{tuned/<name>}}",
        "tuned/<name>.trec": f"{SEARCH} --index {{tuned/<name>-index}} --encoder {{tuned/<name>}}",
    }
    row = {"stage": "retrieval", "method": "iaa-l", "budget": "0.5%", "dimensions": {"r": 2, "ar": 2}}
    found["conditions"] += [
        {**row, "name": "iaa-l-0.5", "display_name": "IAA-L", "seeds": [7, 5]},
        {**row, "name": "lora-0.5", "display_name": "LoRA", "method": "lora", "dimensions": {"r": 2}},
    ]
    return found


@pytest.fixture
def toy(tmp_path: Path) -> Callable[..., Reproduction]:
    def make(**changes: Any) -> Reproduction:
        write_reproduction(tmp_path, values(tmp_path, **changes))
        return load_reproduction("toy", tmp_path)

    return make


def matrix(reproduction: Reproduction, **known: Any) -> Matrix:
    return Matrix(Selection(("toy",), **known), [reproduction], DIGESTS, {})


def finish(matrix: Matrix, unit: Unit, score: float | None = None) -> None:
    key = matrix.key_of(unit)
    matrix.begun.add(key)
    matrix.outcomes[key] = Outcome(unit, {"dev_score": score})


def names(units: list[Unit]) -> list[str]:
    return [unit.name.removeprefix("toy/") for unit in units]


def test_what_a_row_runs_there_and_what_it_is_given(toy: Callable[..., Reproduction]) -> None:
    (plan,) = toy().select("iaa-l-0.5")
    first, second = rows_of(plan)
    assert [step.name for step in first.steps] == [f"tuned/iaa-l-0.5{end}" for end in ("", "-index", ".trec")]
    assert (first.seed, second.seed) == (7, 5) and first.runs == {"test": "tuned/iaa-l-0.5.trec"}
    assert first.given == () and first.shared == ("untuned.trec",)
    (lucene,) = toy(train=TRAIN.replace("untuned.trec", "bm25.trec")).select("iaa-l-0.5")
    assert rows_of(lucene)[0].given == ("bm25.trec",) and rows_of(lucene)[0].shared == ()


def test_a_trial_only_trains(toy: Callable[..., Reproduction]) -> None:
    (plan,) = toy().select("iaa-l-0.5")
    units = trials_of(plan)
    assert [unit.rate for unit in units] == ["1e-3", "3e-3"]
    assert all(len(unit.steps) == 1 and "--max-steps 7" in unit.commands[0] for unit in units)


def test_rows_wait_for_their_rates_and_take_the_best(toy: Callable[..., Reproduction]) -> None:
    work = matrix(toy())
    # Others start from the untuned encoder's run, so it comes first and nothing else can begin.
    (untuned,) = work.ready()[:1]
    assert names(work.ready()) == ["untuned.trec"]
    work.begun.add(work.key_of(untuned))
    assert work.ready() == []
    finish(work, untuned)
    trials = work.ready()
    assert names(trials) == [
        *("retrieval/iaa-l-0.5-lr1e-3-seed7", "retrieval/iaa-l-0.5-lr3e-3-seed7"),
        *("retrieval/lora-0.5-lr1e-3-seed42", "retrieval/lora-0.5-lr3e-3-seed42"),
    ]
    finish(work, trials[0], 0.5)
    assert len(work.ready()) == 3
    finish(work, trials[1], 0.6)
    rows = work.ready()[2:]
    assert names(rows) == ["retrieval/iaa-l-0.5-seed7", "retrieval/iaa-l-0.5-seed5"]
    assert all("--lr 3e-3" in row.commands[0] for row in rows)
    finish(work, trials[2], 0.7)
    finish(work, trials[3], 0.6)
    # A table is full before a second seed is begun.
    in_order = ("iaa-l-0.5-seed7", "lora-0.5-seed42", "iaa-l-0.5-seed5")
    assert names(work.ready()) == [f"retrieval/{row}" for row in in_order]
    assert "--lr 1e-3" in work.ready()[1].commands[0]
    assert work.unfinished() == 3


def test_a_rate_is_judged_by_all_its_seeds_and_a_diverged_one_is_none(toy: Callable[..., Reproduction]) -> None:
    reproduction = toy(seeds=[1, 2])
    (plan,) = reproduction.select("lora-0.5")
    trials = trials_of(plan)
    assert [(unit.rate, unit.seed) for unit in trials] == [("1e-3", 1), ("1e-3", 2), ("3e-3", 1), ("3e-3", 2)]
    for scores, best in (((0.5, 0.7, 0.9, 0.1), "1e-3"), ((0.5, None, 0.2, 0.1), "3e-3"), ((None,) * 4, None)):
        work = matrix(reproduction)
        mine = work.possible(next(plan for plan in work.plans if plan.name == "lora-0.5"))[:4]
        for unit, score in zip(mine, scores, strict=True):
            finish(work, unit, score)
        rows = [unit for unit in work.units() if unit.kind == ROW and unit.condition == "lora-0.5"]
        assert [row.rate for row in rows] == ([] if best is None else [best])


def test_a_trial_that_diverges_has_no_score_and_a_row_fails(
    toy: Callable[..., Reproduction], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (plan,) = toy().select("lora-0.5")

    def diverge(*arguments: Any) -> None:  # as a verb of the command line ends
        try:
            raise NotFiniteError("the loss became nan in step 3")
        except NotFiniteError:
            sys.exit(1)

    monkeypatch.setattr(execution, "run_step", diverge)
    trial, row = trials_of(plan)[0], rows_of(plan)[0]
    with pytest.raises(SystemExit):
        execution._run(execution.Work(row, "row", tmp_path, "cpu", "fp32"))
    execution._run(execution.Work(trial, "trial", tmp_path, "cpu", "fp32"))
    record = read_json(tmp_path / "finished" / "trial" / UNIT_RECORD)
    assert (record["rate"], record["dev_score"], record["history"]) == ("1e-3", None, [])
    assert not (tmp_path / "finished" / "row").exists()


def test_only_rates_and_only_rows(toy: Callable[..., Reproduction]) -> None:
    assert {unit.kind for unit in matrix(toy(), work="rates").units()} == {"trial"}
    rows = matrix(toy(), work="rows").units()
    assert {unit.kind for unit in rows} == {"row"} and all("--lr 5e-3" in row.commands[0] for row in rows)
    assert matrix(toy(), stage="reranking").units() == []


def test_a_key_follows_what_the_outcome_depends_on(toy: Callable[..., Reproduction]) -> None:
    work = matrix(toy())
    unit = work.units()[0]
    key = work.key_of(unit)
    assert matrix(toy()).key_of(unit) == key

    def other(**changes: Any) -> str:
        return Digests(**{**vars(DIGESTS), **changes}).key_of(unit, work.shared["toy"])

    assert other() == key == other(collections={**DIGESTS.collections, "another": "x"})
    assert other(given={"toy/other.trec": "x"}) == key
    # The untuned run is made of the whole collection, the training of a split.
    for name in DIGESTS.collections:
        assert other(collections={**DIGESTS.collections, name: "x"}) != key
    assert other(backbones={"tiny": "x"}) != key and other(training_precision="fp32") != key
    assert len({work.key_of(one) for one in work.units()}) == len(work.units())


def test_a_step_that_only_this_machine_can_run(toy: Callable[..., Reproduction]) -> None:
    assert not runs_there(CommandStep("a", "python -m iaa_retrieval.search lucene --output {output}"))
    assert not runs_there(CommandStep("a", "python -m iaa_retrieval.encode queries --output {output}"))
    (plan,) = toy().select("iaa-l-0.5")
    plan.reproduction.steps["tuned/<name>.trec"] = (
        "python -m iaa_retrieval.search hybrid {tuned/<name>} --output {output}"
    )
    with pytest.raises(
        IaaRetrievalError, match=r"step tuned/iaa-l-0.5.trec cannot be run on another machine: python -m"
    ):
        rows_of(plan)


@pytest.mark.parametrize(
    ("before", "after"),
    [(RATE.replace("3e-3", "1e-2"), RATE), (STEPS, STEPS.replace("settings:\n", RATE.lstrip(), 1)), ("", RATE)],
    ids=["another-rate", "other-settings", "no-settings"],
)
def test_a_rate_is_entered_and_the_rest_stays(
    toy: Callable[..., Reproduction], tmp_path: Path, before: str, after: str
) -> None:
    toy()
    text = (tmp_path / "toy.yaml").read_text()
    head = text[: text.index("\nconditions:\n")] + "\nconditions:\n"
    other = "  - name: lora-0.5\n    display_name: LoRA  # the usual one\n    stage: retrieval\n    method: lora\n"
    other += "    dimensions: {r: 2}\n    settings:\n      lr: {value: 1e-2, provenance: ours}\n"
    row = "  - name: iaa-l-0.5\n    display_name: IAA-L\n    stage: retrieval\n    method: iaa-l\n"
    row += "    dimensions: {r: 2, ar: 2}\n"
    (tmp_path / "toy.yaml").write_text(head + other + row + before)
    (plan,) = load_reproduction("toy", tmp_path).select("iaa-l-0.5")
    enter_rate(plan, "3e-3")
    assert (tmp_path / "toy.yaml").read_text() == head + other + row + after
    lora, iaa = load_reproduction("toy", tmp_path).plans
    assert (lora.settings["lr"].value, iaa.settings["lr"].value) == ("1e-2", "3e-3")
