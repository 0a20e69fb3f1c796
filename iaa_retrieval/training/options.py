"""Everything that a training run depends on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click

from iaa_retrieval.device_options import device_field, precision_field
from iaa_retrieval.errors import UsageError
from iaa_retrieval.options import Checked, build, check, default_for, flag_of, group, names_of, option
from iaa_retrieval.training.losses.loss import DISTILLATION, KINDS
from iaa_retrieval.training.losses.registry import get_loss
from iaa_retrieval.training.memory_options import MemoryOptions
from iaa_retrieval.training.option_groups import (
    DataOptions,
    DevOptions,
    ObjectiveOptions,
    OptimisationOptions,
    TuningOptions,
)
from iaa_retrieval.training.query_side_options import QuerySideOptions, check_query_side
from iaa_retrieval.training.text_options import TextOptions
from iaa_retrieval.tuning.methods import check_overrides

TEACHER_OPTIONS = ("distillation", "distillation_weight", "teacher_temperature")


@dataclass(frozen=True, kw_only=True)
class TrainOptions(Checked):
    """Options of one training run; None means the default for the kind and method (see ``resolved``).

    On the command line, in ``--config`` and in records all options stand side by side; ``of`` takes them so.
    """

    kind: str
    data: DataOptions
    output: str = option(help="Checkpoint directory to make.", type=click.Path(file_okay=False))
    tuning: TuningOptions = group(TuningOptions)
    query_side: QuerySideOptions = group(QuerySideOptions)
    objective: ObjectiveOptions = group(ObjectiveOptions)
    optimisation: OptimisationOptions = group(OptimisationOptions)
    memory: MemoryOptions = group(MemoryOptions)
    dev: DevOptions = group(DevOptions)
    text: TextOptions = group(TextOptions)
    seed: int = option(42, help="Seed of everything random.")
    precision: str = precision_field()
    device: str = device_field()
    report_to: str = option("none", help="Trackers, e.g. tensorboard (OUTPUT/tensorboard).")
    resume: bool = option(False, help="Continue an interrupted run of the same command.")
    overwrite: bool = option(False, help="Discard an interrupted run, and replace a finished checkpoint at its end.")

    @classmethod
    def of(cls, **values: Any) -> TrainOptions:
        """Options by their names, whatever their groups: ``of(kind="bi-encoder", collection=..., output=..., lr=...)``.

        Raises:
            UsageError: a value out of range.
            TypeError: a name that is no option, or ``kind``, ``collection`` or ``output`` is missing.
        """
        return build(cls, values)

    def resolved(self) -> ResolvedHyperparameters:
        """Fill in the defaults of the kind and method, and check what depends on them.

        Raises:
            UsageError: an unknown kind or method; a number that cannot be meant; options that contradict each other.
        """
        kind = self.kind
        if kind not in KINDS:
            raise UsageError(f"unknown kind of model {kind!r}; one of {', '.join(KINDS)}")
        self._check_method()
        check_query_side(kind, self.query_side, self.tuning, self.data, self.text)
        for options in (
            self.data,
            self.tuning,
            self.query_side,
            self.objective,
            self.optimisation,
            self.memory,
            self.dev,
            self.text,
        ):
            check(options, kind)
        rates = self.tuning.chosen_method.learning_rates
        values = ResolvedHyperparameters(
            lr=self.optimisation.lr if self.optimisation.lr is not None else rates[kind],
            batch_size=default_for(self.optimisation, "batch_size", kind),
            negatives_per_query=default_for(self.data, "negatives_per_query", kind),
            loss=get_loss(kind, default_for(self.objective, "loss", kind)).name,
            **(self._resolved_distillation() if self.data.teacher else {}),
        )
        self._check_memory()
        self._check_teacher(values)
        self._check_length_of_training()
        return values

    def _resolved_distillation(self) -> dict[str, Any]:
        values = {name: default_for(self.objective, name, self.kind) for name in TEACHER_OPTIONS}
        get_loss(DISTILLATION, values["distillation"])
        return values

    def _check_method(self) -> None:
        tuning, method = self.tuning, self.tuning.chosen_method
        if tuning.peft_config is None:
            check_overrides(method, tuning.scaling, tuning.activation)
        elif tuning.replaced_by_peft_config:
            names = ", ".join(tuning.replaced_by_peft_config)
            raise UsageError(f"--peft-config says all about the method; leave out {names}")
        if tuning.separate_encoders and "separate_encoders" not in names_of(TrainOptions, self.kind):
            raise UsageError(
                f"only a bi-encoder has separate encoders; leave --separate-encoders out for a {self.kind}"
            )
        if tuning.separate_encoders and not method.is_adapter:
            raise UsageError(
                "--separate-encoders puts two adapters on one frozen backbone, and method "
                f"{method.name} freezes nothing; choose another method, or leave it out"
            )

    def _check_memory(self) -> None:
        method = self.tuning.chosen_method
        if self.memory.quantize and not method.is_adapter:
            raise UsageError(
                f"--quantize {self.memory.quantize} freezes the backbone in few bits, and method {method.name} trains "
                "all of it; choose another method, or leave it out"
            )

    def _check_teacher(self, values: ResolvedHyperparameters) -> None:
        meaningless = [flag_of(name) for name in TEACHER_OPTIONS if getattr(self.objective, name) is not None]
        if meaningless and not self.data.teacher:
            raise UsageError(f"{', '.join(meaningless)} needs a scored run to learn from; give one with --teacher")
        if self.data.teacher and values.negatives_per_query == 0:
            raise UsageError("a teacher is learnt from by its scores of negatives; use --negatives-per-query 1 or more")

    def _check_length_of_training(self) -> None:
        epochs = self.optimisation.epochs
        if epochs <= 0 and self.optimisation.max_steps <= 0:
            raise UsageError(f"--epochs {epochs} is out of range; it must be above 0, or give --max-steps")
        if self.dev.dev_split and self.dev.dev_fraction:
            raise UsageError("--dev-split and --dev-fraction both choose the dev queries; give one of them")
        if self.dev.patience is not None and not self.dev.given:
            raise UsageError("--patience stops on the dev score; add --dev-split or --dev-fraction")


@dataclass(frozen=True)
class ResolvedHyperparameters:
    """Hyper-parameters whose defaults depend on the kind and method."""

    lr: float
    batch_size: int
    negatives_per_query: int
    loss: str
    distillation: str | None = None  # these three are None without a teacher
    distillation_weight: float | None = None
    teacher_temperature: float | None = None
