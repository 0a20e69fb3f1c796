"""docs/analysis.md shows every instrument, with commands and options that there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from iaa_retrieval.analyze import main

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "analysis.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines()]


def test_every_instrument_has_its_section_and_its_row() -> None:
    assert re.findall(r"^## ([\w-]+)$", PAGE, re.MULTILINE) == re.findall(r"^\| \[`([\w-]+)`\]", PAGE, re.MULTILINE)
    assert {shlex.split(line)[3] for line in COMMANDS} <= set(main.commands)
    assert {"convergence", "rates", "cost"} <= {shlex.split(line)[3] for line in COMMANDS}


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_page_is_understood(line: str) -> None:
    words = shlex.split(line)
    assert words[:3] == ["python", "-m", "iaa_retrieval.analyze"]
    command = main.commands[words[3]]
    command.make_context(words[3], words[4:], parent=click.Context(main))


def test_every_option_that_is_named_exists() -> None:
    there = {flag for command in main.commands.values() for option in command.params for flag in option.opts}
    of_train = {"--dev-fraction"}
    assert set(re.findall(r"--[a-z][a-z-]+", PAGE)) - there == of_train
