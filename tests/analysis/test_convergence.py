"""Learning curves, on hand-made histories whose numbers are worked out by hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from histories import write_result, write_run

from iaa_retrieval.analysis.curves import mean_height, smoothed, step_down_to
from iaa_retrieval.analyze import main


def analyze(*words: str | Path):
    return CliRunner().invoke(main, ["convergence", *map(str, words)])


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_smoothing_weighs_older_values_less_and_all_of_them_by_the_same_rule() -> None:
    # Weight 1/2: 4; (4/2 + 1) / (1/2 + 1) = 2; (4/4 + 1/2 + 0) / (1/4 + 1/2 + 1) = 6/7.
    assert smoothed({10: 4.0, 20: 1.0, 30: 0.0}, 0.5) == pytest.approx({10: 4.0, 20: 2.0, 30: 6 / 7})
    assert smoothed({10: 4.0, 20: 1.0}, 0.0) == {10: 4.0, 20: 1.0}
    level = dict.fromkeys(range(50), 0.3)
    assert smoothed(level, 0.9) == pytest.approx(level)


def test_the_mean_height_is_the_area_of_trapezoids() -> None:
    curve = {10: 4.0, 20: 2.0, 40: 1.0, 50: 7.0}
    assert mean_height(curve, 40) == pytest.approx((10 * 3 + 20 * 1.5) / 30)
    assert mean_height(curve, 100) == pytest.approx(np.trapezoid(list(curve.values()), list(curve)) / 40)
    assert mean_height(curve, 10) is None


def test_a_value_is_reached_where_the_curve_stays_below_it() -> None:
    curve = {10: 0.2, 20: 0.5, 30: 0.3, 40: 0.25}
    assert step_down_to(curve, 0.3) == 30  # the dip at 10 was before it rose again
    assert step_down_to(curve, 0.5) == 10
    assert step_down_to(curve, 0.1) is None


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two seeds of LoRA and one run of IAA-L."""
    return [
        write_run(tmp_path / "lora42", {10: 4.0, 20: 2.0, 30: 2.0, 40: 1.0}, {20: 0.5, 40: 0.4}),
        write_run(tmp_path / "lora43", {10: 2.0, 20: 2.0, 30: 1.0, 40: 0.0}, {20: 0.1, 40: 0.2}, seed=43),
        write_run(
            tmp_path / "iaa", {10: 3.0, 20: 1.0, 30: 1.0, 40: 0.25}, {20: 0.6, 40: 0.6}, method="iaa-l", steps=39
        ),
    ]


def test_the_numbers_of_the_table(runs: list[Path], tmp_path: Path) -> None:
    done = analyze(*runs, "--smoothing", "0", "--output", tmp_path / "out")
    assert done.exit_code == 0, done.output
    lora, iaa = rows_of(tmp_path / "out" / "convergence-numbers.csv")
    assert (lora["label"], lora["runs"], lora["steps"]) == ("lora", "2", "40")
    # The mean loss of LoRA is 3, 2, 1.5, 0.5 at steps 10, 20, 30, 40.
    assert float(lora["final loss"]) == 0.5
    assert float(lora["final loss sd"]) == pytest.approx(np.std([1, 0], ddof=1))
    assert float(lora["mean loss to the common end"]) == pytest.approx((2.5 + 1.75 + 1.0) / 3)
    assert float(lora["best dev nDCG@10"]) == pytest.approx(0.35)
    assert float(lora["best dev nDCG@10 sd"]) == pytest.approx(np.std([0.5, 0.2], ddof=1))
    assert lora["steps of the best"] == "20 40"
    assert (iaa["label"], iaa["final loss"], iaa["final loss sd"], iaa["steps of the best"]) == (
        "iaa-l",
        "0.25",
        "",
        "20",
    )
    reached = rows_of(tmp_path / "out" / "convergence-reached.csv")
    assert [row["iaa-l"] for row in reached] == ["never", ""]
    assert [row["lora"] for row in reached] == ["", "40"]
    assert "iaa-l" in done.stdout and "0.5000 +- 0.7071" in done.stdout and "20-40" in done.stdout
    assert (tmp_path / "out" / "convergence.txt").read_text() == done.stdout


