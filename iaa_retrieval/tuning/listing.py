"""The registry as text: a table for the terminal, and the page ``docs/methods.md``. Light: no torch, no PEFT."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.tuning.families import family_sections
from iaa_retrieval.tuning.methods import Method, all_dimensions, methods
from iaa_retrieval.tuning.methods.scaling import BERT_HIDDEN_SIZE, BERT_LAYERS, BERT_PARAMETERS

COSTS_FILE = Path("docs/method_costs.json")
BUDGETS = (("at 0.5%", 0.005), ("at 6.7%", 0.067))
_WIDTH = 110

_PAGE_HEAD = """\
# The tuning methods

<!-- Generated: python -m iaa_retrieval.train --list-methods markdown > docs/methods.md -->

`python -m iaa_retrieval.train bi-encoder --method NAME --budget 0.5%` (or `cross-encoder`) trains each of them.
Explicit {dimensions} override the budget's dimensions; `--scaling` and `--activation` override
what is said below. Any other method of PEFT is trained with `--peft-config` (see the end of this page).

A post-LN layer of the backbone is `a = LN(x + Attn(x))`, `y = LN(a + FFN(a))`. A bottleneck of dimension r is
`B_r(x) = s (W_up f(W_down x + b_down) + b_up)`, with a ReLU for `f` and `s = 1`. The places are those of the PEFT-Ref
reference architecture (Sabry and Belz, PEFT-Ref: A Modular Reference Architecture and Typology for Parameter-Efficient
Finetuning Techniques, 2023). What the methods compute [on pre-LN layers](#on-pre-ln-layers), as decoders have them,
[how weights are counted](#how-weights-are-counted) under grouped-query attention, and which
[backbones](#backbones) they work on is said below.

Weights are counted on bert-base (hidden size 768, 12 layers, 109,482,240 parameters). The two budgets are nominal
shares, as in the tables of the IAA paper. Biases of bottlenecks and task heads come on top; training prints all three.
"""

_PAGE_TAIL = """\
## In Python

```python
from iaa_retrieval.tuning.apply import apply_method, method_config

tuned = apply_method(AutoModel.from_pretrained("BACKBONE"), "iaa-l", {"r": 12, "ar": 12})  # a peft.PeftModel
# the same for sentence-transformers (or any transformers model)
model = SentenceTransformer("BACKBONE")
model.add_adapter(method_config(model[0].auto_model, "iaa-l", {"r": 12, "ar": 12}))
```

## Any other PEFT method

`--peft-config FILE.json` takes a JSON object with a `peft_type` (LORA, IA3, OFT, BOFT, VERA, LN_TUNING, HRA, LOHA,
LOKR, ADALORA, ...) and any fields of that type's configuration. DoRA, for instance, is
`{"peft_type": "LORA", "use_dora": true, "r": 8}`. Without `target_modules`, IA3 goes to keys, values and the
feed-forward block, LN_TUNING to every layer normalisation, BEFT to the values, TRAINABLE_TOKENS to the word embeddings,
and all others to the query and value projections.

- Prompt methods are refused: their virtual tokens would be pooled as if they were text. Use `prefix`.
- VERA, PVERA, VBLORA, UNILORA, TINYLORA, FROD and DoRA checkpoints are loaded by `peft.PeftModel` and by this package
  only; training and the model card say so.
- ADALORA is trained with its penalty and rank schedule; `total_step` is filled in.
- What needs data or changes the backbone before training (LoftQ, EVA, CorDA, PiSSA, OLoRA, LoRA-GA, X-LoRA, ...) is
  refused by name.
- FOURIERFT, C3A, VBLORA and UNILORA do not start at the backbone: a fresh adapter changes the result.
"""


def methods_table() -> str:
    """All methods for a terminal: one line each, then each one's details."""
    rows = [("name", "title", "dimensions", "inserted", "mergeable")]
    for method in methods():
        rows.append((method.name, method.title, _dimensions(method), method.place.inserted, _yes(method.mergeable)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    for method in methods():
        lines += ["", f"{method.name} ({method.title})"]
        for label, value in (*_place(method), ("formula", method.formula), ("paper", method.paper)):
            for number, part in enumerate(value.split("\n")):
                label_part = label if number == 0 else ""
                lines += textwrap.wrap(part, _WIDTH, initial_indent=f"  {label_part:<10} ", subsequent_indent=" " * 13)
    return "\n".join(lines) + "\n"


def methods_page(costs: Mapping[str, Any] | None = None) -> str:
    """The documentation page, in markdown.

    Args:
        costs: what ``read_costs`` gives; None leaves the measured table out.
    """
    head = _PAGE_HEAD.format(dimensions=_all_dimensions())
    return "\n".join([head, _overview(), *map(_section, methods()), family_sections(), _costs(costs), _PAGE_TAIL])


def read_costs(path: Path) -> dict[str, Any] | None:
    """The measured costs in a JSON file; None where there is none.

    Raises:
        IaaRetrievalError: a file that is not the benchmark's.
    """
    if not path.is_file():
        return None
    try:
        costs = json.loads(path.read_text(encoding="utf-8"))
        required = ("hardware", "versions", "date", "backbone", "settings", "rows")
        if [key for key in required if key not in costs]:
            raise ValueError(f"it lacks one of {', '.join(required)}")
    except (ValueError, TypeError) as error:
        raise IaaRetrievalError(f"{path} does not hold measured costs: {error}; make it again") from error
    return dict(costs)


def _overview() -> str:
    head = ["method", "dimensions"]
    for label, _ in BUDGETS:
        head += [label, "weights"]
    head.append("mergeable")
    rows = []
    for method in methods():
        cells = [f"[{method.title}](#{method.name})", _dimensions(method)]
        for _, budget in BUDGETS:
            dimensions = _at(method, budget)
            sizes = ", ".join(str(value) for value in dimensions.values()) or "-"
            cells += [sizes, f"{_weights(method, dimensions):,}"]
        rows.append([*cells, _yes(method.mergeable)])
    return _markdown_table(head, rows, right=(3, 5))


def _section(method: Method) -> str:
    facts = [*_place(method), ("starts at", method.initialisation), ("takes", _overrides(method))]
    # A method without dimensions trains the same at every budget.
    for label, budget in BUDGETS if method.dimensions else (("", 1.0),):
        dimensions = _at(method, budget)
        weights = _weights(method, dimensions)
        sizes = " with " + ", ".join(f"{key} = {value}" for key, value in dimensions.items()) if dimensions else ""
        share = weights / BERT_PARAMETERS
        facts.append((f"weights {label}".strip(), f"{weights:,} ({share:.2%} of bert-base){sizes}"))
    return (
        f'<a id="{method.name}"></a>\n\n## {method.title} (`{method.name}`)\n\n```\n{method.formula}\n```\n\n'
        + _markdown_table(["", ""], [[label, value] for label, value in facts])
        + f"\n{method.paper}.\n"
    )


def _costs(costs: Mapping[str, Any] | None) -> str:
    text = "## Measured costs\n\n<!-- measured: begin (from docs/method_costs.json) -->\n"
    if costs is None:
        text += "Not measured yet.\n"
    else:
        versions = ", ".join(f"{name} {version}" for name, version in costs["versions"].items())
        text += (
            f"{costs['backbone']}, {costs['settings']}; {costs['hardware']}; {versions}; {costs['date']}. "
            "In brackets: the lowest and highest of all repetitions. Memory is the peak of the whole process, loading "
            "included. Slowdown is the time to encode, relative to the bare backbone.\n\n"
        )
        head = [
            *("method", "budget", "weights", "biases", "checkpoint (MB)"),
            *("training s per 1,000 examples", "peak training memory (MB)", "encoding slowdown"),
        ]
        text += _markdown_table(head, [_cost_row(row) for row in costs["rows"]], right=range(2, len(head)))
    return text + "<!-- measured: end -->\n"


def _cost_row(row: Mapping[str, Any]) -> list[str]:
    train_low, train_high = row["train_seconds_spread"]
    slow_low, slow_high = row["encode_slowdown_spread"]
    return [
        row["method"],
        row["budget"],
        f"{row['weights']:,}",
        f"{row['biases']:,}",
        f"{row['checkpoint_bytes'] / 1e6:.2f}",
        f"{row['train_seconds_per_1000']:.1f} [{train_low:.1f}, {train_high:.1f}]",
        f"{row['peak_train_memory_bytes'] / 1e6:,.0f}",
        f"{row['encode_slowdown']:.2f} [{slow_low:.2f}, {slow_high:.2f}]",
    ]


def _place(method: Method) -> list[tuple[str, str]]:
    place = method.place
    return [
        ("dimensions", _dimensions(method)),
        ("inserted", place.inserted),
        ("workspace", place.workspace),
        ("insertion", place.insertion),
        ("reads", place.reads),
        ("writes", place.writes),
        ("sharing", place.parameter_sharing),
        ("mergeable", _yes(place.mergeable)),
    ]


def _at(method: Method, budget: float) -> dict[str, int]:
    if not method.dimensions:
        return {}
    return method.dimensions_for(budget, BERT_HIDDEN_SIZE, BERT_LAYERS, BERT_PARAMETERS)


def _weights(method: Method, dimensions: Mapping[str, int]) -> int:
    return method.weight_count(BERT_HIDDEN_SIZE, BERT_LAYERS, dimensions)


def _dimensions(method: Method) -> str:
    return ", ".join(method.dimension_names) or "none"


def _all_dimensions() -> str:
    *others, last = (f"`--{name.replace('_', '-')}`" for name in all_dimensions())
    return f"{', '.join(others)} and {last}"


def _overrides(method: Method) -> str:
    return ", ".join(f"`--{name}`" for name in method.takes) or "no override"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    rule = ["---:" if column in right else "---" for column in range(len(head))]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, rule, *rows))
