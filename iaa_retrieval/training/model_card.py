"""The README that every checkpoint carries."""

from __future__ import annotations

import json

from iaa_retrieval.models.backbone import public_name
from iaa_retrieval.models.kinds import retriever_class
from iaa_retrieval.models.retriever_config import FrozenDocuments, Interpolation, RetrieverConfig
from iaa_retrieval.training.kinds import TRAINING_KINDS
from iaa_retrieval.tuning.methods import find_method

_PEFT_USE = """\
With PEFT alone:

```python
import iaa_retrieval  # makes the method known to PEFT
from peft import PeftModel
from transformers import {auto_class}

backbone = {auto_class}.from_pretrained({backbone}{extra})
model = PeftModel.from_pretrained(backbone, "CHECKPOINT")
```
"""

_SENTENCE_TRANSFORMERS_USE = """
With sentence-transformers, from an export:

```bash
python -m iaa_retrieval.export --checkpoint CHECKPOINT --format sentence-transformers --output EXPORTED
```

```python
import iaa_retrieval  # makes the method known to PEFT
from sentence_transformers import {st_class}

model = {st_class}("EXPORTED")
```
"""

_OWN_HEAD = """
Nothing else computes its scores: transformers has no head `{head}`.
"""

_PEFT_MODEL_ONLY = """
Nothing else loads it as it is: `AutoModel.from_pretrained("CHECKPOINT")`, `load_adapter` and sentence-transformers
refuse {method} adapters, or read them wrongly without saying so.
"""

_SEPARATE_PEFT_USE = """\
With PEFT alone, each adapter on a backbone of its own (BACKBONE is {backbone}):

```python
import iaa_retrieval  # makes the method known to PEFT
from peft import PeftModel
from transformers import AutoModel

query_encoder = PeftModel.from_pretrained(AutoModel.from_pretrained("BACKBONE"), "CHECKPOINT/query")
passage_encoder = PeftModel.from_pretrained(AutoModel.from_pretrained("BACKBONE"), "CHECKPOINT/passage")
```
"""

_QUERY_SIDE_USE = """
Only queries were tuned: documents are those of indexes that {documents} made (encoder {fingerprint}), which stay as
they are, and `encode input` with this checkpoint makes the same vectors. The query encoder alone:

```python
import iaa_retrieval  # makes the method known to PEFT
{loading}
```
"""

_DEV_NOTE = "Dev scores are of held-out queries over {dev_data}; they chose the checkpoint and are not test scores.\n\n"


def model_card(config: RetrieverConfig) -> str:
    """Markdown: what was trained, on what, how it scored on the dev queries, and how to load it."""
    counts = ", ".join(f"{count:,} {kind}" for kind, count in config.trainable_parameters.items())
    dimensions = ", ".join(f"{name} = {value}" for name, value in config.dimensions.items()) or "none"
    scores = "".join(f"| dev {name} | {value:.4f} |\n" for name, value in config.dev_scores.items())
    training = "".join(
        f"| {key.replace('_', ' ')} | {value} |\n" for key, value in config.training.items() if value is not None
    )
    retriever, texts = retriever_class(config.kind), TRAINING_KINDS[config.kind].card
    method = find_method(config.method)
    backbone = json.dumps(public_name(config.backbone), ensure_ascii=False)
    use, stock = texts.use, retriever.is_stock_network(config)
    if not stock:
        use += _OWN_HEAD.format(head=config.head)
    elif config.documents is not None:
        use += _query_side_use(config, config.documents, backbone)
    elif config.separate_encoders:
        use += "\n" + _SEPARATE_PEFT_USE.format(backbone=backbone)
    elif method.is_adapter:
        use += "\n" + _PEFT_USE.format(
            backbone=backbone,
            auto_class=retriever.auto_class().__name__,
            extra="".join(f", {name}={value}" for name, value in retriever.network_options.items()),
        )
    if stock and not config.separate_encoders and not config.query_suffix + config.document_suffix:
        use += _SENTENCE_TRANSFORMERS_USE.format(st_class=texts.st_class)
    if stock and method.loads_with_peft_model_only():
        use += _PEFT_MODEL_ONLY.format(method=config.method)
    adapters = (
        "| adapters | one for queries (`query/`), one for passages (`passage/`) |\n" if config.separate_encoders else ""
    )
    if config.documents is not None:
        frozen = ", by the frozen adapter in `passage/`" if config.documents.adapter else ""
        adapters = f"| documents | as {config.documents.encoder} encodes them{frozen}; only queries were tuned |\n"
    leads = (
        f"| put before the text | {config.query_lead!r} (queries), {config.document_lead!r} (passages) |\n"
        if config.query_lead or config.document_lead
        else ""
    )
    if config.query_suffix or config.document_suffix:
        leads += f"| put after the text | {config.query_suffix!r} (queries), {config.document_suffix!r} (passages) |\n"
    if config.append_token:
        leads += f"| every text ends with | {config.append_token!r}, which the tokenizer in here appends |\n"
    head = "" if stock else f"| head | {config.head} |\n"
    head += _pair_rows(config)
    front = "library_name: peft\n" if method.is_adapter else ""
    return (
        f"---\n{front}pipeline_tag: {retriever.pipeline_tag}\n---\n\n"
        f"# {config.method} {config.kind} on {config.backbone}\n\n"
        "| | |\n|---|---|\n"
        f"| method | {config.method} |\n| dimensions | {dimensions} |\n| trained parameters | {counts} |\n{adapters}"
        f"| backbone | {config.backbone} (weights {config.backbone_fingerprint[:12]}) |\n"
        f"{head}{leads}{training}{scores}{_interpolation_row(config.interpolation)}\n"
        f"{_DEV_NOTE.format(dev_data=texts.dev_data) if config.dev_scores else ''}## How to use it\n\n" + use
    )


def _pair_rows(config: RetrieverConfig) -> str:
    """How a pair becomes one text, and which words answer it."""
    rows = {
        "pair": config.pair_template and f"`{config.pair_template!r}`",
        "instruction": config.pair_instruction,
        "answers": " / ".join(f"`{token}`" for token in config.pair_tokens),
    }
    return "".join(f"| {name} | {value.replace('|', '&#124;')} |\n" for name, value in rows.items() if value)


def _query_side_use(config: RetrieverConfig, documents: FrozenDocuments, backbone: str) -> str:
    """How the tuned query encoder is loaded by itself: an adapter, or a whole network."""
    loading = 'from transformers import AutoModel\n\nquery_encoder = AutoModel.from_pretrained("CHECKPOINT/query")'
    if find_method(config.method).is_adapter:
        loading = (
            "from peft import PeftModel\nfrom transformers import AutoModel\n\n"
            f'query_encoder = PeftModel.from_pretrained(AutoModel.from_pretrained({backbone}), "CHECKPOINT/query")'
        )
    return _QUERY_SIDE_USE.format(documents=documents.encoder, fingerprint=documents.fingerprint[:12], loading=loading)


def _interpolation_row(learnt: Interpolation | None) -> str:
    """What a re-ranker keeps of the first stage, and why."""
    if learnt is None:
        return ""
    return (
        f"| share of the first stage's score | {1 - learnt.weight:.2f}, which `rerank` keeps unless `--interpolate` "
        f"says otherwise; chosen on {learnt.queries} dev queries, re-ranking the first {learnt.depth} of "
        f"{learnt.first_stage} (tagged {learnt.tag}): {learnt.metric} {learnt.score:.4f}, of the first stage alone "
        f"{learnt.first_stage_score:.4f}, of the new score alone {learnt.bare_score:.4f} |\n"
    )