def test_every_logged_number_is_in_the_data_of_the_figure(runs: list[Path], tmp_path: Path) -> None:
    assert analyze(*runs, "--smoothing", "0.5", "--output", tmp_path / "out").exit_code == 0
    rows = rows_of(tmp_path / "out" / "convergence.csv")
    assert len(rows) == 3 * (4 + 4 + 2)
    kept = {int(r["step"]): float(r["value"]) for r in rows if r["seed"] == "43" and r["quantity"] == "smoothed loss"}
    assert kept == pytest.approx({10: 2.0, 20: 2.0, 30: (0.5 + 1 + 1) / 1.75, 40: (0.25 + 0.5 + 0.5) / 1.875})
    assert (tmp_path / "out" / "convergence.png").read_bytes().startswith(b"\x89PNG")
    svg = (tmp_path / "out" / "convergence.svg").read_bytes()
    assert analyze(*runs, "--smoothing", "0.5", "--output", tmp_path / "out").exit_code == 0  # again: the same bytes
    assert (tmp_path / "out" / "convergence.svg").read_bytes() == svg


def test_runs_of_one_method_are_told_apart_by_what_differs(tmp_path: Path) -> None:
    loss = {10: 1.0, 20: 0.5}
    paths = [
        write_run(tmp_path / "a", loss),
        write_run(tmp_path / "b", loss, learning_rate=0.01),
        write_run(tmp_path / "c", loss, dimensions={"r": 8}),
    ]
    assert analyze(*paths, "--output", tmp_path / "out").exit_code == 0
    labels = [row["label"] for row in rows_of(tmp_path / "out" / "convergence-numbers.csv")]
    assert labels == ["lora (r 4, learning rate 0.001)", "lora (r 4, learning rate 0.01)", "lora (r 8, learning rate 0.001)"]  # fmt: skip  # noqa: E501
    named = analyze(*paths, *("--label", "x"), *("--label", "y"), *("--label", "z"), "--output", tmp_path / "out")
    assert named.exit_code == 0
    assert [row["label"] for row in rows_of(tmp_path / "out" / "convergence-numbers.csv")] == ["x", "y", "z"]


def test_runs_of_a_label_that_end_at_other_steps_are_averaged_where_both_are(tmp_path: Path) -> None:
    paths = [
        write_run(tmp_path / "a", {10: 1.0, 20: 0.5, 30: 0.1}),
        write_run(tmp_path / "b", {10: 3.0, 20: 1.5}, seed=43, steps=20),
    ]
    done = analyze(*paths, "--label", "mine", "--label", "mine", "--smoothing", "0", "--output", tmp_path / "out")
    assert done.exit_code == 0, done.output
    (row,) = rows_of(tmp_path / "out" / "convergence-numbers.csv")
    assert (row["steps"], row["final loss"], row["best dev nDCG@10"]) == ("20", "1.0", "")
    assert "mine: its runs end at steps 20, 30; means are over the steps that all have, to 20" in done.stdout
    assert "mine: no dev nDCG@10" in done.stdout

    other = write_run(tmp_path / "c", {15: 1.0}, seed=44)
    apart = analyze(paths[0], other, "--label", "x", "--label", "x", "--output", tmp_path / "out")
    assert apart.exit_code == 2 and "have no step in common" in apart.stderr


