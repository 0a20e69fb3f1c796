from collections.abc import Mapping
from pathlib import Path

import pytest
from reproduction_files import BETTER_RUN, commit_checkpoint, score, toy_values, tuned_values, write_reproduction

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.reproduction import execution
from iaa_retrieval.reproduction.conditions import Score
from iaa_retrieval.reproduction.loading import load_reproduction
from iaa_retrieval.reproduction.plan import Reproduction
from iaa_retrieval.reproduction.runner import Comparison, Outcome, compare, judge, run_condition, run_step
from iaa_retrieval.reproduction.stages import Environment, Stages
from iaa_retrieval.reproduction.steps import CommandStep, FunctionStep


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
    assert judge(Score(value, tolerance, "published"), measured) is outcome
    assert judge(Score(value, tolerance, "paper"), measured) is Outcome.PAPER
    assert judge(None, measured) is Outcome.NEW


def load(directory: Path, **changes: object) -> Reproduction:
    write_reproduction(directory, {**toy_values(directory), **changes})
    return load_reproduction("toy", directory)


def run_all(toy: Reproduction, directory: Path, count: int | None = None) -> list[Comparison]:
    return [comparison for plan in toy.plans[:count] for comparison in compare(plan, run_condition(plan, directory))]


def steps_run(directory: Path) -> list[str]:
    return (directory / "log").read_text().split()


def test_conditions_run_and_are_compared(tmp_path: Path) -> None:
    comparisons = run_all(load(tmp_path), tmp_path / "runs")
    assert [(c.condition, c.stage, c.topics, c.metric, c.outcome) for c in comparisons] == [
        ("plain", "retrieval", "test", "nDCG@10", Outcome.OK),
        ("plain", "retrieval", "test", "MRR@10", Outcome.OK),
        ("copied", "reranking", "test", "nDCG@10", Outcome.PAPER),
        ("better", "reranking", "test", "nDCG@10", Outcome.HIGHER),
    ]
    assert comparisons[1].measured == 0.75
    assert comparisons[2].measured == pytest.approx((1 + 0.6309297) / 2)
    assert steps_run(tmp_path) == ["first", "copy", "better"]


def test_only_what_changed_runs_again(tmp_path: Path) -> None:
    toy = load(tmp_path)
    run_all(toy, tmp_path / "runs")
    run_all(toy, tmp_path / "runs")
    assert steps_run(tmp_path) == ["first", "copy", "better"]
    steps = toy_values(tmp_path)["steps"]
    toy = load(tmp_path, steps={**steps, "first.trec": steps["first.trec"].replace("source.trec", "better.trec")})
    comparisons = run_all(toy, tmp_path / "runs", 2)
    assert steps_run(tmp_path)[3:] == ["first", "copy"]
    assert (tmp_path / "runs" / "copy.trec").read_text() == BETTER_RUN
    assert comparisons[0].outcome is Outcome.HIGHER


def test_steps_of_this_process_are_kept_like_commands(tmp_path: Path) -> None:
    """A function is called again when what it depends on changed: its inputs, or another step of either kind."""
    called: list[str] = []

    def join(output: Path, needed: Mapping[str, Path]) -> None:
        called.append(output.name)
        output.write_text("".join(path.read_text() for path in needed.values()))

    def reused(source: str, inputs: dict[str, int]) -> list[str]:
        stages = Stages(tmp_path / "runs")
        run_step(stages, CommandStep("copied", f"cp {tmp_path / source} {{output}}"))
        run_step(stages, FunctionStep("twice", join, inputs, needs=("copied",)))
        assert set(stages.seconds) == {"copied", "twice"}
        return stages.reused

    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    assert (reused("a", {"x": 1}), reused("a", {"x": 1})) == ([], ["copied", "twice"])
    assert reused("a", {"x": 2}) == ["copied"]
    assert reused("b", {"x": 2}) == []
    assert (tmp_path / "runs" / "twice").read_text() == "b" and called == ["twice"] * 3
    # What stands for the output of a step elsewhere is read there.
    stages = Stages(tmp_path / "other")
    run_step(stages, FunctionStep("twice", join, {}, needs=("copied",)), {"copied": tmp_path / "a"})
    assert (tmp_path / "other" / "twice").read_text() == "a"


