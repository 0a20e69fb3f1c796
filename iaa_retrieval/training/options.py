"""Everything that a training run depends on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from iaa_retrieval.errors import UsageError
from iaa_retrieval.tuning.methods import Method, check_overrides, get_method, peft_method

KINDS = ("bi-encoder", "cross-encoder")
# Options without meaning for the other kind.
BI_ENCODER_ONLY = ("temperature", "pooling", "normalize", "separate_encoders", "dev_documents")
CROSS_ENCODER_ONLY = ("loss",)
TEACHER_OPTIONS = ("distillation", "distillation_weight", "teacher_temperature")

DEFAULT_METHOD = "iaa-l"
METHOD_OPTIONS = (
    "method",
    "budget",
    "r",
    "ar",
    "prefix_length",
    "scaling",
    "activation",
)  # what --peft-config replaces

# Our own defaults (the paper gives none). Those of the learning rate are the methods'.
DEFAULT_BATCH_SIZE = {"bi-encoder": 32, "cross-encoder": 16}
DEFAULT_NEGATIVES = {"bi-encoder": 1, "cross-encoder": 3}
LOSSES = ("localized-contrastive", "pairwise", "pointwise")  # of a cross-encoder
DISTILLATION_LOSSES = ("kl", "margin-mse")
DEV_METRICS = ("nDCG@10", "MRR@10")  # both are measured, one chooses the checkpoint


@dataclass(frozen=True)
class TrainOptions:
    """Options of one training run; None means the default for the kind and method (see :meth:`resolved`).

    ``method`` is a name in the registry; None means iaa-l, or with ``peft_config`` (a PEFT type and its fields, see
    :func:`iaa_retrieval.tuning.methods.peft_method`) that of the PEFT type. ``dimensions`` are those of methods that
    other packages bring. Lengths are in tokens. ``batch_size`` counts
    queries. ``temperature`` divides the similarities of a bi-encoder. Without a prefix, a bi-encoder keeps its
    backbone's prompt or prefix; an empty one means none.
    """

    kind: str
    collection: str
    output: str
    backbone: str = "all-MiniLM-L6-v2"
    method: str | None = None
    budget: str | None = None
    r: int | None = None
    ar: int | None = None
    prefix_length: int | None = None
    dimensions: Mapping[str, int] | None = None
    scaling: float | None = None
    activation: str | None = None
    peft_config: Mapping[str, Any] | None = None
    split: str | None = None
    negatives: str | None = None
    negatives_per_query: int | None = None
    negative_ranks: tuple[int, int] = (1, 100)
    negative_margin: float | None = None
    teacher: str | None = None
    distillation: str | None = None
    distillation_weight: float | None = None
    teacher_temperature: float | None = None
    loss: str = LOSSES[0]
    train_queries: int | None = None
    dev_split: str | None = None
    dev_fraction: float = 0.0
    dev_run: str | None = None
    dev_documents: int = 2000
    dev_queries: int = 300
    dev_depth: int = 50
    dev_metric: str = DEV_METRICS[0]
    epochs: float = 4.0
    max_steps: int = -1
    eval_steps: int | None = None
    patience: int | None = None
    lr: float | None = None
    batch_size: int | None = None
    grad_cache: int | None = None
    warmup: float = 0.1
    weight_decay: float = 0.01
    temperature: float = 0.05
    dropout: float | None = None
    pooling: str | None = None
    normalize: bool | None = None
    separate_encoders: bool = False
    query_prefix: str | None = None
    document_prefix: str | None = None
    query_max_length: int | None = None
    document_max_length: int | None = None
    train_max_length: int | None = None
    seed: int = 42
    precision: str = "auto"
    device: str = "auto"
    report_to: str = "none"
    resume: bool = False
    overwrite: bool = False

    @property
    def method_name(self) -> str:
        """What checkpoints and reports call the method.

        Raises:
            UsageError: a ``peft_config`` without a type.
        """
        if self.peft_config is not None:
            return peft_method(self.peft_config).name
        return self.method or DEFAULT_METHOD

    @property
    def tuning_method(self) -> Method:
        """The method itself.

        Raises:
            UsageError: there is none of that name; a ``peft_config`` without a type.
        """
        if self.peft_config is not None:
            return peft_method(self.peft_config)
        return get_method(self.method_name)

    @property
    def negatives_run(self) -> str | None:
        """The run that negatives are taken from: the teacher's where no other is named."""
        return self.negatives or self.teacher

    def resolved(self) -> ResolvedHyperparameters:
        """Fill in the defaults of the kind and method, and check the numbers.

        Raises:
            UsageError: an unknown kind or method; a number that cannot be meant; options that contradict each other.
        """
        if self.kind not in KINDS:
            raise UsageError(f"unknown kind of model {self.kind!r}; one of {', '.join(KINDS)}")
        self._check_method()
        values = ResolvedHyperparameters(
            lr=self.lr if self.lr is not None else self.tuning_method.learning_rates[self.kind],
            batch_size=DEFAULT_BATCH_SIZE[self.kind] if self.batch_size is None else self.batch_size,
            negatives_per_query=(
                DEFAULT_NEGATIVES[self.kind] if self.negatives_per_query is None else self.negatives_per_query
            ),
            **(self._resolved_distillation() if self.teacher else {}),
        )
        checks: list[tuple[str, Any, bool]] = [
            ("--lr", values.lr, values.lr > 0),
            ("--batch-size", values.batch_size, values.batch_size > 0),
            # Without a negative, the loss of a cross-encoder is always zero.
            (
                "--negatives-per-query",
                values.negatives_per_query,
                values.negatives_per_query >= (1 if self.kind == "cross-encoder" else 0),
            ),
            ("--loss", self.loss, self.loss in LOSSES),
            ("--negative-margin", self.negative_margin, self.negative_margin is None or self.negative_margin >= 0),
            ("--distillation", values.distillation, values.distillation in (None, *DISTILLATION_LOSSES)),
            (
                "--distillation-weight",
                values.distillation_weight,
                values.distillation_weight is None or 0 < values.distillation_weight <= 1,
            ),
            (
                "--teacher-temperature",
                values.teacher_temperature,
                values.teacher_temperature is None or values.teacher_temperature > 0,
            ),
            ("--grad-cache", self.grad_cache, self.grad_cache is None or self.grad_cache > 0),
            ("--epochs", self.epochs, self.epochs > 0 or self.max_steps > 0),
            ("--max-steps", self.max_steps, self.max_steps == -1 or self.max_steps > 0),
            ("--train-queries", self.train_queries, self.train_queries is None or self.train_queries > 0),
            ("--dev-queries", self.dev_queries, self.dev_queries > 0),
            ("--dev-depth", self.dev_depth, self.dev_depth > 0),
            ("--dev-metric", self.dev_metric, self.dev_metric in DEV_METRICS),
            ("--eval-steps", self.eval_steps, self.eval_steps is None or self.eval_steps > 0),
            ("--patience", self.patience, self.patience is None or self.patience > 0),
            ("--weight-decay", self.weight_decay, self.weight_decay >= 0),
            ("--temperature", self.temperature, self.temperature > 0),
            ("--dev-fraction", self.dev_fraction, 0 <= self.dev_fraction < 1),
            ("--dropout", self.dropout, self.dropout is None or 0 <= self.dropout < 1),
            ("--warmup", self.warmup, 0 <= self.warmup < 1),
            ("--negative-ranks", self.negative_ranks, 1 <= self.negative_ranks[0] <= self.negative_ranks[1]),
        ]
        for name, value, fine in checks:
            if not fine or (isinstance(value, float) and not math.isfinite(value)):
                raise UsageError(f"{name} {value} is out of range")
        meaningless = [f"--{name.replace('_', '-')}" for name in TEACHER_OPTIONS if getattr(self, name) is not None]
        if meaningless and not self.teacher:
            raise UsageError(f"{', '.join(meaningless)} needs a scored run to learn from; give one with --teacher")
        if self.separate_encoders and self.kind != "bi-encoder":
            raise UsageError(
                f"only a bi-encoder has separate encoders; leave --separate-encoders out for a {self.kind}"
            )
        if self.separate_encoders and not self.tuning_method.is_adapter:
            raise UsageError(
                f"--separate-encoders puts two adapters on one frozen backbone, and method {self.method_name} freezes "
                "nothing; choose another method, or leave it out"
            )
        if self.teacher and values.negatives_per_query == 0:
            raise UsageError("a teacher is learnt from by its scores of negatives; use --negatives-per-query 1 or more")
        if self.dev_split and self.dev_fraction:
            raise UsageError("--dev-split and --dev-fraction both choose the dev queries; give one of them")
        if self.patience is not None and not (self.dev_split or self.dev_fraction):
            raise UsageError("--patience stops on the dev score; add --dev-split or --dev-fraction")
        return values

    def _resolved_distillation(self) -> dict[str, Any]:
        return {
            "distillation": self.distillation or DISTILLATION_LOSSES[0],
            "distillation_weight": 0.5 if self.distillation_weight is None else self.distillation_weight,
            "teacher_temperature": 1.0 if self.teacher_temperature is None else self.teacher_temperature,
        }

    def _check_method(self) -> None:
        if self.peft_config is None:
            check_overrides(self.tuning_method, self.scaling, self.activation)
            return
        contradicting = [name for name in METHOD_OPTIONS if getattr(self, name) is not None]
        contradicting += self.dimensions or ()
        if contradicting:
            names = ", ".join(f"--{name.replace('_', '-')}" for name in contradicting)
            raise UsageError(f"--peft-config says all about the method; leave out {names}")


@dataclass(frozen=True)
class ResolvedHyperparameters:
    """Hyper-parameters whose defaults depend on the kind and method."""

    lr: float
    batch_size: int
    negatives_per_query: int
    distillation: str | None = None  # these three are None without a teacher
    distillation_weight: float | None = None
    teacher_temperature: float | None = None
