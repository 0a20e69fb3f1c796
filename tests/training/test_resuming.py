"""Interrupted at any step, in any epoch, and continued: the same bits as without the interruption."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from interruptions import Killed, kill_after_steps
from test_training_run import same, weights

from iaa_retrieval.errors import UsageError
from iaa_retrieval.files import read_json
from iaa_retrieval.options import changed, flat
from iaa_retrieval.training import run as training_run
from iaa_retrieval.training.data import ExampleDataset
from iaa_retrieval.training.options import TrainOptions
from iaa_retrieval.training.run import train_retriever

Options = Callable[..., TrainOptions]
STEPS = Path(__file__).with_name("resuming_steps.py")


@pytest.mark.parametrize(
    ("saved", "steps", "kind", "dev"),
    [
        pytest.param(4, 5, "bi-encoder", {}, id="inside-epoch-2"),
        pytest.param(4, 5, "cross-encoder", {"dev_split": "dev"}, id="inside-epoch-2-with-dev"),
        pytest.param(5, 6, "bi-encoder", {"dev_split": "dev"}, id="before-its-last-step-with-dev"),
        pytest.param(3, 7, "cross-encoder", {}, id="at-a-boundary"),
        pytest.param(3, 7, "bi-encoder", {"dev_split": "dev"}, id="at-a-boundary-with-dev"),
        pytest.param(8, 8, "cross-encoder", {}, id="inside-epoch-3"),
    ],
)
def test_a_run_that_is_resumed_from_any_step_ends_with_the_same_bits(
    saved: int, steps: int, kind: str, dev: dict[str, Any], toy_options: Options
) -> None:
    """Three steps make an epoch; negatives are drawn anew in each, three of seven."""
    values = {"epochs": 3.0, "eval_steps": saved, "negatives_per_query": 3, "lr": 1e-2, "dropout": 0.1, **dev}
    whole = train_retriever(toy_options(kind, "whole", **values))
    with pytest.MonkeyPatch.context() as patch:
        kill_after_steps(patch, steps)
        with pytest.raises(Killed):
            train_retriever(toy_options(kind, "killed", **values))
    resumed = train_retriever(toy_options(kind, "killed", resume=True, **values))
    assert same(weights(whole.output), weights(resumed.output))
    assert whole.dev_scores == resumed.dev_scores
    histories = [read_json(result.output / "history.json") for result in (whole, resumed)]
    assert histories[0][:-1] == histories[1][:-1]  # the last entry holds seconds


@pytest.mark.parametrize(
    "values", [{"max_steps": 7, "eval_steps": 2}, {"epochs": 1.5}, {"epochs": 4.0, "dev_split": "dev", "patience": 1}]
)
def test_a_run_that_was_at_its_end_takes_no_further_step(values: dict[str, Any], toy_options: Options) -> None:
    values = {"epochs": 3.0, "lr": 1e-2, "batch_size": 7, **values}
    whole = train_retriever(toy_options(name="whole", **values))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_run, "write_checkpoint", _die)
        with pytest.raises(Killed):
            train_retriever(toy_options(name="killed", **values))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("iaa_retrieval.training.trainer.RetrievalTrainer.training_step", _die)
        resumed = train_retriever(toy_options(name="killed", resume=True, **values))
    assert same(weights(whole.output), weights(resumed.output))
    assert whole.dev_scores == resumed.dev_scores


def _die(*args: Any, **kwargs: Any) -> None:
    raise Killed


def test_every_epoch_draws_its_own_negatives_in_every_kind_of_run(toy_options: Options) -> None:
    """What is drawn for a position depends on seed and epoch, resumed or not."""
    drawn: dict[tuple[int, int], list[str]] = {}
    values = {"epochs": 3.0, "eval_steps": 4, "negatives_per_query": 3}
    with pytest.MonkeyPatch.context() as patch:
        record_draws(patch, lambda epoch, index, ids: drawn.update({(epoch, index): ids}))
        whole = train_retriever(toy_options(name="whole", **values))
    assert whole.output.is_dir()
    assert {epoch for epoch, _ in drawn} == {0, 1, 2}
    assert all(drawn[0, index] != drawn[1, index] for index in (0, 1, 2, 3))
    again: dict[tuple[int, int], list[str]] = {}
    with pytest.MonkeyPatch.context() as patch:
        kill_after_steps(patch, 5)
        with pytest.raises(Killed):
            train_retriever(toy_options(name="killed", **values))
    with pytest.MonkeyPatch.context() as patch:
        record_draws(patch, lambda epoch, index, ids: again.update({(epoch, index): ids}))
        train_retriever(toy_options(name="killed", resume=True, **values))
    assert {epoch for epoch, _ in again} == {1, 2}
    assert all(drawn[key] == ids for key, ids in again.items())


def record_draws(patch: pytest.MonkeyPatch, record: Callable[[int, int, list[str]], Any]) -> None:
    draw = ExampleDataset.__getitem__

    def recorded(self: ExampleDataset, index: int) -> Any:
        example = draw(self, index)
        record(self._epoch, index, example.passage_ids)
        return example

    patch.setattr(ExampleDataset, "__getitem__", recorded)


def torchrun(*arguments: str | Path, processes: int = 2) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def test_two_processes_draw_anew_in_each_epoch_and_resume_to_the_same_bits(
    toy_options: Options, tmp_path: Path
) -> None:
    values = {"epochs": 3.0, "eval_steps": 4, "negatives_per_query": 3, "batch_size": 4, "lr": 1e-2}
    options = {name: flat(toy_options(name=name, **values)) for name in ("whole", "killed")}
    (tmp_path / "options.json").write_text(json.dumps(options))
    finished = torchrun(STEPS, tmp_path)
    assert finished.returncode == 0, finished.stderr
    by_epoch: dict[int, dict[int, list[str]]] = defaultdict(dict)
    for rank in (0, 1):
        drawn = [json.loads(line) for line in (tmp_path / f"drawn-{rank}.jsonl").read_text().splitlines()]
        assert len(drawn) == 36  # half of 24 examples in each of three epochs
        for epoch, index, passage_ids in drawn:
            assert index not in by_epoch[epoch]  # no example is taken by both
            by_epoch[epoch][index] = passage_ids
    assert [len(by_epoch[epoch]) for epoch in range(3)] == [24, 24, 24]
    # The negatives are those that one process would draw.
    one: dict[int, dict[int, list[str]]] = defaultdict(dict)
    with pytest.MonkeyPatch.context() as patch:
        record_draws(patch, lambda epoch, index, ids: one[epoch].update({index: ids}))
        train_retriever(toy_options(name="one", **{**values, "batch_size": 8}))
    assert by_epoch == one
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        (
            10,
            r"too few training examples \(10\) for 2 processes with --batch-size 8, which take 16 in a step; "
            "use --batch-size 5 or fewer processes",
        ),
        (1, r"too few training examples \(1\) for 2 processes .* use other data or fewer processes"),
    ],
)
def test_too_few_examples_for_all_processes_are_said_before_training(
    queries: int, message: str, toy_options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")  # as torchrun does
    with pytest.raises(UsageError, match=message):
        train_retriever(toy_options(train_queries=queries, batch_size=8))


def test_too_few_examples_in_one_process_are_all_taken_and_said(
    toy_options: Options, caplog: pytest.LogCaptureFixture
) -> None:
    result = train_retriever(toy_options(train_queries=5, batch_size=8, epochs=2.0))
    assert read_json(result.output / "retriever.json")["training"]["steps"] == 2
    assert "the training examples (5) are fewer than --batch-size 8: each step takes all of them" in caplog.text


def test_a_step_in_which_nothing_is_compared_is_refused(toy_options: Options) -> None:
    alone = changed(toy_options(batch_size=1), negatives=None)
    with pytest.raises(UsageError, match="there are 24, --batch-size is 1 and no --negatives are given"):
        train_retriever(alone)
