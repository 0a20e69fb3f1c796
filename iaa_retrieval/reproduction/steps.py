"""Steps, each of which makes one output: commands from templates, in the chain that leads to a run, and functions.

In a template ``<name>`` stands for a value of the condition (its method, its learning rate, the topic set ...). In a
command ``{output}`` is the step's own output and ``{name}`` the output of the step of that name.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.nearest import did_you_mean
from iaa_retrieval.reproduction.contents import named_in
from iaa_retrieval.reproduction.execution import run_command

_VARIABLE = re.compile(r"<(\w+)>")
_OUTPUT = re.compile(r"\{([\w./-]+)\}")
_TRAIN = "python -m iaa_retrieval.train "


class Step(Protocol):
    """What makes one file or directory, which bears the step's name."""

    @property
    def name(self) -> str:
        """Of the output, below the directory of the run."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the steps whose outputs it reads."""

    @property
    def inputs(self) -> Mapping[str, Any]:
        """What the output depends on besides (plain JSON values)."""

    @property
    def reads(self) -> Sequence[str]:
        """Names of files, directories, collections and backbones outside the run whose content it depends on."""

    def make(self, directory: Path, elsewhere: Mapping[str, Path]) -> None:
        """Make the output below ``directory``, where the outputs it reads are too, but for those ``elsewhere``."""


@dataclass(frozen=True)
class FunctionStep:
    """A function of this process.

    Attributes:
        function: is given the output to make, and the outputs of the steps that it needs by their names.
    """

    name: str
    function: Callable[[Path, Mapping[str, Path]], None]
    inputs: Mapping[str, Any]
    needs: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()

    def make(self, directory: Path, elsewhere: Mapping[str, Path]) -> None:
        """Call the function."""
        self.function(directory / self.name, {name: elsewhere.get(name, directory / name) for name in self.needs})


@dataclass(frozen=True)
class CommandStep:
    """A command that runs as a process of its own; its output is also what a user gets who pastes it."""

    name: str
    command: str

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the steps whose outputs the command reads."""
        return tuple(dict.fromkeys(name for name in _OUTPUT.findall(self.command) if name != "output"))

    @property
    def inputs(self) -> Mapping[str, Any]:
        """The command before outputs have a place, so that it is the same everywhere."""
        return {"command": self.command}

    @property
    def reads(self) -> Sequence[str]:
        """What the command names."""
        return named_in(self.command)

    def make(self, directory: Path, elsewhere: Mapping[str, Path]) -> None:
        """Run the command; what it prints is in ``.stages/NAME.log``.

        Raises:
            IaaRetrievalError: it failed.
        """
        run_command(self.name, self.command_in(directory, elsewhere), directory / ".stages" / f"{self.name}.log")

    @property
    def trains(self) -> bool:
        """Whether it makes a checkpoint."""
        return self.command.startswith(_TRAIN)

    def command_in(self, directory: Path, elsewhere: Mapping[str, Path] | None = None) -> str:
        """The command line as a user pastes it, with outputs below ``directory``, some of them ``elsewhere``."""

        def place(found: re.Match[str]) -> str:
            name = self.name if found[1] == "output" else found[1]
            return str((elsewhere or {}).get(name, directory / name))

        return _OUTPUT.sub(place, self.command)


def expand(template: str, variables: Mapping[str, str]) -> str:
    """Put the values in, with single spaces between the words.

    Raises:
        IaaRetrievalError: a variable that has no value.
    """
    missing = [name for name in _VARIABLE.findall(template) if name not in variables]
    if missing:
        raise IaaRetrievalError(f"nothing sets <{missing[0]}> in: {template}")
    return " ".join(_VARIABLE.sub(lambda found: variables[found[1]], template).split())


def chain_of(last: str, templates: Mapping[str, str], variables: Mapping[str, str]) -> list[CommandStep]:
    """The steps that make ``last``, each after those it needs.

    Args:
        templates: template of an output's name -> template of its command.

    Raises:
        IaaRetrievalError: a step that is missing, made in two ways, needs itself, or cannot be parsed.
    """
    commands: dict[str, str] = {}
    for name_template, command in templates.items():
        if set(_VARIABLE.findall(name_template)) <= set(variables):
            name = expand(name_template, variables)
            if name in commands:
                raise IaaRetrievalError(f"two steps make {name}")
            commands[name] = command
    ordered: dict[str, CommandStep] = {}

    def visit(name: str, before: tuple[str, ...]) -> None:
        if name in before:
            raise IaaRetrievalError(f"step {name} needs its own output, by way of {' and '.join(before)}")
        if name not in commands:
            needing = before[-1] if before else "a condition"
            raise IaaRetrievalError(f"{needing} needs {name}, which is no step{did_you_mean(name, commands)}")
        if name not in ordered:
            step = CommandStep(name, expand(commands[name], variables))
            _check(step)
            for needed in step.needs:
                visit(needed, (*before, name))
            ordered[name] = step

    visit(last, ())
    return list(ordered.values())


def without_training(chain: list[CommandStep]) -> list[CommandStep]:
    """The steps that are left when the checkpoints are there already."""
    made_by = {step.name: step for step in chain}
    needed: set[str] = set()

    def visit(step: CommandStep) -> None:
        if not step.trains and step.name not in needed:
            needed.add(step.name)
            for name in step.needs:
                visit(made_by[name])

    visit(chain[-1])
    return [step for step in chain if step.name in needed]


def _check(step: CommandStep) -> None:
    if "{output}" not in step.command:
        raise IaaRetrievalError(f"step {step.name} does not say where its {{output}} goes")
    try:
        shlex.split(step.command)
    except ValueError as error:
        raise IaaRetrievalError(f"the command of step {step.name} cannot be parsed: {error}") from error
