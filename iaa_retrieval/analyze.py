"""``python -m iaa_retrieval.analyze``: instruments that show how tuning learns."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from iaa_retrieval.cli import Verb
from iaa_retrieval.jobs.analyze_update_direction import UpdateDirectionOptions
from iaa_retrieval.options import build, click_options


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Show how tuning learns; each instrument writes a figure (PNG, SVG), its data (CSV) and a table (text)."""


@main.command("update-direction", cls=Verb)
@click_options(UpdateDirectionOptions)
def update_direction(**values: Any) -> None:
    """Whether steps move the hidden states as these should move, by layer and along training.

    Every method is trained alike; between its steps, one more step is tried on a batch that is always the same, and
    undone. The change of the hidden states is compared with minus the gradient of the loss with respect to them.

    
    Example:
      python -m iaa_retrieval.analyze update-direction --collection embedded \\
          --method full --method adapter --method iaa-l --steps 100 --output runs/directions
    """
    from iaa_retrieval.analysis.update_direction_report import summary_of
    from iaa_retrieval.jobs.analyze_update_direction import analyze_update_direction

    measured, files = analyze_update_direction(build(UpdateDirectionOptions, values))
    click.echo(summary_of(measured), nl=False)
    _list(files)


def _list(files: Iterable[Path]) -> None:
    click.echo("\n" + "\n".join(map(str, files)), err=True)


if __name__ == "__main__":
    main(prog_name="python -m iaa_retrieval.analyze")
