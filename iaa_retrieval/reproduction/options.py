"""What the verbs ``reproduce`` and ``quickstart`` can be told; light, for their help."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import click

from iaa_retrieval.device_options import precision_field
from iaa_retrieval.errors import UsageError
from iaa_retrieval.options import Checked, at_least, one_of, option
from iaa_retrieval.training.option_groups import DEFAULT_METHOD

ALL_COLLECTIONS = "all"
EMBEDDED = "embedded"


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


@dataclass(frozen=True)
class QuickstartOptions(Checked):
    """What to run the quickstart on, and how much of it; what is None depends on the collection.

    Attributes:
        test_queries, train_queries: the most queries used, drawn by ``seed``; 0 or None is all of them.
        bi_steps, cross_steps: training steps (of 32 and of 16 queries), so that time does not grow with the collection.
        bi_lr, cross_lr: peak learning rates; on the dev queries of the embedded collection 3e-3 was better than 1e-3
            for the cross-encoder, the only choice that was made.
        max_length: tokens of a document.
        pair_length: tokens of a query and a document together.
        rerank_hits: first-stage hits that the cross-encoder scores; the others stay below them.
    """

    collection: str = option(
        EMBEDDED,
        help="A collection with train and test queries: 'embedded' (Python's own documentation), an ir_datasets id "
        "such as beir/scifact, or a directory in BEIR layout.",
    )
    output: str | None = option(
        None,
        help="Working directory; what is valid there is used again.",
        default_text="runs/quickstart, for another collection runs/quickstart-NAME",
    )
    backbone: str = option("all-MiniLM-L6-v2", help="Pretrained encoder.", metavar="PATH-or-HUB-ID")
    method: str = DEFAULT_METHOD
    budget: str = "0.5%"
    test_queries: int | None = option(
        300, help="The most test queries (0: all).", type=click.IntRange(min=0), check=at_least(0)
    )
    train_queries: int | None = option(
        1600, help="The most training queries (0: all).", type=click.IntRange(min=0), check=at_least(0)
    )
    bi_steps: int = 50
    cross_steps: int = 90
    bi_lr: float = 1e-3
    cross_lr: float = 3e-3
    max_length: int | None = None
    train_max_length: int = 128
    pair_length: int | None = None
    rerank_hits: int = 30
    seed: int = option(42, help="Seed of everything random.")
    precision: str = precision_field()

    def resolved(self) -> QuickstartOptions:
        """With a directory named after the collection, and lengths that suit it, where none are given."""
        embedded = self.collection == EMBEDDED
        name = "" if embedded else "-" + self.collection.strip("/").replace("/", "-").replace(":", "-")
        return replace(
            self,
            output=self.output or f"runs/quickstart{name}",
            test_queries=self.test_queries or None,
            train_queries=self.train_queries or None,
            # Definitions in source code are mostly short; abstracts and passages are not.
            max_length=self.max_length or (160 if embedded else 256),
            pair_length=self.pair_length or (128 if embedded else 256),
        )
