"""What the verb ``reproduce`` can be told; light, for its help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from iaa_retrieval.errors import UsageError
from iaa_retrieval.options import Checked, one_of, option

ALL_COLLECTIONS = "all"


@dataclass(frozen=True)
class ReproduceOptions(Checked):
    """Which conditions, and what to do with them.

    From checkpoints, what has none (full fine-tuning is too large to commit) is left out with a line that says so,
    unless it is the one ``condition`` that is named.
    """

    collection: str = option(help="E.g. beir-scifact (see reproductions/), or all.", metavar="NAME")
    condition: str | None = option(None, help="E.g. bm25 or iaa-l-0.5.", metavar="C")
    all_conditions: bool = option(False, help="Every condition.", flags=("--all",))
    measured: bool = option(False, help="Every condition with a score that was measured here.")
    stage: str | None = option(
        None, help="Only this stage.", default_text="both", check=one_of("retrieval", "reranking")
    )
    from_checkpoint: bool = option(False, help="Use the committed checkpoint instead of training.")
    search_rates: bool = option(False, help="Only try learning rates on the dev queries, and keep the scores.")
    dry_run: bool = option(False, help="Show the commands and run nothing.")
    display_commands: bool = option(False, help="Show each command as it runs.")
    list_conditions: bool = option(False, help="List the conditions and their expected scores.")
    record: bool = option(False, help="Keep what is measured: results/ and, for a new row, the YAML.")
    add_seeds: str | None = option(
        None,
        help="With --record: train a measured row with these seeds too (43,44), and keep them beside its others.",
        metavar="SEEDS",
    )
    store_checkpoint: bool = option(False, help="Keep the trained adapter in reproductions/checkpoints/.")
    generate_report: bool = option(False, help="Write the Markdown and HTML page (with all: and the index).")
    check_docs: bool = option(False, help="Fail when a page differs from what would be generated.")
    directory: Path | None = option(
        None,
        help="Where outputs go.",
        default_text="runs/NAME",
        type=click.Path(path_type=Path),
        metavar="RUNS",
    )

    @property
    def everything(self) -> bool:
        """Whether every collection is meant."""
        return self.collection == ALL_COLLECTIONS

    @property
    def further_seeds(self) -> tuple[int, ...]:
        """The seeds to add to a row.

        Raises:
            UsageError: they are no whole numbers, or one is named twice.
        """
        words = self.add_seeds.split(",") if self.add_seeds is not None else []
        if not all(word.strip().isdecimal() for word in words) or len(set(map(int, words))) < len(words):
            raise UsageError(f"--add-seeds takes different whole numbers, as in 43,44, not {self.add_seeds!r}")
        return tuple(map(int, words))

    def check_what_to_run(self) -> None:
        """Refuse options that contradict each other.

        Raises:
            UsageError: they do; or nothing is said to be run.
        """
        if (self.condition is not None) + self.all_conditions + self.measured != 1:
            raise UsageError("say what to run: --condition C, --all or --measured (see --list-conditions)")
        if self.everything and (self.condition or self.directory):
            raise UsageError("--condition and --directory are of one collection; name it with --collection")
        if self.from_checkpoint and (self.record or self.store_checkpoint):
            raise UsageError(
                "--record and --store-checkpoint keep what a run from nothing gives; leave out --from-checkpoint"
            )
        if self.search_rates and (self.dry_run or self.from_checkpoint or self.record or self.store_checkpoint):
            raise UsageError(
                "--search-rates only tries learning rates and keeps their dev scores; leave out --dry-run, "
                "--from-checkpoint, --record and --store-checkpoint"
            )
        if self.further_seeds and (not self.record or self.condition is None or self.store_checkpoint):
            raise UsageError(
                "--add-seeds measures one row further: it needs --condition and --record, and does without "
                "--store-checkpoint (the first seed's is kept)"
            )
