"""The options of training in groups, so that a function takes the part that it needs.

Each option is stated here and nowhere else: name, type, default, help and range. None means the default for the kind
and method. Light: no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import click

from iaa_retrieval.collections.negatives import is_margin
from iaa_retrieval.options import Check, Checked, NamesOf, Option, above, at_least, flag_of, one_of, option, share
from iaa_retrieval.training.losses.loss import DISTILLATION, KINDS
from iaa_retrieval.training.losses.registry import DEFAULT_LOSSES, loss_names
from iaa_retrieval.training.option_files import read_peft_config
from iaa_retrieval.training.option_sizes import SIZES
from iaa_retrieval.training.option_texts import MarginType, default_dropout, default_rates
from iaa_retrieval.tuning.methods import Method, all_dimensions, get_method, method_names, peft_method
from iaa_retrieval.tuning.methods.lora import aimed_at

BI_ENCODER, CROSS_ENCODER = (KINDS[0],), (KINDS[1],)

DEFAULT_METHOD = "iaa-l"
DEFAULT_BUDGET = "0.5%"
DEV_METRICS = ("nDCG@10", "MRR@10")  # both are measured, one chooses the checkpoint

# What chooses a cross-encoder, and how much of the first stage it keeps, where nobody names dev queries.
DEFAULT_DEV_SPLIT = "dev"
DEFAULT_DEV_FRACTION = 0.1
FEWEST_DEV_QUERIES = 10  # fewer tell nothing, and their training queries are worth more

_RUN = {"type": click.Path(dir_okay=False), "metavar": "RUN"}


def dimension_options() -> dict[str, Option]:
    """The dimensions that methods take, each an option of its own."""
    options: dict[str, Option] = {}
    for name, dimension in all_dimensions().items():
        ending = "likewise" if options else "instead of the budget's"
        options[name] = Option(help=f"{dimension.help}, {ending}.", type=click.IntRange(min=1))
    return options


@dataclass(frozen=True, kw_only=True)
class DataOptions(Checked):
    """What is learnt from: queries, their relevant documents, negatives and a teacher's scores."""

    collection: str = option(
        help="ir_datasets id, directory in BEIR layout, 'embedded' or 'python-packages'.", metavar="ID-or-DIR"
    )
    split: str | None = option(
        None, help="Training split of the collection.", default_text="that of its name, else the one called train"
    )
    negatives: str | None = option(
        None,
        help={
            "bi-encoder": "TREC run of the training queries to take hard negatives from.",
            "cross-encoder": "First-stage TREC run of the training queries to take hard negatives from.",
        },
        default_text={
            "bi-encoder": "in-batch negatives only",
            "cross-encoder": "the teacher's, else BM25's, which is made and kept beside the output",
        },
        **_RUN,
    )
    negatives_per_query: int | None = option(
        None,
        help="Hard negatives per example.",
        default_of={"bi-encoder": 1, "cross-encoder": 3},
        # Without a negative, the loss of a cross-encoder is always zero.
        check={"bi-encoder": at_least(0), "cross-encoder": at_least(1)},
    )
    negative_ranks: tuple[int, int] = option(
        (1, 100),
        help="First and last rank that negatives are taken from.",
        check=Check(lambda ranks: 1 <= ranks[0] <= ranks[1], "two ranks from 1 on, the lower one first"),
    )
    negative_margin: float | str | None = option(
        None,
        help="Leave out negatives that score above the query's positive minus this or, of one such as 95%, above that "
        "share of the positive's score.",
        default_text="keep them",
        type=MarginType(),
        metavar="NUMBER|SHARE",
        check=Check(is_margin, "a difference of 0 or more, or a share up to 100% such as 95%"),
    )
    teacher: str | None = option(
        None,
        help="Distil: TREC run of the training queries whose scores are learnt; without --negatives its documents are "
        "the negatives.",
        **_RUN,
    )
    train_queries: int | None = option(
        None, help="Train on so many queries, drawn by seed.", default_text="all", check=at_least(1)
    )

    @property
    def negatives_run(self) -> str | None:
        """The run that negatives are taken from: the teacher's where no other is named."""
        return self.negatives or self.teacher


