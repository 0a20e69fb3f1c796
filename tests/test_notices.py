"""What a run says once."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from iaa_retrieval.evaluate import main
from iaa_retrieval.notices import begin_run, warn_once


def test_a_warning_is_said_once_in_a_run(caplog: pytest.LogCaptureFixture) -> None:
    begin_run()
    for message in ("one of 100 % is missing", "two", "one of 100 % is missing"):
        warn_once(message)
    assert caplog.messages == ["one of 100 % is missing", "two"]


def test_every_command_is_a_run_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    warn_once("again")
    CliRunner().invoke(main, ["--qrels", "gone.tsv", "--run", __file__])
    caplog.clear()
    warn_once("again")
    assert caplog.messages == ["again"]
