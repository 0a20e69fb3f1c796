"""``python -m iaa_retrieval.export``: a checkpoint in the form that another tool loads."""

from __future__ import annotations

import inspect
import textwrap
from typing import Any

import click

from iaa_retrieval.cli import Verb
from iaa_retrieval.exporting.formats import format_names, get_format
from iaa_retrieval.jobs.export import ExportOptions, export
from iaa_retrieval.options import build, click_options

_FORMATS = "{formats}"  # where the docstring below leaves a place for them
_HELP_WIDTH = 90


class _ExportVerb(Verb):
    """A verb whose help lists the formats that there are when it is shown."""

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        described = self.help or ""
        self.help = inspect.cleandoc(described).replace(_FORMATS, _described_formats())
        try:
            super().format_help_text(ctx, formatter)
        finally:
            self.help = described


def _described_formats() -> str:
    """A line or more for every format, in two columns."""
    names = format_names()
    column = max(map(len, names)) + 2
    lines = []
    for name in names:
        first, *rest = textwrap.wrap(get_format(name).help, _HELP_WIDTH)
        lines += [f"{name:{column}}{first}", *(" " * column + line for line in rest)]
    return "\n".join(lines)


@click.command(cls=_ExportVerb, context_settings={"help_option_names": ["-h", "--help"]})
@click_options(ExportOptions)
def main(**values: Any) -> None:
    """Write a checkpoint in the form that another tool loads.

    \b
    {formats}

    What was written is read back and compared with the model, on batches of several sizes and lengths; above a
    difference of 1e-4 nothing is left.

    \b
    Example:
      python -m iaa_retrieval.export --checkpoint CHECKPOINT --format onnx --output exported
    """
    options = build(ExportOptions, values)
    exported = export(options)
    click.echo(f"{options.output}: {options.format}, largest difference to the model {exported.max_abs_difference:.1e}")
    if exported.advice:
        click.echo(exported.advice)


if __name__ == "__main__":
    main(prog_name="python -m iaa_retrieval.export")
