"""``python -m iaa_retrieval.export``: a checkpoint in the form that another tool loads."""

from __future__ import annotations

import inspect
import textwrap

import click

from iaa_retrieval.cli import Verb
from iaa_retrieval.jobs.export import ExportOptions, export
from iaa_retrieval.options import NamesOf

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


def _format_names() -> tuple[str, ...]:
    from iaa_retrieval.exporting.formats import format_names

    return format_names()


def _described_formats() -> str:
    """A line or more for every format, in two columns."""
    from iaa_retrieval.exporting.formats import get_format

    names = _format_names()
    column = max(map(len, names)) + 2
    lines = []
    for name in names:
        first, *rest = textwrap.wrap(get_format(name).help, _HELP_WIDTH)
        lines += [f"{name:{column}}{first}", *(" " * column + line for line in rest)]
    return "\n".join(lines)


@click.command(cls=_ExportVerb, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--checkpoint", required=True, help="What to export: a checkpoint, or a plain encoder.")
@click.option("--format", required=True, type=NamesOf(_format_names), help="See above.")
@click.option("--output", required=True, type=click.Path(file_okay=False), help="Directory to make.")
def main(checkpoint: str, format: str, output: str) -> None:
    """Write a checkpoint in the form that another tool loads.

    \b
    {formats}

    What was written is read back and compared with the model, on batches of several sizes and lengths; above a
    difference of 1e-4 nothing is left.

    \b
    Example:
      python -m iaa_retrieval.export --checkpoint CHECKPOINT --format onnx --output exported
    """
    exported = export(ExportOptions(checkpoint, format, output))
    click.echo(f"{output}: {format}, largest difference to the model {exported.max_abs_difference:.1e}")
    if exported.advice:
        click.echo(exported.advice)


if __name__ == "__main__":
    main(prog_name="python -m iaa_retrieval.export")