@dataclass(frozen=True, kw_only=True)
class TuningOptions(Checked):
    """The backbone, and what of it or on it is trained.

    ``method`` is a name in the registry; None means iaa-l, or with ``peft_config`` (a PEFT type and its fields, see
    ``iaa_retrieval.tuning.methods.peft_method``) that of the PEFT type.
    """

    backbone: str = option(
        "all-MiniLM-L6-v2",
        help="Pretrained encoder, or a checkpoint that is a whole network (method full, or exported as merged).",
        metavar="PATH-or-HUB-ID",
    )
    method: str | None = option(
        None,
        help="What is trained; --list-methods explains them.",
        default_text=DEFAULT_METHOD,
        type=NamesOf(method_names),
    )
    budget: str | None = option(
        None,
        help="Share of the backbone's parameters to train.",
        default_text=f"{DEFAULT_BUDGET}, or the dimensions of --start-from",
        metavar="SHARE",
    )
    dimensions: Mapping[str, int] = option({}, each=dimension_options)
    scaling: float | None = option(
        None, help="Factor on what bottlenecks add; LoRA adds twice as much.", default_text="1"
    )
    activation: str | None = option(
        None, help="Non-linearity of bottlenecks, e.g. gelu.", default_text="relu", metavar="NAME"
    )
    targets: str | None = option(
        None,
        help="What LoRA updates: attention (query, value) or all linear projections of the layers, the rank by budget.",
        default_text="attention",
        check=one_of("attention", "all"),
    )
    start_from: str | None = option(
        None,
        help="Start from the trained weights of this checkpoint: of the same backbone, method and dimensions, of "
        "either kind.",
        type=click.Path(file_okay=False),
        metavar="CHECKPOINT",
    )
    peft_config: Mapping[str, Any] | None = option(
        None,
        help='Any other PEFT method: its "peft_type" and fields. Replaces --method and the options above.',
        metavar="FILE.json",
        settings={"callback": read_peft_config},
    )
    dropout: float | None = option(
        None,
        help="Dropout inside the backbone.",
        default_text=default_dropout(),
        check=share(),
    )
    separate_encoders: bool = option(
        False,
        help="Two adapters on the one backbone, one for queries and one for documents.",
        variants=BI_ENCODER,
    )

    @property
    def chosen_method(self) -> Method:
        """The method itself.

        Raises:
            UsageError: an unknown name, or a ``peft_config`` without a type.
        """
        if self.peft_config is not None:
            return peft_method(self.peft_config)
        method = get_method(self.method or DEFAULT_METHOD)
        return method if self.targets is None else aimed_at(method, self.targets)

    @property
    def method_name(self) -> str:
        """What checkpoints and reports call the method."""
        return self.chosen_method.name

    @property
    def replaced_by_peft_config(self) -> tuple[str, ...]:
        """The flags of what was said about the method, all of which a ``peft_config`` says itself."""
        said = {
            "method": self.method,
            "budget": self.budget,
            **self.dimensions,
            "scaling": self.scaling,
            "activation": self.activation,
            "targets": self.targets,
        }
        return tuple(flag_of(name) for name, value in said.items() if value is not None)


