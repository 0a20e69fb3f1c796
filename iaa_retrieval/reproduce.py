"""``python -m iaa_retrieval.reproduce``: re-run published conditions and check every score."""

from __future__ import annotations

import sys
from typing import Any

import click

from iaa_retrieval.cli import Verb
from iaa_retrieval.jobs.reproduce_options import ReproduceOptions
from iaa_retrieval.options import build, click_options


@click.command(cls=Verb, context_settings={"help_option_names": ["-h", "--help"]})
@click_options(ReproduceOptions)
def main(**values: Any) -> None:
    """Run conditions of a reproduction from raw collection to score; a miss or a failed command exits with 1.

    \b
    Examples:
      python -m iaa_retrieval.reproduce --collection beir-scifact --list-conditions
      python -m iaa_retrieval.reproduce --collection beir-scifact --condition bm25
      python -m iaa_retrieval.reproduce --collection all --measured --from-checkpoint
      python -m iaa_retrieval.reproduce --collection beir-scifact --stage retrieval --all --search-rates
    """
    from iaa_retrieval.jobs.reproduce import reproduce

    sys.exit(0 if reproduce(build(ReproduceOptions, values)) else 1)


if __name__ == "__main__":
    main(prog_name="python -m iaa_retrieval.reproduce")
