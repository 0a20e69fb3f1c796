"""What a tuning method says about itself. Light: no torch, no PEFT at import.

A new method is one module that registers an instance of ``Method`` (or of a small subclass); everything else, from
``--help`` and budgets to the trainer and inference, asks that object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from iaa_retrieval.errors import UsageError
from iaa_retrieval.tuning.methods.scaling import Anchors, Dimensions, scaled_dimensions, small_enough
from iaa_retrieval.tuning.methods.sizes import Sizes

ADAPTER_NAME = "default"
IN_POOLER = r"(?:.*\.)?pooler(?:\..*)?"  # modules (ALBERT's is one projection) that take no part in an embedding

# Our own defaults (the paper gives none), by kind of model; they are far above those of full fine-tuning.
LEARNING_RATES = MappingProxyType({"bi-encoder": 1e-3, "cross-encoder": 1e-3})


@dataclass(frozen=True)
class Place:
    """Where a method sits in the PEFT-Ref reference architecture (Sabry and Belz, 2023)."""

    inserted: str  # what kind of module
    workspace: str  # which part of the backbone it works on
    insertion: str  # "sequential", "parallel", both, or "in place"
    reads: str  # the input connection
    writes: str  # the output connection
    parameter_sharing: str
    mergeable: bool  # can be folded into the backbone's weights, for no cost at inference


@dataclass(frozen=True)
class Dimension:
    """A number that says how large a method's parameters are.

    Attributes:
        name: in checkpoints and Python; the option is ``--name``, with ``-`` for ``_``.
        help: what it is the size of.
    """

    name: str
    help: str


R = Dimension("r", "Bottleneck (or LoRA) dimension")


@dataclass(frozen=True)
class Settings:
    """How a method is put on a model, besides its dimensions.

    Attributes:
        dropout: inside the adapter, where it has any.
        scaling: factor on what the adapter adds; only for methods that take ``scaling``.
        activation: non-linearity by transformers' name; only for methods that take ``activation``.
        modules_to_save: a task head, which is trained and saved whole beside the adapter.
        task_type: PEFT's task type.
        unused_pooler: whether the model has a pooler without a part in its result. Nothing in it may be trained: a
            parameter without a gradient stops distributed training.
    """

    dropout: float = 0.0
    scaling: float = 1.0
    activation: str = "relu"
    modules_to_save: tuple[str, ...] = ()
    task_type: str | None = None
    unused_pooler: bool = False


class Tuner(NamedTuple):
    """A tuner that a method brings to PEFT.

    Attributes:
        peft_type: the name of its type in capitals; the prefix of its parameters is the same in small letters and
            with a ``_`` behind.
        config: a subclass of ``peft.PeftConfig``, whose ``peft_type`` is ``tuners.peft_types.peft_type(NAME)``.
        model: a subclass of PEFT's ``BaseTuner``.
        undecayed: its containers of parameters that no weight decay acts on. What is called a bias and what is in a
            layer normalisation of the backbone never decays.
        extra_biases: whether what is called a bias among its parameters comes on top of the weights that the method
            counts, and is reported beside them.
    """

    peft_type: str
    config: type[Any]
    model: type[Any]
    undecayed: tuple[str, ...] = ()
    extra_biases: bool = False


@dataclass(frozen=True, kw_only=True)
class Method:
    """One tuning method. Facts are fields; what needs code is a method, which a subclass overrides.

    A subclass has to say ``count`` and ``peft_config``. Nothing may import torch or PEFT before it is called,
    so such imports are inside functions.

    Attributes:
        name: what commands and checkpoints call it.
        title: what reports call it.
        paper: citation.
        place: its place in the reference architecture.
        formula: what it computes, in the notation of ``docs/methods.md``.
        initialisation: where its parameters start.
        dimensions: the sizes it takes, each an option of the command line.
        anchors: (nominal share of bert-base, dimensions) in the IAA paper's tables, the smaller share first. Without
            them, a budget gives all dimensions one size.
        takes: which of ``scaling`` and ``activation`` mean something to it.
        learning_rates: the default peak rate, by kind of model.
        backbone_dropout: dropout inside the backbone while it is trained; None leaves the backbone's own.
        is_adapter: whether the backbone stays frozen and a checkpoint holds an adapter, of which one backbone can carry
            two (separate encoders).
        packable: whether inference may lay out the weights of the backbone's projections anew; no where the adapter
            computes with those weights itself, instead of calling the projection.
    """

    name: str
    title: str
    paper: str
    place: Place
    formula: str
    initialisation: str
    dimensions: tuple[Dimension, ...] = ()
    anchors: Anchors = ()
    takes: tuple[str, ...] = ()
    learning_rates: Mapping[str, float] = field(default_factory=lambda: LEARNING_RATES)
    backbone_dropout: float | None = 0.0
    is_adapter: bool = True
    packable: bool = True

    @property
    def dimension_names(self) -> tuple[str, ...]:
        """Names of the dimensions, in the method's own order."""
        return tuple(dimension.name for dimension in self.dimensions)

    @property
    def mergeable(self) -> bool:
        """Whether it can be folded into the backbone's weights."""
        return self.place.mergeable

    # Sizes

    def count(self, sizes: Sizes, dimensions: Dimensions) -> int:
        """Trained weights; linear in every dimension, of which each is 0 or more. Callers use ``weights_on``."""
        raise NotImplementedError(f"method {self.name} must say how many weights it trains")

    def weight_count(self, hidden_size: int, num_layers: int, dimensions: Dimensions) -> int:
        """``weights_on`` a backbone whose queries, keys and values are as wide as its states, as BERT's are."""
        return self.weights_on(Sizes(hidden_size, num_layers), dimensions)

    def weights_on(self, sizes: Sizes, dimensions: Dimensions) -> int:
        """Trained weights, without the biases of bottlenecks and without task heads.

        Exact for every backbone, but for ``full``, and for ``bitfit`` where ``sizes`` does not say how many biases
        there are: theirs is that of a BERT of this size with BERT's vocabulary (30,522), a feed-forward block of 4
        hidden sizes, and a pooler.

        Args:
            sizes: of the backbone, see ``sizes_of``.
            dimensions: exactly the method's own.

        Raises:
            UsageError: dimensions that the method does not take.
        """
        return self.count(sizes, self.check(dimensions))

    def check(self, dimensions: Dimensions) -> dict[str, int]:
        """The dimensions in the method's own order.

        Raises:
            UsageError: one is missing, not the method's, or not a positive integer.
        """
        names = self.dimension_names
        if set(dimensions) != set(names):
            given = ", ".join(sorted(dimensions)) or "none"
            raise UsageError(f"method {self.name} takes {', '.join(names) or 'no dimension'}; given: {given}")
        for name, value in dimensions.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UsageError(f"{name} of method {self.name} must be a positive integer, got {value!r}")
        return {name: dimensions[name] for name in names}

    def dimensions_for(
        self, budget: float, hidden_size: int, num_layers: int, backbone_parameters: int
    ) -> dict[str, int]:
        """``dimensions_on`` a backbone whose queries, keys and values are as wide as its states, as BERT's are."""
        return self.dimensions_on(Sizes(hidden_size, num_layers), budget, backbone_parameters)

    def dimensions_on(self, sizes: Sizes, budget: float, backbone_parameters: int) -> dict[str, int]:
        """The dimensions that spend ``budget``, by the rule of ``scaled_dimensions``; none where it has none.

        Args:
            sizes: of the backbone, see ``sizes_of``.
            budget: trained share of the backbone as a fraction, 0.005 for 0.5%.
            backbone_parameters: how many parameters the backbone has.

        Raises:
            UsageError: a method without dimensions that trains more than this.
        """
        if self.dimensions:
            return scaled_dimensions(self.count, self.dimension_names, self.anchors, budget, sizes, backbone_parameters)
        share = self.weights_on(sizes, {}) / backbone_parameters
        if not small_enough(share, budget):
            raise UsageError(
                f"method {self.name} always trains {share:.2%} of this backbone, more than {budget:.2%}; "
                "leave the budget out, or choose another method"
            )
        return {}

    # Construction

    def tuners(self) -> Sequence[Tuner]:
        """The tuners that PEFT lacks and this method brings; imports them.

        That happens in ``import peft``, which transformers does in the middle of its own import: their modules import
        torch, PEFT and parts of transformers such as activations, but not its trainer.
        """
        return ()

    def check_configuration(self) -> None:
        """Refuse what cannot be meant before anything is loaded; may import PEFT.

        Raises:
            UsageError: says what is wrong.
        """

    def peft_config(self, model: Any, dimensions: Dimensions, settings: Settings) -> Any:
        """The ``peft.PeftConfig`` of the adapter on a transformers model; ``apply`` adds the task and its head.

        Args:
            model: the bare model; the configuration may depend on its architecture.
            dimensions: checked.

        Raises:
            UsageError: a backbone that is not supported; a method that is no adapter.
        """
        raise UsageError(f"method {self.name} trains the backbone itself and is no adapter; choose another method")

    def apply(self, model: Any, dimensions: Dimensions, settings: Settings) -> Any:
        """Freeze a transformers model and put the trained parameters on it, in place.

        Args and raises: as ``peft_config``. Callers use ``iaa_retrieval.tuning.apply.apply_method``.

        Returns:
            A ``peft.PeftModel`` whose adapter is ``ADAPTER_NAME``.
        """
        from peft import get_peft_model

        config = self.peft_config(model, dimensions, settings)
        config.task_type = settings.task_type
        config.modules_to_save = list(settings.modules_to_save) or None
        return get_peft_model(model, config, adapter_name=ADAPTER_NAME)

    def loads_with_peft_model_only(self) -> bool:
        """Whether only ``peft.PeftModel`` reads a checkpoint of this method; imports PEFT.

        transformers' ``AutoModel.from_pretrained`` and ``load_adapter``, and with them sentence-transformers, refuse
        types that share state between layers.
        """
        return any(shares_state(tuner.model) for tuner in self.tuners())

    def is_extra_bias(self, name: str) -> bool:
        """Whether a trained parameter is none of the weights that ``count`` counts: see ``Tuner.extra_biases``."""
        prefixes = [tuner.model.prefix for tuner in self.tuners() if tuner.extra_biases]
        return name.endswith(".bias") and any(f".{prefix}" in name for prefix in prefixes)

    # Around training

    def takes_no_decay(self, name: str) -> bool:
        """Whether a parameter is a bias by another name: see ``Tuner.undecayed``."""
        containers = [container for tuner in self.tuners() for container in tuner.undecayed]
        return any(f".{container}." in f".{name}." for container in containers)

    def callbacks(self, network: Any, index: int) -> Sequence[Any]:
        """What the training loop must call: ``transformers.TrainerCallback`` instances.

        Args:
            network: what ``apply`` gave.
            index: 0, or 1 for the second of separate encoders; tells files in trainer checkpoints apart.
        """
        return ()

    def extra_loss(self, network: Any) -> Any | None:
        """A term for the loss of every step, such as a penalty on the parameters: a scalar with a gradient, or None.

        Every process adds its own, and the gradients are averaged. It is no function of the step's texts, which go
        through the network in several passes.
        """
        return None

    def after_training(self, network: Any) -> None:
        """Called once in every process after the last step, with the best weights loaded, before they are saved."""


def shares_state(tuner_model: type[Any]) -> bool:
    """Whether the layers of a PEFT tuner share state, which transformers cannot load."""
    return bool(getattr(tuner_model, "uses_shared_state", False))
