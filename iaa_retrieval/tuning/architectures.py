"""Where each role of a tuning method lives in the backbones that we support, by ``config.model_type``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from iaa_retrieval.errors import UsageError


@dataclass(frozen=True)
class Tap:
    """A module beside which a branch is put, and which of its forward's arguments the branch reads.

    The branch is added to what the module returns, or to what ``host`` returns: a child of the layer, such as the
    normalisation that ends the sub-layer.
    """

    module: str
    position: int
    keyword: str
    host: str = ""


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
    ffn_by_residual: bool  # True: the branch is added to the tapped argument (the host's input), False: to the output
    sublayers: tuple[Tap, ...]  # one module per sub-layer; empty: swap the layer's class
    encoder: str | None  # the module that is the whole stack of layers; None: use ``encoder_ends``
    # The module whose output enters the stack, and the one that its output enters or (``ends_inside``) comes from;
    # ``{last}`` is the number of the last layer.
    encoder_ends: tuple[str, str] = ("", "")
    ends_inside: bool = False


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

# Its layers are used again and again, and so are the adapters in them. The embeddings are narrower than the layers.
_ALBERT = Architecture(
    layer=r"encoder\.albert_layer_groups\.\d+\.albert_layers\.\d+",
    attention_output="attention.dense",
    ffn_output="ffn_output",
    lora_targets=("attention.query", "attention.value"),
    key_value=("attention.key", "attention.value"),
    self_attention="attention",
    prefix_route="interface",
    ffn=Tap("ffn", 0, "input", host="full_layer_layer_norm"),
    ffn_by_residual=True,
    sublayers=(Tap("attention", 0, "hidden_states"), Tap("ffn", 0, "input", host="full_layer_layer_norm")),
    encoder=None,
    encoder_ends=("encoder.embedding_hidden_mapping_in", "encoder"),
    ends_inside=True,
)

_DEBERTA = replace(
    _BERT,
    lora_targets=("attention.self.query_proj", "attention.self.value_proj"),
    key_value=("attention.self.key_proj", "attention.self.value_proj"),
    prefix_route="subclass",
)

# The layout of Llama, of which most decoders are: pre-LN like ModernBERT, with fewer heads of keys and values.
_LLAMA = Architecture(
    layer=r"layers\.\d+",
    attention_output="self_attn.o_proj",
    ffn_output="mlp.down_proj",
    lora_targets=("self_attn.q_proj", "self_attn.v_proj"),
    key_value=("self_attn.k_proj", "self_attn.v_proj"),
    self_attention="self_attn",
    prefix_route="interface",
    ffn=Tap("mlp", 0, "x"),
    ffn_by_residual=False,
    sublayers=(Tap("self_attn", 0, "hidden_states"), Tap("mlp", 0, "x")),
    encoder=None,
    encoder_ends=("embed_tokens", "norm"),
)

# A sub-layer ends with a second normalisation, before the residual: what is inside or parallel comes before it, an
# aside after it, as with BERT's.
_GEMMA = replace(
    _LLAMA,
    sublayers=(
        Tap("self_attn", 0, "hidden_states", host="post_attention_layernorm"),
        Tap("mlp", 0, "x", host="post_feedforward_layernorm"),
    ),
)

# Post-LN with the modules of Llama, and nothing behind the last layer.
_NOMIC = replace(
    _LLAMA,
    sublayers=(
        Tap("self_attn", 0, "hidden_states", host="post_attention_layernorm"),
        Tap("mlp", 0, "x", host="post_mlp_layernorm"),
    ),
    encoder_ends=("embeddings", "layers.{last}"),
    ends_inside=True,
)

_MODERNBERT_DECODER = replace(
    _MODERNBERT, lora_targets=("attn.q_proj", "attn.v_proj"), key_value=("attn.k_proj", "attn.v_proj")
)

_T5 = Architecture(
    layer=r"encoder\.block\.\d+",
    attention_output="layer.0.SelfAttention.o",
    ffn_output="layer.1.DenseReluDense.wo",
    lora_targets=("layer.0.SelfAttention.q", "layer.0.SelfAttention.v"),
    key_value=("layer.0.SelfAttention.k", "layer.0.SelfAttention.v"),
    self_attention="layer.0.SelfAttention",
    prefix_route="interface",
    ffn=Tap("layer.1.DenseReluDense", 0, "hidden_states"),
    ffn_by_residual=False,
    sublayers=(Tap("layer.0.SelfAttention", 0, "hidden_states"), Tap("layer.1.DenseReluDense", 0, "hidden_states")),
    encoder=None,
    encoder_ends=("encoder.embed_tokens", "encoder.final_layer_norm"),
)

ARCHITECTURES = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "electra": _BERT,
    "mpnet": _MPNET,
    "distilbert": _DISTILBERT,
    "modernbert": _MODERNBERT,
    "camembert": _BERT,
    "albert": _ALBERT,
    "deberta-v2": _DEBERTA,
    "nomic_bert": _NOMIC,
    "gte": _NOMIC,
    "eurobert": _LLAMA,
    "t5": _T5,
    "mt5": _T5,
    "umt5": _T5,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA,
    "modernbert-decoder": _MODERNBERT_DECODER,
}


_EXPERTS = "its feed-forward block is many experts, without one projection at its end"
# What is asked for and cannot be had, and why.
_REASONS = {
    "deberta": "the first DeBERTa has one projection for queries, keys and values, whose biases are apart",
    "gemma3": "it also reads images; its text model by itself, of type gemma3_text, is supported",
    "mixtral": _EXPERTS,
    "qwen2_moe": _EXPERTS,
    "qwen3_moe": _EXPERTS,
}


def get_architecture(model_type: str | None) -> Architecture:
    """The roles of a backbone's modules.

    Raises:
        UsageError: a ``model_type`` that we do not support.
    """
    if model_type not in ARCHITECTURES:
        reason = f": {_REASONS[model_type]}" if model_type in _REASONS else ""
        raise UsageError(
            f"backbone type {model_type!r} is not supported by the parameter-efficient methods{reason}; "
            f"supported: {', '.join(ARCHITECTURES)}"
        )
    return ARCHITECTURES[model_type]


def architecture_of(model: Any) -> Architecture:
    """The roles of a model's modules, where an adapter is to be trained on it.

    Raises:
        UsageError: of a type that we do not support, or an encoder-decoder of which only the encoder is.
    """
    found = get_architecture(getattr(model.config, "model_type", None))
    if getattr(getattr(model, "base_model", model), "decoder", None) is not None:
        raise UsageError(
            f"adapters go on the encoder of a {model.config.model_type} alone, and this network has its decoder too; "
            "train a bi-encoder, or a cross-encoder with --head mean, which use the encoder by itself"
        )
    return found


def in_layers(architecture: Architecture, module: str = "") -> str:
    """Regular expression for ``module`` (default: the layer itself) in every layer, bare encoder or not."""
    layer = rf"(?:.*\.)?{architecture.layer}"
    return layer + "".join(rf"\.{name}" for name in module.split(".") if name)