@dataclass(frozen=True, kw_only=True)
class ObjectiveOptions(Checked):
    """What a step minimises, and how it is computed. ``temperature`` divides the similarities of a bi-encoder."""

    loss: str | None = option(
        None,
        help="How a positive is set against its negatives.",
        default_of={kind: DEFAULT_LOSSES[kind] for kind in KINDS},
        type={kind: NamesOf(partial(loss_names, kind)) for kind in KINDS},
    )
    temperature: float = option(0.05, help="Divides the similarities.", check=above(0), variants=BI_ENCODER)
    matryoshka: tuple[int, ...] | None = option(
        None,
        help="Train vectors that may be cut to these sizes, such as 256,128,64, and keep most of what they find: the "
        "loss is the mean over whole and cut vectors.",
        default_text="whole vectors only",
        variants=BI_ENCODER,
        **SIZES,
    )
    distillation: str | None = option(
        None,
        help="How the teacher's scores are learnt.",
        default_of=DEFAULT_LOSSES[DISTILLATION],
        type=NamesOf(partial(loss_names, DISTILLATION)),
    )
    distillation_weight: float | None = option(
        None,
        help="Share of that in the loss; the rest learns from the judgments.",
        default_of=0.5,
        check=share(zero=False, one=True),
    )
    teacher_temperature: float | None = option(
        None, help="Divides the teacher's scores; 0.05 suits cosines.", default_of=1.0, check=above(0)
    )
    grad_cache: int | None = option(
        None,
        help="Hold the activations of so many texts at once (gradient caching): memory for time. This is gradient "
        "accumulation with the gradient of the whole batch, in-batch negatives included; there is no other.",
        default_text="all",
        metavar="TEXTS",
        check=at_least(1),
    )


@dataclass(frozen=True, kw_only=True)
class OptimisationOptions(Checked):
    """How the weights are moved. ``batch_size`` counts queries."""

    epochs: float = option(4.0, help="Passes over the training queries.")
    max_steps: int = option(
        -1,
        help="Stop after this many steps, whatever the epochs.",
        default_text="",
        check=Check(lambda steps: steps == -1 or steps > 0, "1 or more, or -1 for no limit"),
    )
    lr: float | None = option(
        None,
        help="Peak learning rate.",
        default_text={kind: default_rates(kind, DEFAULT_METHOD) for kind in KINDS},
        check=above(0),
    )
    batch_size: int | None = option(
        None, help="Queries per step.", default_of={"bi-encoder": 32, "cross-encoder": 16}, check=at_least(1)
    )
    warmup: float = option(0.1, help="Share of the steps to warm up.", check=share())
    weight_decay: float = option(0.01, help="AdamW weight decay, of all but biases.", check=at_least(0))


@dataclass(frozen=True, kw_only=True)
class DevOptions(Checked):
    """Which queries choose the checkpoint, and when training stops for them."""

    dev_split: str | None = option(None, help="Split whose queries choose the best checkpoint.")
    dev_fraction: float | None = option(
        None,
        help={
            "bi-encoder": "Hold out this share of the training queries instead, by seed.",
            "cross-encoder": "Hold out this share of the training queries instead, by seed; 0 means no dev queries.",
        },
        default_text={
            "bi-encoder": "",
            "cross-encoder": f"the split called {DEFAULT_DEV_SPLIT}, if there is one whose queries the run has, else "
            f"{DEFAULT_DEV_FRACTION}",
        },
        check=share(),
    )
    dev_run: str | None = option(
        None, help="First-stage run of the dev queries.", default_text="the --negatives run", **_RUN
    )
    dev_queries: int = option(300, help="The most dev queries to score.", check=at_least(1))
    dev_depth: int = option(
        50,
        help={
            "bi-encoder": "Hits per dev query that are put into the dev corpus.",
            "cross-encoder": "Hits per dev query that are re-ranked.",
        },
        check=at_least(1),
    )
    dev_documents: int = option(2000, help="Documents in the dev corpus.", variants=BI_ENCODER)
    dev_metric: str = option(
        DEV_METRICS[0], help="Which of the two dev scores chooses the checkpoint.", check=one_of(*DEV_METRICS)
    )
    eval_steps: int | None = option(
        None, help="Score the dev queries every so many steps.", default_text="each epoch", check=at_least(1)
    )
    patience: int | None = option(None, help="Stop after so many dev scores without a better one.", check=at_least(1))

    @property
    def given(self) -> bool:
        """Whether there are dev queries."""
        return bool(self.dev_split or self.dev_fraction)