def test_results_of_reproductions_give_a_run_for_each_seed(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "toy" / "retrieval"
    histories = {
        seed: [{"step": 10, "loss": loss}, {"step": 20, "loss": 0.5}, {"step": 20, "nDCG@10": 0.4, "MRR@10": 0.3}]
        for seed, loss in ((42, 1.0), (43, 2.0))
    }
    paths = [
        write_result(folder / "iaa-l-0.5.json", histories),
        write_result(folder / "iaa-l-6.7.json", {42: histories[42]}),
        write_result(folder / "bm25.json", {42: []}),
        folder / "iaa-l-0.5.rates.json",
    ]
    paths[-1].write_text("{}")
    done = analyze(*paths, "--smoothing", "0", "--metric", "MRR@10", "--output", tmp_path / "out")
    assert done.exit_code == 0, done.output
    rows = rows_of(tmp_path / "out" / "convergence-numbers.csv")
    assert [(row["label"], row["method"], row["runs"]) for row in rows] == [
        ("iaa-l-0.5", "iaa-l", "2"),
        ("iaa-l-6.7", "iaa-l", "1"),
    ]
    assert [float(row["mean loss to the common end"]) for row in rows] == [pytest.approx(1.0), pytest.approx(0.75)]
    assert float(rows[0]["best dev MRR@10"]) == 0.3
    assert "Left out, as they hold no history (2): bm25.json, iaa-l-0.5.rates.json." in done.stdout

    both = analyze(paths[0], write_run(tmp_path / "run", {10: 1.0, 20: 0.1}), "--output", tmp_path / "out")
    assert both.exit_code == 0, both.output
    assert "Not every run says its reproduced collection, backbone, collection," in both.stdout.replace("kind, ", "")


@pytest.mark.parametrize(
    ("changed", "message"),
    (
        ({"batch_size": 8}, "batch size is 4 and 8"),
        ({"collection": "other"}, "collection is toy and other"),
        ({"temperature": 0.1}, "temperature is 0.05 and 0.1"),
        ({"kind": "cross-encoder"}, "kind is bi-encoder and cross-encoder"),
    ),
)
def test_runs_of_different_tasks_are_refused(tmp_path: Path, changed: dict, message: str) -> None:
    paths = [write_run(tmp_path / "a", {10: 1.0}), write_run(tmp_path / "b", {10: 1.0}, method="full", **changed)]
    done = analyze(*paths, "--output", tmp_path / "out")
    assert done.exit_code == 2
    assert done.stderr.startswith(f"Error: {paths[0]} and {paths[1]} cannot be compared: {message};")
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_read_is_said_in_one_line(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", {10: 1.0})
    twice = analyze(run, write_run(tmp_path / "b", {10: 1.0}), "--output", tmp_path / "out")
    assert twice.exit_code == 2 and "are the same run (seed 42)" in twice.stderr
    few = analyze(run, run, "--label", "x", "--output", tmp_path / "out")
    assert few.exit_code == 2 and "1 --label for 2 runs" in few.stderr
    missing = analyze(tmp_path / "none", "--output", tmp_path / "out")
    assert missing.exit_code == 2 and f"there is no run {tmp_path / 'none'}" in missing.stderr
    plain = analyze(tmp_path, "--output", tmp_path / "out")
    assert plain.exit_code == 2 and "is no trained checkpoint" in plain.stderr

    (run / "history.json").write_text(json.dumps([{"step": 6, "eval_nDCG@10": 0.5}]))
    short = analyze(run, "--output", tmp_path / "out")
    assert short.exit_code == 1 and "holds no training loss; it is logged every 10 steps" in short.stderr
    (run / "history.json").write_text("[1]")
    damaged = analyze(run, "--output", tmp_path / "out")
    assert damaged.exit_code == 1 and "is no training history" in damaged.stderr
    (run / "history.json").unlink()
    without = analyze(run, "--output", tmp_path / "out")
    assert without.exit_code == 1 and "has no history.json" in without.stderr
    nothing = analyze(write_result(tmp_path / "toy" / "bm25.json", {42: []}), "--output", tmp_path / "out")
    assert nothing.exit_code == 1 and "no run was trained among bm25.json" in nothing.stderr
