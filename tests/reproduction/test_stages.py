import json
from collections.abc import Callable
from pathlib import Path

import pytest

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.reproduction.stages import Stages


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


def test_another_version_of_the_package_makes_all_stale(
    tmp_path: Path, make: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_both(tmp_path, make)
    monkeypatch.setattr("iaa_retrieval.reproduction.stages.__version__", "999")
    assert run_both(tmp_path, make).reused == []


def test_a_damaged_record_is_an_error_that_names_it(tmp_path: Path, make: Counter) -> None:
    run_both(tmp_path, make)
    record = tmp_path / ".stages" / "a.json"
    assert json.loads(record.read_text())["seconds"] >= 0
    record.write_text("{")
    with pytest.raises(IaaRetrievalError, match=r"a\.json is not valid JSON"):
        run_both(tmp_path, make)
