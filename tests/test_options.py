"""Options that are stated once: click, checks and flat records all come from the fields."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click
import pytest
from click.testing import CliRunner

from iaa_retrieval.errors import UsageError
from iaa_retrieval.keyword_options import documented_options
from iaa_retrieval.options import (
    Checked,
    NamesOf,
    Option,
    above,
    at_least,
    build,
    changed,
    check,
    click_options,
    default_for,
    flat,
    group,
    names_of,
    one_of,
    option,
    share,
)


@dataclass(frozen=True)
class Rate(Checked):
    lr: float | None = option(None, help="Peak rate.", default_of={"bi": 1e-3, "cross": 5e-5}, check=above(0))
    warmup: float = option(0.1, help="Share of the steps.", check=share())


@dataclass(frozen=True)
class Whole(Checked):
    data: str = option(help="What to read.", metavar="ID")
    batch: int = option(32, help={"bi": "Texts.", "cross": "Pairs."}, check=at_least(1))
    unit: bool | None = option(None, help="Unit length.", default_text="the model's own", variants=("bi",))
    loud: bool = option(False, help="Say more.")
    ranks: tuple[int, int] = option((1, 100), help="First and last.")
    fields: tuple[str, ...] = option((), help="Names.")
    how: str = option("fast", help="Way.", check=one_of("fast", "exact"))
    dims: dict[str, int] = option({}, python_only=True)
    rate: Rate = group(Rate)


def _command(variant: str, seen: list[dict[str, Any]]) -> click.Command:
    @click.command()
    @click_options(Whole, variant)
    def main(**values: Any) -> None:
        seen.append(values)

    return main


def test_help_has_every_option_of_the_variant_with_its_default() -> None:
    bi, cross = (CliRunner().invoke(_command(name, []), ["--help"]).output for name in ("bi", "cross"))
    for text in ("--data ID", "[required]", "Texts.  [default: 32]", "Peak rate.  [default: 0.001]", "[fast|exact]"):
        assert text in bi
    assert "--unit / --no-unit" in bi and "[default: the model's own]" in bi
    assert "--unit" not in cross and "Pairs." in cross and "[default: 5e-05]" in cross
    assert "--dims" not in bi


def test_the_command_line_and_python_give_the_same_object() -> None:
    seen: list[dict[str, Any]] = []
    line = "--data x --no-unit --loud --ranks 2 9 --fields a --fields b --how exact --lr 0.5".split()
    result = CliRunner().invoke(_command("bi", seen), line)
    assert result.exit_code == 0, result.output
    made = build(Whole, seen[0])
    assert made == Whole("x", unit=False, loud=True, ranks=(2, 9), fields=("a", "b"), how="exact", rate=Rate(lr=0.5))
    assert list(flat(made)) == "data batch unit loud ranks fields how dims lr warmup".split()


def test_defaults_are_those_of_the_fields() -> None:
    seen: list[dict[str, Any]] = []
    CliRunner().invoke(_command("bi", seen), ["--data", "x"])
    assert build(Whole, seen[0]) == Whole("x")
    assert default_for(Rate(), "lr", "cross") == 5e-5
    assert default_for(Rate(lr=2.0), "lr", "cross") == 2.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch": 0}, "--batch 0 is out of range; it must be 1 or more"),
        ({"lr": 0.0}, "--lr 0.0 is out of range; it must be above 0"),
        ({"lr": float("nan")}, "--lr nan is out of range; it must be above 0"),
        ({"warmup": 1.0}, "--warmup 1.0 is out of range; it must be 0 or more and below 1"),
        ({"how": "slow"}, "--how slow is out of range; it must be one of fast, exact"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        build(Whole, values, data="x")
    assert str(refused.value) == message


def test_changes_go_where_the_option_stands_and_unknown_names_are_refused() -> None:
    assert changed(Whole("x"), warmup=0.2, batch=3) == Whole("x", batch=3, rate=Rate(warmup=0.2))
    with pytest.raises(TypeError, match="Whole has no option colour"):
        build(Whole, {"colour": "red"}, data="x")


COLOURS = ["red"]


@dataclass(frozen=True)
class Sized(Checked):
    name: str = option(help="What it is.")
    sizes: Mapping[str, int] = option(
        {}, each=lambda: {"width": Option(help="From side to side."), "height": Option(help="From top to bottom.")}
    )
    steps: int = option(-1, help="All.", default_text="")
    colour: str | None = option(None, help="Paint.", type=NamesOf(lambda: COLOURS), default_of="red")


def test_the_entries_of_a_mapping_are_options_of_their_own() -> None:
    seen: list[dict[str, Any]] = []
    command = click.command()(click_options(Sized)(lambda **values: seen.append(values)))
    help_text = CliRunner().invoke(command, ["--help"]).output
    assert "--width INTEGER" in help_text and "From top to bottom." in help_text and "--sizes" not in help_text
    assert CliRunner().invoke(command, ["--name", "x", "--height", "3"]).exit_code == 0
    made = build(Sized, seen[0])
    assert made == Sized("x", {"height": 3}) == build(Sized, {"name": "x", "sizes": {"height": 3}})
    assert flat(made) == {"name": "x", "width": None, "height": 3, "steps": -1, "colour": None}
    assert changed(made, width=2, height=None) == Sized("x", {"width": 2})
    assert names_of(Sized) == ("name", "width", "height", "steps", "colour")


def test_a_stated_default_is_shown_instead_of_the_value() -> None:
    output = CliRunner().invoke(click.command()(click_options(Sized)(lambda **_: None)), ["--help"]).output
    assert "-1" not in output and "Paint.  [default: red]" in output
    assert default_for(Sized("x"), "colour", "any") == "red"


def test_names_may_be_added_after_the_command_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    command = click.command()(click_options(Sized)(lambda **_: None))
    arguments = ["--name", "x", "--colour", "blue"]
    refused = CliRunner().invoke(command, arguments)
    assert refused.exit_code == 2 and "'blue' is not 'red'" in refused.output
    monkeypatch.setattr(f"{__name__}.COLOURS", ["red", "blue"])
    assert CliRunner().invoke(command, arguments).exit_code == 0
    assert "[red|blue]" in CliRunner().invoke(command, ["--help"]).output


@dataclass(frozen=True)
class Rows(Checked):
    rows: int | None = option(
        None, help="How many.", default_of={"one": 1, "some": 3}, check={"one": at_least(0), "some": at_least(2)}
    )


def test_a_check_may_depend_on_the_variant() -> None:
    check(Rows(1), "one")
    with pytest.raises(UsageError, match="--rows 1 is out of range; it must be 2 or more"):
        check(Rows(1), "some")
    with pytest.raises(UsageError, match="--rows -1 is out of range; it must be 0 or more"):
        check(Rows(-1), "one")
    check(Rows(), "some")


def test_a_function_of_keyword_options_says_what_it_takes() -> None:
    @documented_options(Whole, "cross")
    def whole(**options: Any) -> int:
        """Count."""
        return len(options)

    parameters = inspect.signature(whole).parameters
    assert list(parameters)[:3] == ["data", "batch", "loud"] and "unit" not in parameters
    assert parameters["data"].default is inspect.Parameter.empty and parameters["batch"].default == 32
    assert "        batch: Pairs.\n" in str(whole.__doc__) and "[default: 5e-05]" in str(whole.__doc__)
    assert whole(batch=1) == 1


def test_two_options_of_one_name_are_refused() -> None:
    @dataclass(frozen=True)
    class Twice:
        size: int = option(1, help="How large.")
        sizes: Mapping[str, int] = option({}, each=lambda: {"size": Option(help="How large, too.")})

    with pytest.raises(ValueError, match="two options of Twice are called --size"):
        click_options(Twice)
