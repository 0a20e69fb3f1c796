"""The registry of tuning methods. Light: no torch, no PEFT."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from iaa_retrieval.errors import UsageError

Dimensions = Mapping[str, int]

IAA_PAPER = (
    "Ma et al., Scattered or Connected? An Optimized Parameter-efficient Tuning Approach for Information "
    "Retrieval, CIKM 2022"
)


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
class Method:
    """One tuning method.

    Attributes:
        name: what commands and checkpoints call it.
        title: what reports call it.
        paper: citation.
        dimensions: which of `r`, `ar` (dimension of the aside modules) and `prefix_length` it takes.
        place: its place in the reference architecture.
        count: trained weights, from hidden size, number of layers and dimensions; use `weight_count`.
        anchors: (nominal share of bert-base, dimensions) in the IAA paper's tables, the smaller share first.
        formula: what it computes, in the notation of `docs/methods.md`.
        initialisation: where its parameters start.
        tuner: the PEFT type that implements it ("iaa", "bitfit", "lora"), or "none" for full fine-tuning.
        settings: what the tuner's configuration needs besides dimensions.
        takes: which of `scaling` and `activation` mean something to it.
    """

    name: str
    title: str
    paper: str
    dimensions: tuple[str, ...]
    place: Place
    count: Callable[[int, int, Dimensions], int]
    formula: str
    initialisation: str
    tuner: str
    anchors: tuple[tuple[float, Dimensions], ...] = ()
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    takes: tuple[str, ...] = ()

    def weight_count(self, hidden_size: int, num_layers: int, dimensions: Dimensions) -> int:
        """Trained weights, without the biases of bottlenecks and without task heads.

        Exact for every backbone, but for `full` and `bitfit`: theirs is that of a BERT of this size with
        BERT's vocabulary (30,522), a feed-forward block of 4 hidden sizes, and a pooler.
        """
        return self.count(hidden_size, num_layers, self.check(dimensions))

    def check(self, dimensions: Dimensions) -> dict[str, int]:
        """The dimensions in the method's own order.

        Raises:
            UsageError: one is missing, not the method's, or not a positive integer.
        """
        takes = ", ".join(self.dimensions) or "no dimension"
        if set(dimensions) != set(self.dimensions):
            given = ", ".join(sorted(dimensions)) or "none"
            raise UsageError(f"method {self.name} takes {takes}; given: {given}")
        for name, value in dimensions.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UsageError(f"{name} of method {self.name} must be a positive integer, got {value!r}")
        return {name: dimensions[name] for name in self.dimensions}

    def check_overrides(self, scaling: float | None, activation: str | None) -> None:
        """Refuse a scaling or activation where it means nothing; None, the method's default, always passes.

        Raises:
            UsageError: the method has none, or a scaling that is not a number above 0.
        """
        for name, value in (("scaling", scaling), ("activation", activation)):
            if value is not None and name not in self.takes:
                having = ", ".join(method.name for method in _METHODS.values() if name in method.takes)
                raise UsageError(f"method {self.name} has no {name}; methods that have one: {having}")
        if scaling is not None and not 0.0 < scaling < math.inf:
            raise UsageError(f"scaling must be a number above 0, got {scaling}")


_METHODS: dict[str, Method] = {}


def register(method: Method) -> Method:
    """Enter a method in the registry.

    Raises:
        UsageError: the name is taken.
    """
    if method.name in _METHODS:
        raise UsageError(f"there is a tuning method {method.name!r} already; choose another name")
    _METHODS[method.name] = method
    return method


def get_method(name: str) -> Method:
    """The method of that name.

    Raises:
        UsageError: no method has that name; the message lists those that exist.
    """
    if name not in _METHODS:
        raise UsageError(f"unknown tuning method {name!r}; known: {', '.join(_METHODS)}")
    return _METHODS[name]


def method_names() -> tuple[str, ...]:
    """Names of all methods, in the order in which they were registered."""
    return tuple(_METHODS)


def _bert_weights(d: int, layers: int, dimensions: Dimensions) -> int:
    embeddings = (30_522 + 512 + 2) * d + 2 * d
    layer = (4 * d * d + 4 * d) + (8 * d * d + 5 * d) + 4 * d
    return embeddings + layers * layer + d * d + d


def _bert_biases(d: int, layers: int, dimensions: Dimensions) -> int:
    return d + layers * (4 * d + 5 * d + 2 * d) + d


def _houlsby(d: int, layers: int, dimensions: Dimensions) -> int:
    return layers * 2 * 2 * d * dimensions["r"]


_INSIDE_WORKSPACE = "attention and feed-forward sub-layers"
_INSIDE_FORMULA = "a = LN(x + h + B_r(h)), h = Attn(x)\ny = LN(a + g + B_r(g)), g = FFN(a)"
_PREFIX_FORMULA = "Attn(x) = softmax(Q [P_K; K]^T / sqrt(d_head)) [P_V; V] W_o, in every head"
_BOTTLENECK_START = "W_down ~ N(0, 0.02); W_up = 0 and biases = 0, so a fresh one leaves the backbone bit-identical"
_PREFIX_START = "P_K, P_V ~ N(0, 0.02); a fresh prefix already takes some attention"
_BOTTLENECK_TAKES = ("scaling", "activation")

register(
    Method(
        name="full",
        title="Full fine-tuning",
        paper="Devlin et al., BERT: Pre-training of Deep Bidirectional Transformers, NAACL 2019",
        dimensions=(),
        place=Place("nothing", "the whole backbone", "in place", "-", "-", "none", True),
        count=_bert_weights,
        formula="every weight of the backbone is trained",
        initialisation="the backbone's own weights",
        tuner="none",
    )
)
register(
    Method(
        name="bitfit",
        title="BitFit",
        paper="Ben Zaken et al., BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based Masked "
        "Language-models, ACL 2022",
        dimensions=(),
        place=Place("bias differences", "every bias", "in place", "none", "addition to the bias", "none", True),
        count=_bert_biases,
        formula="W x + (b + d), for every linear projection and layer normalisation",
        initialisation="d = 0",
        tuner="bitfit",
    )
)
register(
    Method(
        name="prefix",
        title="Prefix-tuning",
        paper="Li and Liang, Prefix-Tuning: Optimizing Continuous Prompts for Generation, ACL 2021",
        dimensions=("prefix_length",),
        place=Place(
            "key and value vectors",
            "attention of every layer",
            "parallel",
            "none (free vectors)",
            "concatenation to keys and values",
            "none",
            False,
        ),
        count=lambda d, layers, dims: layers * 2 * d * dims["prefix_length"],
        formula=_PREFIX_FORMULA,
        initialisation=_PREFIX_START,
        tuner="iaa",
        anchors=((0.005, {"prefix_length": 32}), (0.036, {"prefix_length": 200})),
    )
)
register(
    Method(
        name="adapter",
        title="Adapter",
        paper="Houlsby et al., Parameter-Efficient Transfer Learning for NLP, ICML 2019",
        dimensions=("r",),
        place=Place(
            "bottleneck",
            _INSIDE_WORKSPACE,
            "sequential",
            "output of the sub-layer's last projection",
            "addition before the residual",
            "none",
            False,
        ),
        count=_houlsby,
        formula=_INSIDE_FORMULA,
        initialisation=_BOTTLENECK_START,
        tuner="iaa",
        anchors=((0.005, {"r": 16}), (0.067, {"r": 200})),
        settings={"inside": True},
        takes=_BOTTLENECK_TAKES,
    )
)
register(
    Method(
        name="mam",
        title="MAM adapter",
        paper="He et al., Towards a Unified View of Parameter-Efficient Transfer Learning, ICLR 2022",
        dimensions=("r", "prefix_length"),
        place=Place(
            "key and value vectors; bottleneck",
            "attention; feed-forward sub-layer",
            "parallel",
            "none (free vectors); input of the feed-forward block",
            "concatenation to keys and values; scaled addition before the layer normalisation",
            "none",
            False,
        ),
        count=lambda d, layers, dims: layers * 2 * d * (dims["r"] + dims["prefix_length"]),
        formula=_PREFIX_FORMULA + "\ny = LN(a + FFN(a) + B_r(a))",
        initialisation=f"{_BOTTLENECK_START}; {_PREFIX_START}",
        tuner="iaa",
        anchors=((0.005, {"r": 16, "prefix_length": 16}), (0.067, {"r": 200, "prefix_length": 200})),
        settings={"parallel_ffn": True},
        takes=_BOTTLENECK_TAKES,
    )
)
register(
    Method(
        name="lora",
        title="LoRA",
        paper="Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022",
        dimensions=("r",),
        place=Place(
            "low-rank matrix product",
            "query and value projections",
            "parallel",
            "input of the projection",
            "scaled addition to the projection's output",
            "none",
            True,
        ),
        count=lambda d, layers, dims: layers * 2 * 2 * d * dims["r"],
        formula="W x + b + 2 s B A x, for the query and value projections; A is r x d, B is d x r",
        initialisation="A is Kaiming-uniform, B = 0, so a fresh update leaves the backbone bit-identical",
        tuner="lora",
        anchors=((0.005, {"r": 16}), (0.067, {"r": 200})),
        takes=("scaling",),
    )
)
register(
    Method(
        name="iaa-s",
        title="IAA-S",
        paper=IAA_PAPER,
        dimensions=("r", "ar"),
        place=Place(
            "bottlenecks",
            _INSIDE_WORKSPACE,
            "sequential inside, parallel around every sub-layer",
            "output of the last projection; input of the sub-layer",
            "addition before the residual; addition to the sub-layer's output",
            "none",
            False,
        ),
        count=lambda d, layers, dims: _houlsby(d, layers, dims) + layers * 2 * 2 * d * dims["ar"],
        formula="a = LN(x + h + B_r(h)) + B_ar(x), h = Attn(x)\ny = LN(a + g + B_r(g)) + B_ar(a), g = FFN(a)",
        initialisation=_BOTTLENECK_START,
        tuner="iaa",
        anchors=((0.005, {"r": 8, "ar": 8}), (0.067, {"r": 100, "ar": 100})),
        settings={"inside": True, "aside": "sublayer"},
        takes=_BOTTLENECK_TAKES,
    )
)
register(
    Method(
        name="iaa-l",
        title="IAA-L",
        paper=IAA_PAPER,
        dimensions=("r", "ar"),
        place=Place(
            "bottlenecks",
            _INSIDE_WORKSPACE + "; layers",
            "sequential inside, parallel around every layer",
            "output of the last projection; input of the layer",
            "addition before the residual; addition to the layer's output",
            "none",
            False,
        ),
        count=lambda d, layers, dims: _houlsby(d, layers, dims) + layers * 2 * d * dims["ar"],
        formula=_INSIDE_FORMULA + "\nx' = y + B_ar(x), around every layer",
        initialisation=_BOTTLENECK_START,
        tuner="iaa",
        anchors=((0.005, {"r": 12, "ar": 12}), (0.067, {"r": 50, "ar": 300})),
        settings={"inside": True, "aside": "layer"},
        takes=_BOTTLENECK_TAKES,
    )
)
register(
    Method(
        name="iaa-m",
        title="IAA-M",
        paper=IAA_PAPER,
        dimensions=("r", "ar"),
        place=Place(
            "bottlenecks",
            _INSIDE_WORKSPACE + "; encoder",
            "sequential inside, parallel around the whole encoder",
            "output of the last projection; output of the embeddings",
            "addition before the residual; addition to the encoder's output",
            "none",
            False,
        ),
        count=lambda d, layers, dims: _houlsby(d, layers, dims) + 2 * d * dims["ar"],
        formula=_INSIDE_FORMULA + "\nEncoder(e) + B_ar(e), around the whole stack of layers, e the embeddings",
        initialisation=_BOTTLENECK_START,
        tuner="iaa",
        # The paper prints ar = 960 at 6.7%, which is 7.6%; 360 is the dimension that gives its share.
        anchors=((0.005, {"r": 15, "ar": 24}), (0.067, {"r": 185, "ar": 360})),
        settings={"inside": True, "aside": "model"},
        takes=_BOTTLENECK_TAKES,
    )
)

METHOD_NAMES = method_names()
