import json
from collections.abc import Callable
from pathlib import Path

import pytest

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.reproduction.stages import Environment, Stages
from iaa_retrieval.work_in_progress import locked


class Counter:
    """Makes files and remembers which."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def __call__(self, output: Path) -> None:
        self.made.append(output.name)
        output.write_text(f"{output.name} number {len(self.made)}")


@pytest.fixture
def make() -> Counter:
    return Counter()


def run_both(directory: Path, make: Callable[[Path], None], first: int = 1, second: int = 1) -> Stages:
    """Stage b is made from a; a fresh ``Stages`` each time, as in a new process."""
    stages = Stages(directory)
    assert stages.run("a", {"value": first}, make) == directory / "a"
    stages.run("b", {"value": second}, make, after=("a",))
    return stages


def test_a_valid_output_is_used_again(tmp_path: Path, make: Counter) -> None:
    first = run_both(tmp_path, make)
    assert (make.made, first.reused) == (["a", "b"], [])
    second = run_both(tmp_path, make)
    assert (make.made, second.reused) == (["a", "b"], ["a", "b"])
    assert second.seconds == first.seconds
    assert (tmp_path / "b").read_text() == "b number 2"


def test_changed_inputs_make_it_and_what_follows_stale(tmp_path: Path, make: Counter) -> None:
    run_both(tmp_path, make)
    assert run_both(tmp_path, make, second=2).reused == ["a"]
    assert make.made == ["a", "b", "b"]
    assert run_both(tmp_path, make, first=2, second=2).reused == []
    # Back to the first inputs: what lies there was made from others.
    assert run_both(tmp_path, make).reused == []


def test_an_upstream_that_was_made_again_makes_the_rest_stale(tmp_path: Path, make: Counter) -> None:
    """Training twice need not give the same weights, so an index of the first weights must not be used again."""
    run_both(tmp_path, make)
    (tmp_path / "a").unlink()
    assert run_both(tmp_path, make).reused == []
    # The same when the process ended in between.
    (tmp_path / "a").unlink()
    Stages(tmp_path).run("a", {"value": 1}, make)
    assert run_both(tmp_path, make).reused == ["a"]


def test_a_missing_output_is_made_again(tmp_path: Path, make: Counter) -> None:
    run_both(tmp_path, make)
    (tmp_path / "b").unlink()
    assert run_both(tmp_path, make).reused == ["a"]


@pytest.mark.parametrize("error", [IaaRetrievalError, KeyboardInterrupt])
def test_a_failure_leaves_no_record(tmp_path: Path, make: Counter, error: type[BaseException]) -> None:
    def fail(output: Path) -> None:
        output.mkdir()
        (output / "half").touch()
        raise error("stop")

    run_both(tmp_path, make)
    with pytest.raises(error):
        Stages(tmp_path).run("a", {"value": 2}, fail)
    assert not (tmp_path / ".stages" / "a.json").exists()
    # Nothing of the failed attempt is left in the next one, also with the inputs of the last good one.
    assert run_both(tmp_path, make).reused == []
    assert (tmp_path / "a").is_file()


def test_a_stage_must_make_its_output(tmp_path: Path) -> None:
    with pytest.raises(IaaRetrievalError, match="stage a ended without making"):
        Stages(tmp_path).run("a", {}, lambda output: None)
    assert not (tmp_path / ".stages" / "a.json").exists()


def test_a_foreign_output_is_not_used(tmp_path: Path, make: Counter) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "foreign").touch()
    assert run_both(tmp_path, make).reused == []
    assert (tmp_path / "a").read_text() == "a number 1"


@pytest.mark.parametrize("name", ["library_versions", "code_fingerprint"])
def test_other_versions_or_other_code_make_all_stale(
    tmp_path: Path, make: Counter, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_both(tmp_path, make)
    other = {"library_versions": {"torch": "999"}, "code_fingerprint": "0123"}[name]
    monkeypatch.setattr(f"iaa_retrieval.reproduction.stages.{name}", lambda: other)
    assert run_both(tmp_path, make).reused == []
    assert run_both(tmp_path, make).reused == ["a", "b"]


def test_an_input_that_is_edited_in_place_makes_it_stale(tmp_path: Path, make: Counter) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "corpus.jsonl").write_text("one")

    def run() -> list[str]:
        stages = Stages(tmp_path / "runs")
        stages.run("a", {}, make, reads=[str(data), "no-such-thing"])
        return stages.reused

    assert run() == [] and run() == ["a"]
    (data / "corpus.jsonl").write_text("two")
    assert run() == [] and run() == ["a"]
    (data / "queries.jsonl").write_text("more")
    assert run() == [] and run() == ["a"]
    # The same content at another time is the same content.
    (data / "corpus.jsonl").write_text("two")
    assert run() == ["a"]


def test_files_that_did_not_change_are_not_read_again(
    tmp_path: Path, make: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "large").write_text("content")
    Stages(tmp_path / "runs").run("a", {}, make, reads=[str(tmp_path / "large")])
    monkeypatch.setattr("iaa_retrieval.reproduction.contents.sha256_of", lambda path: pytest.fail("read again"))
    stages = Stages(tmp_path / "runs")
    stages.run("a", {}, make, reads=[str(tmp_path / "large")])
    assert stages.reused == ["a"]


def test_an_output_says_what_it_was_made_in(tmp_path: Path, make: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    then = Environment("2020-01-02", "a machine", {"torch": "1"})
    with monkeypatch.context() as patch:
        patch.setattr("iaa_retrieval.reproduction.stages.current_environment", lambda: then)
        run_both(tmp_path, make)
    stages = run_both(tmp_path, make, second=2)
    assert stages.environments["a"] == then
    assert stages.environments["b"].date > "2026" and "python" in stages.environments["b"].versions


def test_what_was_there_is_kept_until_the_new_output_is_whole(tmp_path: Path, make: Counter) -> None:
    run_both(tmp_path, make)

    def fail(output: Path) -> None:
        raise IaaRetrievalError("no")

    def fail_in_the_middle(output: Path) -> None:
        output.write_text("half")
        fail(output)

    for attempt in (fail_in_the_middle, fail_in_the_middle, fail):
        with pytest.raises(IaaRetrievalError):
            Stages(tmp_path).run("a", {"value": 2}, attempt)
        assert (tmp_path / ".stages" / "a.before" / "a").read_text() == "a number 1"
    run_both(tmp_path, make)
    assert not (tmp_path / ".stages" / "a.before").exists()


@pytest.mark.parametrize(("value", "kept"), [(1, True), (2, False)])
def test_interrupted_work_stays_for_the_same_output_only(value: int, kept: bool, tmp_path: Path) -> None:
    work = tmp_path / ".a.training"

    def stop(output: Path) -> None:
        work.mkdir()
        raise KeyboardInterrupt

    def finish(output: Path) -> None:
        assert work.exists() == kept
        output.touch()

    with pytest.raises(KeyboardInterrupt):
        Stages(tmp_path).run("a", {"value": 1}, stop)
    Stages(tmp_path).run("a", {"value": value}, finish)


def test_another_process_that_makes_it_just_now_is_named(tmp_path: Path, make: Counter) -> None:
    with locked(tmp_path / ".stages" / "a"), pytest.raises(IaaRetrievalError, match="is in use by process"):
        run_both(tmp_path, make)
    assert make.made == []


def test_a_damaged_record_is_an_error_that_names_it(tmp_path: Path, make: Counter) -> None:
    run_both(tmp_path, make)
    record = tmp_path / ".stages" / "a.json"
    assert json.loads(record.read_text())["seconds"] >= 0
    record.write_text("{")
    with pytest.raises(IaaRetrievalError, match=r"a\.json is not valid JSON"):
        run_both(tmp_path, make)
