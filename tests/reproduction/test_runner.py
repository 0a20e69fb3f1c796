from pathlib import Path

import pytest
from reproduction_files import BETTER_RUN, toy_values, write_reproduction

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.reproduction.conditions import Reproduction, Score, load_reproduction
from iaa_retrieval.reproduction.runner import Outcome, judge, run_conditions


@pytest.mark.parametrize(
    ("value", "tolerance", "measured", "outcome"),
    [
        (0.8155, 0.0, 0.81546, Outcome.OK),  # equal at four decimals
        (0.8155, 0.0, 0.81544, Outcome.LOWER),
        (0.8, 0.002, 0.802, Outcome.OK),
        (0.8, 0.002, 0.798, Outcome.OK),
        (0.8, 0.002, 0.8021, Outcome.HIGHER),
        (0.8, 0.002, 0.7979, Outcome.LOWER),
    ],
)
def test_judge(value: float, tolerance: float, measured: float, outcome: Outcome) -> None:
    assert judge(Score(value, tolerance, "measured"), measured) is outcome
    assert judge(Score(value, tolerance, "paper"), measured) is Outcome.PAPER


def load(directory: Path, **changes: object) -> Reproduction:
    write_reproduction(directory, {**toy_values(directory), **changes})
    return load_reproduction("toy", directory)


def steps_run(directory: Path) -> list[str]:
    return (directory / "log").read_text().split()


def test_conditions_run_and_are_compared(tmp_path: Path) -> None:
    toy = load(tmp_path)
    comparisons = run_conditions(toy, toy.conditions, tmp_path / "runs")
    assert [(c.condition, c.stage, c.metric, c.outcome) for c in comparisons] == [
        ("plain", "retrieval", "nDCG@10", Outcome.OK),
        ("plain", "retrieval", "MRR@10", Outcome.OK),
        ("copied", "reranking", "nDCG@10", Outcome.PAPER),
        ("better", "reranking", "nDCG@10", Outcome.HIGHER),
    ]
    assert comparisons[1].measured == 0.75
    assert comparisons[2].measured == pytest.approx((1 + 0.6309297) / 2)
    assert steps_run(tmp_path) == ["first", "copy", "better"]


def test_only_what_changed_runs_again(tmp_path: Path) -> None:
    toy = load(tmp_path)
    run_conditions(toy, toy.conditions, tmp_path / "runs")
    run_conditions(toy, toy.conditions, tmp_path / "runs")
    assert steps_run(tmp_path) == ["first", "copy", "better"]
    steps = toy_values(tmp_path)["steps"]
    toy = load(tmp_path, steps={**steps, "first.trec": steps["first.trec"].replace("source.trec", "better.trec")})
    comparisons = run_conditions(toy, toy.conditions[:2], tmp_path / "runs")
    assert steps_run(tmp_path)[3:] == ["first", "copy"]
    assert (tmp_path / "runs" / "copy.trec").read_text() == BETTER_RUN
    assert comparisons[0].outcome is Outcome.HIGHER


def test_a_failed_command_names_its_log(tmp_path: Path) -> None:
    toy = load(
        tmp_path, steps={"first.trec": "sh -c 'touch {output}; echo first; echo the reason; exit 3'"} | _others()
    )
    with pytest.raises(IaaRetrievalError, match=r"step first\.trec failed \(the reason\); see (.*)") as caught:
        run_conditions(toy, toy.conditions[:1], tmp_path / "runs")
    log = Path(str(caught.value).rsplit("see ", 1)[1])
    assert log.read_text() == "first\nthe reason\n"
    # The file that it left is not used in the next run.
    toy = load(tmp_path)
    assert run_conditions(toy, toy.conditions[:1], tmp_path / "runs")[0].outcome is Outcome.OK


def _others() -> dict[str, str]:
    return {name: "cp {first.trec} {output}" for name in ("copy.trec", "better.trec")}


def test_a_command_that_does_not_exist(tmp_path: Path) -> None:
    toy = load(tmp_path, steps={"first.trec": "no-such-program {output}"} | _others())
    with pytest.raises(IaaRetrievalError, match=r"step first\.trec: cannot run no-such-program"):
        run_conditions(toy, toy.conditions[:1], tmp_path / "runs")


def test_a_command_that_makes_nothing(tmp_path: Path) -> None:
    toy = load(tmp_path, steps={"first.trec": "echo {output}"} | _others())
    with pytest.raises(IaaRetrievalError, match=r"stage first\.trec ended without making"):
        run_conditions(toy, toy.conditions[:1], tmp_path / "runs")


def test_python_is_this_python(tmp_path: Path) -> None:
    script = "import sys; print(sys.executable, file=open(sys.argv[1], chr(119)))"
    toy = load(tmp_path, steps={"first.trec": f"python -c '{script}' {{output}}"} | _others())
    with pytest.raises(IaaRetrievalError):  # what it makes is no run
        run_conditions(toy, toy.conditions[:1], tmp_path / "runs")
    import sys

    assert (tmp_path / "runs" / "first.trec").read_text().strip() == sys.executable


def test_the_relevance_level_counts(tmp_path: Path) -> None:
    toy = load(tmp_path, relevance_level=2)
    comparisons = run_conditions(toy, toy.conditions[:1], tmp_path / "runs")
    # All grades are 1, so that at level 2 nothing is relevant; nDCG has no level.
    assert {c.metric: c.outcome for c in comparisons} == {"nDCG@10": Outcome.OK, "MRR@10": Outcome.LOWER}
