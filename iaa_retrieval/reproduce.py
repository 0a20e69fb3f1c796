"""``python -m iaa_retrieval.reproduce``: re-run published conditions and check every score."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from iaa_retrieval.cli import Verb


@click.command(cls=Verb, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--collection", required=True, metavar="NAME", help="E.g. beir-scifact (see reproductions/), or all.")
@click.option("--condition", metavar="C", help="E.g. bm25 or iaa-l-0.5.")
@click.option("--all", "all_conditions", is_flag=True, help="Every condition.")
@click.option("--measured", is_flag=True, help="Every condition with a score that was measured here.")
@click.option("--stage", type=click.Choice(("retrieval", "reranking")), help="Only this stage.  [default: both]")
@click.option("--from-checkpoint", is_flag=True, help="Use the committed checkpoint instead of training.")
@click.option("--search-rates", is_flag=True, help="Only try learning rates on the dev queries, and keep the scores.")
@click.option("--dry-run", is_flag=True, help="Show the commands and run nothing.")
@click.option("--display-commands", is_flag=True, help="Show each command as it runs.")
@click.option("--list-conditions", is_flag=True, help="List the conditions and their expected scores.")
@click.option("--record", is_flag=True, help="Keep what is measured: results/ and, for a new row, the YAML.")
@click.option("--store-checkpoint", is_flag=True, help="Keep the trained adapter in reproductions/checkpoints/.")
@click.option("--generate-report", is_flag=True, help="Write the Markdown and HTML page (with all: and the index).")
@click.option("--check-docs", is_flag=True, help="Fail when a page differs from what would be generated.")
@click.option(
    "--directory", type=click.Path(path_type=Path), metavar="RUNS", help="Where outputs go.  [default: runs/NAME]"
)
def main(**values: Any) -> None:
    """Run conditions of a reproduction from raw collection to score; a miss or a failed command exits with 1.

    \b
    Examples:
      python -m iaa_retrieval.reproduce --collection beir-scifact --list-conditions
      python -m iaa_retrieval.reproduce --collection beir-scifact --condition bm25
      python -m iaa_retrieval.reproduce --collection all --measured --from-checkpoint
      python -m iaa_retrieval.reproduce --collection beir-scifact --stage retrieval --all --search-rates
    """
    from iaa_retrieval.reproduction.job import ReproduceOptions, reproduce

    sys.exit(0 if reproduce(ReproduceOptions(**values)) else 1)


if __name__ == "__main__":
    main(prog_name="python -m iaa_retrieval.reproduce")
