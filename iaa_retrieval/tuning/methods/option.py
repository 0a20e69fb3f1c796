"""The command line's view of the registry: `--method`, and an option for every dimension. Light."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import CompletionItem

from iaa_retrieval.tuning.methods.registry import all_dimensions, method_names


class MethodName(click.ParamType[str]):
    """A name in the registry, which is read when an option is used or described, not when it is made."""

    name = "method"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name, or click's error with all names."""
        return _choice().convert(value, param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        """All names, for `--help`."""
        return _choice().get_metavar(param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The names that begin so."""
        return _choice().shell_complete(ctx, param, incomplete)


def dimension_options() -> list[Callable[[Any], Any]]:
    """An option for every dimension of any method, to decorate a command with; a value of None leaves it to a budget.

    A method must be registered before the command is made, as those of installed packages are.
    """
    options: list[Callable[[Any], Any]] = []
    for dimension in all_dimensions().values():
        end = "likewise" if options else "instead of the budget's"
        flag = f"--{dimension.name.replace('_', '-')}"
        options.append(click.option(flag, type=click.IntRange(min=1), help=f"{dimension.help}, {end}."))
    return options


def _choice() -> click.Choice[str]:
    return click.Choice(method_names())
