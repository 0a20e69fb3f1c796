"""What the verb ``quickstart`` can be told, and what its outputs are called; light, for its help."""

from __future__ import annotations

from dataclasses import dataclass, replace

import click

from iaa_retrieval.device_options import precision_field
from iaa_retrieval.options import Checked, at_least, option
from iaa_retrieval.training.option_groups import DEFAULT_METHOD

EMBEDDED = "embedded"

# Names of steps, and so of their outputs.
INDEX, BM25, BI_ENCODER, CROSS_ENCODER = "lucene-index", "bm25.trec", "bi-encoder", "cross-encoder"
TRAIN_INDEX = "lucene-index-train"  # where training queries search documents of their own
UNTUNED_RUN = "dense-untuned"
DIRECTORY = "runs/quickstart"
RESULTS = "results.json"


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
        help="A collection with train and test queries: 'embedded' (Python's own documentation), 'python-packages', an "
        "ir_datasets id such as beir/scifact, or a directory in BEIR layout.",
    )
    output: str | None = option(
        None,
        help="Working directory; what is valid there is used again.",
        default_text=f"{DIRECTORY}, for another collection {DIRECTORY}-NAME",
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
            output=self.output or f"{DIRECTORY}{name}",
            test_queries=self.test_queries or None,
            train_queries=self.train_queries or None,
            # Definitions in source code are mostly short; abstracts and passages are not.
            max_length=self.max_length or (160 if embedded else 256),
            pair_length=self.pair_length or (128 if embedded else 256),
        )


def dense_run(options: QuickstartOptions) -> str:
    """Name of the run of the tuned bi-encoder."""
    return f"dense-{options.method}"


def reranked_run(options: QuickstartOptions) -> str:
    """Name of the run of the tuned cross-encoder."""
    return f"rerank-{options.method}"


def index_of(run: str) -> str:
    """Name of the index that a dense run searches."""
    return f"{run}-index"