def test_data_edited_in_place_runs_again_wherever_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step is valid for the content of what it names, through environment variables too, not for the names."""
    monkeypatch.setenv("TOY_DATA", str(tmp_path))
    toy = load(tmp_path, steps={"first.trec": 'cp "$TOY_DATA/source.trec" {output}'} | _others())
    runs = tmp_path / "runs"
    assert run_all(toy, runs, 1)[0].outcome is Outcome.OK
    (tmp_path / "source.trec").write_text(BETTER_RUN)
    assert run_all(toy, runs, 1)[0].outcome is Outcome.HIGHER
    made = (runs / ".stages" / "first.trec.json").read_text()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "source.trec").write_text(BETTER_RUN)
    monkeypatch.setenv("TOY_DATA", str(elsewhere))
    run_all(toy, runs, 1)
    assert (runs / ".stages" / "first.trec.json").read_text() == made


def test_a_result_says_what_its_stages_were_made_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is recorded of an earlier run must not get today's date."""
    toy = load(tmp_path)
    then = Environment("2020-01-02", "a machine", {"torch": "1"})
    with monkeypatch.context() as patch:
        patch.setattr("iaa_retrieval.reproduction.stages.current_environment", lambda: then)
        run_condition(toy.plans[0], tmp_path / "runs")
    result = run_condition(toy.plans[0], tmp_path / "runs")
    assert (result.date, result.hardware, result.versions) == then
    # "copied" is made now, from what was made then.
    both = run_condition(toy.plans[1], tmp_path / "runs")
    assert both.date > "2026" and both.hardware.startswith("a machine; ") and "python" in both.versions


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (
            "python -m iaa_retrieval.train bi-encoder --output o",
            "python -m iaa_retrieval.train bi-encoder --output o --resume",
        ),
        (
            "python -m iaa_retrieval.encode input --corpus c output --embeddings o encoder --encoder e",
            "python -m iaa_retrieval.encode input --corpus c output --resume --embeddings o encoder --encoder e",
        ),
        ("python -m iaa_retrieval.encode queries --output o", "python -m iaa_retrieval.encode queries --output o"),
    ],
)
def test_interrupted_work_is_continued(command: str, expected: str) -> None:
    assert execution.resuming(command.split()) == expected.split()


def test_topic_sets_have_runs_and_judgments_of_their_own(tmp_path: Path) -> None:
    values = toy_values(tmp_path)
    (tmp_path / "strict.txt").write_text("q1 0 d1 1\nq2 0 d2 2\n")
    values["topic_sets"]["strict"] = {
        "display_name": "strict",
        "queries": "better",
        "qrels": str(tmp_path / "strict.txt"),
        "relevance_level": 2,
    }
    values["topic_sets"]["test"]["queries"] = "source"
    values["stages"]["retrieval"]["columns"]["strict"] = ["MRR@10"]
    values["steps"]["<topics>.trec"] = f"cp {tmp_path}/<queries>.trec {{output}}"
    values["conditions"][0] |= {"run": "<topics>.trec"}
    write_reproduction(tmp_path, values)
    comparisons = run_all(load_reproduction("toy", tmp_path), tmp_path / "runs", 1)
    assert [(c.topics, c.metric, c.outcome) for c in comparisons] == [
        ("test", "nDCG@10", Outcome.OK),
        ("test", "MRR@10", Outcome.OK),
        ("strict", "MRR@10", Outcome.NEW),
    ]
    # At level 2 only q2 has a relevant document, which the better run has first.
    assert comparisons[2].measured == 0.5


def test_a_failed_command_names_its_log(tmp_path: Path) -> None:
    toy = load(
        tmp_path, steps={"first.trec": "sh -c 'touch {output}; echo first; echo the reason; exit 3'"} | _others()
    )
    with pytest.raises(IaaRetrievalError, match=r"step first\.trec failed \(the reason\); see (.*)") as caught:
        run_all(toy, tmp_path / "runs", 1)
    log = Path(str(caught.value).rsplit("see ", 1)[1])
    assert log.read_text() == "first\nthe reason\n"
    # The file that it left is not used in the next run.
    assert run_all(load(tmp_path), tmp_path / "runs", 1)[0].outcome is Outcome.OK


def _others() -> dict[str, str]:
    return {name: "cp {first.trec} {output}" for name in ("copy.trec", "better.trec")}


def test_a_command_that_does_not_exist(tmp_path: Path) -> None:
    toy = load(tmp_path, steps={"first.trec": "no-such-program {output}"} | _others())
    with pytest.raises(IaaRetrievalError, match=r"step first\.trec: cannot run no-such-program"):
        run_all(toy, tmp_path / "runs", 1)


def test_a_command_that_makes_nothing(tmp_path: Path) -> None:
    toy = load(tmp_path, steps={"first.trec": "echo {output}"} | _others())
    with pytest.raises(IaaRetrievalError, match=r"stage first\.trec ended without making"):
        run_all(toy, tmp_path / "runs", 1)


