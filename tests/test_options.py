"""Options that are stated once: click, checks and flat records all come from the fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click
import pytest
from click.testing import CliRunner

from iaa_retrieval.errors import UsageError
from iaa_retrieval.options import (
    Checked,
    above,
    at_least,
    build,
    changed,
    click_options,
    default_for,
    flat,
    group,
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
