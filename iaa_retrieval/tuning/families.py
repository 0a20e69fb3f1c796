"""What the methods do on each family of backbones, as sections of ``docs/methods.md``. Light: no torch, no PEFT."""

from __future__ import annotations

from typing import NamedTuple

from iaa_retrieval.tuning.methods import Sizes, methods


class Family(NamedTuple):
    """Backbones of which the methods' formulas are the same.

    Attributes:
        model_types: as their transformers configurations have them.
        known_as: well-known models.
        layer: which of the formulas holds.
        biases: what BitFit trains.
        remark: what is special about them.
    """

    model_types: tuple[str, ...]
    known_as: str
    layer: str
    biases: str
    remark: str = ""


_ALL = "all"
_NORMS = "of normalisations"
_NONE = "none, refused"
FAMILIES = (
    Family(("bert", "roberta", "xlm-roberta", "camembert", "electra"), "MiniLM, mE5, dense BGE-M3", "post-LN", _ALL),
    Family(("mpnet",), "all-mpnet-base-v2", "post-LN", _ALL, "a prefix has no relative position"),
    Family(("distilbert",), "distilbert-base", "post-LN", _ALL),
    Family(("albert",), "albert-base-v2", "post-LN", _ALL, "its layers are used again, and so is what is in them"),
    Family(("deberta-v2",), "DeBERTa-v3", "post-LN", _ALL, "a prefix is attended to by content alone"),
    Family(("nomic_bert",), "nomic-embed-text-v1.5", "post-LN", _NORMS),
    Family(("gte",), "gte-multilingual-base", "post-LN", _ALL),
    Family(("modernbert",), "ModernBERT, Ettin, mmBERT", "pre-LN", _NONE, "LoRA: queries, keys and values together"),
    Family(("eurobert",), "EuroBERT", "pre-LN", _NONE),
    Family(
        ("t5", "mt5", "umt5"),
        "GTR, Sentence-T5 (their encoders)",
        "pre-LN",
        _NONE,
        "the encoder alone; a prefix has no position",
    ),
    Family(("qwen2",), "Qwen2.5", "pre-LN", "of queries, keys and values"),
    Family(("qwen3",), "Qwen3-Embedding, Qwen3-Reranker", "pre-LN", _NONE, "a prefix enters behind the keys' norm"),
    Family(("llama",), "Llama 2 and 3", "pre-LN", _NONE),
    Family(("mistral",), "E5-Mistral", "pre-LN", _NONE),
    Family(("gemma2",), "BGE-Gemma2", "sandwich", _NONE, "eager attention, since scores are capped"),
    Family(("gemma3_text",), "EmbeddingGemma", "sandwich", _NONE, "a prefix enters behind the keys' norm"),
    Family(("modernbert-decoder",), "Ettin decoders", "pre-LN", _NONE),
)

QWEN3_SIZES, QWEN3_PARAMETERS = Sizes(1024, 28, 2048, 1024), 596_049_920  # Qwen3-0.6B's

_FORMULAS = """\
## On pre-LN layers

The formulas above are those of a post-LN layer. A pre-LN layer (ModernBERT, EuroBERT, T5, decoders) normalises what a
sub-layer reads:

```
n = N(x), h = Attn(n), a = x + h
m = N(a), g = FFN(m),  y = a + g
```

`h` is what the last projection of attention gives (`o_proj`), `g` that of the feed-forward block (`down_proj`). Inside
bottlenecks sit behind these two; an aside of a sub-layer reads what the sub-layer reads; asides of a layer and of the
stack read their inputs.

| method | computes |
| --- | --- |
| `adapter` | `a = x + h + B_r(h)`, `y = a + g + B_r(g)` |
| `mam` | a prefix; `y = a + g + B_r(m)` |
| `iaa-s` | `a = x + h + B_r(h) + B_ar(n)`, `y = a + g + B_r(g) + B_ar(m)` |
| `iaa-l` | as `adapter`, and `x' = y + B_ar(x)` around every layer |
| `iaa-m` | as `adapter`, and `N(Stack(e) + B_ar(e))` before the last normalisation; e is what enters the first layer |
| `lora` | on `q_proj` and `v_proj` |
| `prefix` | as above; keys are normalised and rotated first, where the backbone does so, and `P_K` is not normalised |

Gemma 2 and 3 have a sandwich: a second normalisation P behind each sub-layer. What is inside or parallel comes before
it, an aside after it, as with a post-LN layer: `a = x + P(h + B_r(h)) + B_ar(n)`, `y = a + P(g + B_r(g)) + B_ar(m)` for
`iaa-s`, and `y = a + P(g + B_r(m))` for `mam`. Their embeddings are scaled, and `e` is the scaled ones.

Every token sees the whole prefix, also under a causal mask and in layers with a window, which does not count it. The
positions of the text stay as they are. With rotary positions the prefix stands where the text's first token stands, so
that padding on the left changes nothing.
"""

_COUNTING = """\
## How weights are counted

With hidden size d, L layers, queries of width q (heads times head size), and keys and values of width k each. In BERT
q and k are d; grouped-query attention has fewer heads of keys and values, so that k is less. L counts layers with
weights of their own: ALBERT's adapters are shared as its layers are. `--budget` uses these counts; for BitFit it counts
the backbone's biases.

| method | weights | at 0.5% of Qwen3-0.6B (d = {hidden:,}, L = {layers}, q = {queries:,}, k = {keys:,}) |
| --- | --- | --- |
"""

_COUNTS = {
    "prefix": "2 L k l",
    "adapter": "4 L d r",
    "mam": "2 L d r + 2 L k l",
    "lora": "L r (2 d + q + k)",
    "iaa-s": "4 L d r + 4 L d ar",
    "iaa-l": "4 L d r + 2 L d ar",
    "iaa-m": "4 L d r + 2 d ar",
}

_FAMILIES = """\
## Backbones

Every method works on each of them, but for BitFit where there is no bias to train.

| model type | for instance | layer | biases | remark |
| --- | --- | --- | --- | --- |
"""

_REFUSED = """\

A type that is not in this table is refused by name: the first DeBERTa (queries, keys and values are one projection,
with biases apart), mixtures of experts (no one projection ends their feed-forward block), Gemma 3 with images (its text
model alone is in the table). EmbeddingGemma is Gemma 3 that sees both sides; the dense layers of its
sentence-transformers form are refused when it is loaded. A prefix, and with it MAM, needs eager or sdpa attention.
"""


def family_sections() -> str:
    """The sections of the page, in markdown."""
    counting = _COUNTING.format(
        hidden=QWEN3_SIZES.hidden_size,
        layers=QWEN3_SIZES.num_layers,
        queries=QWEN3_SIZES.queries,
        keys=QWEN3_SIZES.keys,
    )
    return "\n".join([_FORMULAS, counting + _count_rows(), _FAMILIES + _family_rows() + _REFUSED])


def _count_rows() -> str:
    rows = []
    for method in methods():
        if method.name in _COUNTS:
            chosen = method.dimensions_on(QWEN3_SIZES, 0.005, QWEN3_PARAMETERS)
            sizes = ", ".join(f"{name} = {value}" for name, value in chosen.items())
            weights = method.weights_on(QWEN3_SIZES, chosen)
            rows.append(f"| `{method.name}` | `{_COUNTS[method.name]}` | {sizes}: {weights:,} |\n")
    return "".join(rows)


def _family_rows() -> str:
    return "".join(
        f"| {', '.join(f'`{name}`' for name in family.model_types)} | {family.known_as} | {family.layer} "
        f"| {family.biases} | {family.remark or '-'} |\n"
        for family in FAMILIES
    )