def test_python_is_this_python(tmp_path: Path) -> None:
    script = "import sys; print(sys.executable, file=open(sys.argv[1], chr(119)))"
    toy = load(tmp_path, steps={"first.trec": f"python -c '{script}' {{output}}"} | _others())
    with pytest.raises(IaaRetrievalError):  # what it makes is no run
        run_all(toy, tmp_path / "runs", 1)
    import sys

    assert (tmp_path / "runs" / "first.trec").read_text().strip() == sys.executable


def test_environment_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = load(tmp_path, steps={"first.trec": 'cp "$TOY_DATA/source.trec" {output}'} | _others())
    with pytest.raises(IaaRetrievalError, match="TOY_DATA is not set"):
        run_all(toy, tmp_path / "runs", 1)
    monkeypatch.setenv("TOY_DATA", str(tmp_path))
    assert run_all(toy, tmp_path / "runs", 1)[0].outcome is Outcome.OK


def load_tuned(directory: Path, **changes: object) -> Reproduction:
    values = tuned_values(directory)
    values["conditions"][0] |= changes
    write_reproduction(directory, values)
    return load_reproduction("toy", directory)


def test_a_committed_checkpoint_replaces_training(tmp_path: Path) -> None:
    toy = load_tuned(tmp_path)
    tuned = toy.plans[0]
    with pytest.raises(IaaRetrievalError, match=r"no checkpoint of iaa-l-0\.5 \(retrieval\) is committed in .*leave"):
        run_condition(tuned, tmp_path / "runs", from_checkpoint=True)
    commit_checkpoint(tmp_path)
    result = run_condition(tuned, tmp_path / "runs", from_checkpoint=True)
    assert result.from_checkpoint and result.first.history == [] and result.first.seconds is None
    assert [c.outcome for c in compare(tuned, result)] == [Outcome.OK, Outcome.OK]
    assert not (tmp_path / "runs" / "iaa-l-0.5").exists()
    # Another checkpoint makes what was made from it stale.
    commit_checkpoint(tmp_path, BETTER_RUN)
    result = run_condition(tuned, tmp_path / "runs", from_checkpoint=True)
    assert result.mean("test", "MRR@10") == 1.0
    with pytest.raises(IaaRetrievalError, match=r"step iaa-l-0\.5 failed"):  # training is really left out, not quiet
        run_condition(tuned, tmp_path / "runs")


def test_a_checkpoint_is_compared_with_its_own_seeds_score_more_strictly(tmp_path: Path) -> None:
    values = tuned_values(tmp_path)
    seeds = {42: 0.8155, 43: 0.8555}
    values["conditions"][0] |= {
        "seeds": [42, 43],
        "scores": {"test": {"nDCG@10": score(0.8355, tolerance=0.05, seeds=seeds)}},
    }
    values["checkpoint_tolerance"] = 0.0001
    commit_checkpoint(tmp_path)
    write_reproduction(tmp_path, values)
    toy = load_reproduction("toy", tmp_path)
    result = run_condition(toy.plans[0], tmp_path / "runs", from_checkpoint=True)
    assert list(result.seeds) == [42]
    assert compare(toy.plans[0], result)[0].outcome is Outcome.OK
    values["conditions"][0]["scores"]["test"]["nDCG@10"] |= {"value": 0.836, "seeds": {42: 0.8165, 43: 0.8555}}
    write_reproduction(tmp_path, values)
    toy = load_reproduction("toy", tmp_path)
    assert compare(toy.plans[0], result)[0].outcome is Outcome.LOWER


def test_several_seeds_are_all_run_and_averaged(tmp_path: Path) -> None:
    values = toy_values(tmp_path)
    for seed, run in ((1, "source"), (2, "better")):
        (tmp_path / f"{seed}.trec").write_text((tmp_path / f"{run}.trec").read_text())
    values["steps"]["<name>.trec"] = f"cp {tmp_path}/<seed>.trec {{output}}"
    seeds = {1: 0.75, 2: 1.0}
    del values["conditions"][1:]
    values["conditions"][0] |= {
        "run": "",
        "seeds": [1, 2],
        "scores": {"test": {"MRR@10": score(0.875, tolerance=0.0, seeds=seeds)}},
    }
    write_reproduction(tmp_path, values)
    toy = load_reproduction("toy", tmp_path)
    result = run_condition(toy.plans[0], tmp_path / "runs")
    assert result.seed_means("test", "MRR@10") == seeds
    comparison = compare(toy.plans[0], result)[1]
    assert (comparison.measured, comparison.outcome) == (0.875, Outcome.OK)
    assert {path.name for path in (tmp_path / "runs").glob("*.trec")} == {"plain.trec", "plain-seed2.trec"}
