"""Where each role of a tuning method lives in the backbones that we support, by ``config.model_type``."""

from __future__ import annotations

from dataclasses import dataclass, replace

from iaa_retrieval.errors import UsageError


@dataclass(frozen=True)
class Tap:
    """A module beside which a branch is put, and which of its forward's arguments the branch reads."""

    module: str
    position: int
    keyword: str


@dataclass(frozen=True)
class Architecture:
    """Names of the modules that play each role, inside a layer unless said otherwise."""

    layer: str  # regular expression for the name of one layer inside the encoder model
    attention_output: str  # the linear projection that ends the attention sub-layer
    ffn_output: str  # the linear projection that ends the feed-forward sub-layer
    lora_targets: tuple[str, ...]  # query and value projections
    key_value: tuple[str, ...]  # key and value projections
    self_attention: str  # the module that a prefix is put in
    prefix_route: str  # "cache", "interface" or "subclass", see ``tuners.prefix`` and ``tuners.subclasses``
    ffn: Tap  # where the branch parallel to the feed-forward block is added
    ffn_by_residual: bool  # True: the branch is added to the tapped argument, False: to the module's output
    sublayers: tuple[Tap, ...]  # one module per sub-layer; empty: swap the layer's class
    encoder: str | None  # the module that is the whole stack of layers; None: use ``encoder_ends``
    encoder_ends: tuple[str, str] = ("", "")  # the modules just before and just after the stack


_BERT = Architecture(
    layer=r"encoder\.layer\.\d+",
    attention_output="attention.output.dense",
    ffn_output="output.dense",
    lora_targets=("attention.self.query", "attention.self.value"),
    key_value=("attention.self.key", "attention.self.value"),
    self_attention="attention.self",
    prefix_route="cache",
    ffn=Tap("output", 1, "input_tensor"),
    ffn_by_residual=True,
    sublayers=(Tap("attention.output", 1, "input_tensor"), Tap("output", 1, "input_tensor")),
    encoder="encoder",
)

_MPNET = replace(
    _BERT,
    attention_output="attention.attn.o",
    lora_targets=("attention.attn.q", "attention.attn.v"),
    key_value=("attention.attn.k", "attention.attn.v"),
    self_attention="attention.attn",
    prefix_route="subclass",
    sublayers=(Tap("attention", 0, "hidden_states"), Tap("output", 1, "input_tensor")),
)

_DISTILBERT = Architecture(
    layer=r"transformer\.layer\.\d+",
    attention_output="attention.out_lin",
    ffn_output="ffn.lin2",
    lora_targets=("attention.q_lin", "attention.v_lin"),
    key_value=("attention.k_lin", "attention.v_lin"),
    self_attention="attention",
    prefix_route="interface",
    ffn=Tap("ffn", 0, "input"),
    ffn_by_residual=False,
    sublayers=(),
    encoder="transformer",
)

# A pre-LN model: what a sub-layer's aside reads is what the sub-layer reads, the normalised state. Query, key
# and value are one projection, so LoRA's update covers all three; it has as many weights as two square ones.
_MODERNBERT = Architecture(
    layer=r"layers\.\d+",
    attention_output="attn.Wo",
    ffn_output="mlp.Wo",
    lora_targets=("attn.Wqkv",),
    key_value=("attn.Wqkv",),
    self_attention="attn",
    prefix_route="interface",
    ffn=Tap("mlp", 0, "hidden_states"),
    ffn_by_residual=False,
    sublayers=(Tap("attn", 0, "hidden_states"), Tap("mlp", 0, "hidden_states")),
    encoder=None,
    encoder_ends=("embeddings", "final_norm"),
)

ARCHITECTURES = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "electra": _BERT,
    "mpnet": _MPNET,
    "distilbert": _DISTILBERT,
    "modernbert": _MODERNBERT,
}


def get_architecture(model_type: str | None) -> Architecture:
    """The roles of a backbone's modules.

    Raises:
        UsageError: a ``model_type`` that we do not support.
    """
    if model_type not in ARCHITECTURES:
        raise UsageError(
            f"backbone type {model_type!r} is not supported by the parameter-efficient methods; "
            f"supported: {', '.join(ARCHITECTURES)}"
        )
    return ARCHITECTURES[model_type]


def in_layers(architecture: Architecture, module: str = "") -> str:
    """Regular expression for ``module`` (default: the layer itself) in every layer, bare encoder or not."""
    layer = rf"(?:.*\.)?{architecture.layer}"
    return layer + "".join(rf"\.{name}" for name in module.split(".") if name)
