"""``iaa-retrieval VERB``, the same as ``python -m iaa_retrieval.VERB``."""

import click

from iaa_retrieval import __version__
from iaa_retrieval.cli import LazyGroup


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="iaa-retrieval")
def main() -> None:
    """Parameter-efficient dense retrieval and re-ranking for Pyserini.

    Start with `iaa-retrieval quickstart`; check the machine with `iaa-retrieval doctor`.
    """


if __name__ == "__main__":
    main(prog_name="iaa-retrieval")
