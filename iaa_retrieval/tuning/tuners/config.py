"""The configuration of one IAA-family adapter, saved as ``adapter_config.json``."""

from __future__ import annotations

from dataclasses import dataclass, field

from peft.config import PeftConfig
from transformers.activations import ACT2FN

from iaa_retrieval.errors import UsageError
from iaa_retrieval.tuning.tuners.peft_types import IAA

ASIDES = ("none", "sublayer", "layer", "model")
TRAINED_ACTIVATIONS = {"prelu", "xielu"}  # they have parameters of their own, which an adapter does not save
INITIAL_STD = 0.02  # of down-projections and prefix vectors; up-projections and biases start at zero

TARGETS_HELP = {"help": "Filled in from the backbone; what is given here is replaced."}
EXCLUDE_HELP = {"help": "Modules to leave alone: suffixes of their names, or one regular expression."}
SAVE_HELP = {"help": "Modules that are trained and saved whole, such as a task head."}


@dataclass
class IAAConfig(PeftConfig):  # type: ignore[misc]
    """Which bottlenecks and prefixes to insert, and how wide they are.

    Covers Houlsby adapters (``inside``), IAA-S, -L and -M (``inside`` with an ``aside``), prefix-tuning
    (``prefix_length``) and MAM (``parallel_ffn`` with ``prefix_length``).

    Raises:
        UsageError: a value that cannot be meant: an unknown aside or activation, a dimension below one, a
            dropout outside [0, 1), or nothing to insert.
    """

    inside: bool = field(default=False, metadata={"help": "A bottleneck after both sub-layers, before the residual."})
    aside: str = field(
        default="none",
        metadata={"help": "A bottleneck beside every 'sublayer', every 'layer' or the 'model'; or 'none'."},
    )
    parallel_ffn: bool = field(default=False, metadata={"help": "A bottleneck parallel to every feed-forward block."})
    prefix_length: int = field(
        default=0, metadata={"help": "Trained key and value vectors in every attention; 0 is none."}
    )
    r: int | None = field(default=None, metadata={"help": "Dimension of inside and parallel bottlenecks."})
    aside_r: int | None = field(default=None, metadata={"help": "Dimension of aside bottlenecks."})
    activation: str = field(default="relu", metadata={"help": "Non-linearity, by transformers' name."})
    scaling: float = field(default=1.0, metadata={"help": "Factor on every bottleneck's output."})
    dropout: float = field(default=0.0, metadata={"help": "Dropout on the hidden activation of bottlenecks."})
    target_modules: list[str] | str | None = field(default=None, metadata=TARGETS_HELP)
    exclude_modules: list[str] | str | None = field(default=None, metadata=EXCLUDE_HELP)
    modules_to_save: list[str] | None = field(default=None, metadata=SAVE_HELP)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = IAA
        if self.aside not in ASIDES:
            raise UsageError(f"unknown aside {self.aside!r}; choose one of {', '.join(ASIDES)}")
        if not (self.inside or self.parallel_ffn or self.prefix_length or self.aside != "none"):
            raise UsageError("nothing to insert: set inside, aside, parallel_ffn or prefix_length")
        if self.prefix_length < 0:
            raise UsageError(f"prefix_length must be 0 or more, got {self.prefix_length}")
        if (self.inside or self.parallel_ffn) and (self.r is None or self.r < 1):
            raise UsageError(f"r must be 1 or more, got {self.r}")
        if self.aside != "none" and (self.aside_r is None or self.aside_r < 1):
            raise UsageError(f"aside_r must be 1 or more, got {self.aside_r}")
        if not 0.0 <= self.dropout < 1.0:
            raise UsageError(f"dropout must be at least 0 and below 1, got {self.dropout}")
        if self.activation not in ACT2FN or self.activation in TRAINED_ACTIVATIONS:
            known = sorted(set(ACT2FN) - TRAINED_ACTIVATIONS)
            raise UsageError(f"unknown activation {self.activation!r}; known: {', '.join(known)}")
