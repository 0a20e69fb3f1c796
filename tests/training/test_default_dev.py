"""The dev queries of a cross-encoder for which nobody named any."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from iaa_retrieval.collections.runs import read_run
from iaa_retrieval.collections.types import Run
from iaa_retrieval.options import changed
from iaa_retrieval.training import default_dev
from iaa_retrieval.training.default_dev import with_default_dev
from iaa_retrieval.training.judgments import Judgments, load_judgments
from iaa_retrieval.training.kinds import TRAINING_KINDS
from iaa_retrieval.training.options import TrainOptions

Options = Callable[..., TrainOptions]


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two dev queries are enough here: of the toy collection's 24 training queries two are a tenth."""
    monkeypatch.setattr(default_dev, "FEWEST_DEV_QUERIES", 2)


def chosen(options: TrainOptions, run: Run) -> Judgments:
    judgments = load_judgments(options.data, options.dev, options.seed)
    kind = TRAINING_KINDS[options.kind]
    return with_default_dev(kind, judgments, options.data, options.dev, run, options.seed)


def test_the_split_called_dev(toy: Any, toy_options: Options, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "iaa_retrieval")
    for run in (read_run(toy.run), {}):  # a run that has its queries, or one that will be made for them
        found = chosen(toy_options("cross-encoder"), run)
        assert sorted(found.dev) == [f"q{number}" for number in range(24, 32)]
        assert found.dev_collection.split == "dev"
        assert len(found.train) == 24
    assert "no dev queries were named: the 8 of split dev choose the checkpoint" in caplog.text


def test_a_tenth_where_the_run_has_no_query_of_that_split(
    toy: Any, toy_options: Options, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "iaa_retrieval")
    run = {query_id: hits for query_id, hits in read_run(toy.run).items() if int(query_id[1:]) < 24}
    found = chosen(toy_options("cross-encoder"), run)
    assert (len(found.train), len(found.dev), found.dev_collection) == (22, 2, found.collection)
    assert not set(found.train) & set(found.dev)
    assert "2 of 24 training queries are held out" in caplog.text
    # They are drawn from the sample that is trained on, whose hits a run has.
    sampled = toy_options("cross-encoder", train_queries=20)
    before = load_judgments(sampled.data, sampled.dev, sampled.seed).train
    found = chosen(sampled, run)
    assert (len(before), len(found.train), len(found.dev)) == (20, 18, 2)
    assert {*found.train, *found.dev} == set(before)


def test_a_dev_run_says_which_queries_can_be_scored(toy: Any, toy_options: Options, tmp_path: Path) -> None:
    (tmp_path / "dev.trec").write_text("".join(f"q{number} Q0 d1 1 2.0 dev\n" for number in range(24, 32)))
    run = {query_id: hits for query_id, hits in read_run(toy.run).items() if int(query_id[1:]) < 24}
    options = changed(toy_options("cross-encoder"), dev_run=str(tmp_path / "dev.trec"))
    assert chosen(options, run).dev_collection.split == "dev"


@pytest.mark.parametrize(
    ("kind", "values"), [("bi-encoder", {}), ("cross-encoder", {"dev_fraction": 0.0}), ("bi-encoder", {"split": "dev"})]
)
def test_where_none_are_chosen(kind: str, values: dict[str, Any], toy: Any, toy_options: Options) -> None:
    assert chosen(toy_options(kind, **values), read_run(toy.run)).dev == {}


def test_what_was_named_stays(toy: Any, toy_options: Options) -> None:
    found = chosen(toy_options("cross-encoder", dev_fraction=0.5), read_run(toy.run))
    assert (len(found.train), len(found.dev)) == (12, 12)


def test_too_few_are_not_held_out_unasked(
    toy: Any, toy_options: Options, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "iaa_retrieval")
    monkeypatch.setattr(default_dev, "FEWEST_DEV_QUERIES", 10)
    found = chosen(toy_options("cross-encoder"), read_run(toy.run))
    assert (len(found.train), found.dev) == (24, {})
    assert "too few training queries (24) to hold some out unasked" in caplog.text


def test_the_training_split_is_not_its_own_dev_split(toy: Any, toy_options: Options) -> None:
    found = chosen(toy_options("cross-encoder", split="dev", train_queries=None), read_run(toy.run))
    assert found.dev == {}  # a tenth of eight is one query
