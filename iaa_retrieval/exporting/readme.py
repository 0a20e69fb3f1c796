"""The README of an exported directory: what it is and how the tool that it is for loads it."""

from __future__ import annotations

from pathlib import Path

from iaa_retrieval.exporting.onnx_graph import GRAPH_FILE, output_name
from iaa_retrieval.exporting.self_contained import loads_with_peft_only
from iaa_retrieval.exporting.source import Source
from iaa_retrieval.exporting.stock_pyserini import stock_commands
from iaa_retrieval.models.architecture import encoder_alone
from iaa_retrieval.models.checkpoint import BACKBONE_DIRECTORY, EMBEDDED_BACKBONE
from iaa_retrieval.models.retriever_config import RetrieverConfig

_REGISTERS = "import iaa_retrieval  # makes the method known to PEFT\n"


def readme(source: Source, export_format: str, name: str, *, merged: bool) -> str:
    """Markdown for a directory in one of the verb's formats.

    Args:
        name: what the directory is called; paths in the text are relative to the folder that holds it.
        merged: whether there is no adapter in it any more.
    """
    config = source.config
    use = {
        "merged": _merged,
        "self-contained": _self_contained,
        "sentence-transformers": _sentence_transformers,
        "onnx": _onnx,
    }[export_format](source, name, merged)
    rows = {
        "kind": config.kind,
        "method": config.method,
        "backbone": _backbone(config, inside=not merged),
        "longest input": f"{source.max_length} tokens",
    }
    if not source.is_cross_encoder:
        rows["pooling"] = config.pooling + (", unit length" if config.normalize else "")
    if config.query_lead or config.document_lead:
        rows["put before the text"] = f"{config.query_lead!r} (queries), {config.document_lead!r} (passages)"
    table = "".join(f"| {key} | {value} |\n" for key, value in rows.items())
    return (
        f"---\npipeline_tag: {'text-ranking' if source.is_cross_encoder else 'feature-extraction'}\n---\n\n"
        f"# {config.method} {config.kind}, exported as {export_format}\n\n| | |\n|---|---|\n{table}\n"
        f"All settings are in `retriever.json`.\n\n## How to use it\n\n{use}"
    )


def _backbone(config: RetrieverConfig, *, inside: bool) -> str:
    """The backbone's name without the folders of the machine that it was on."""
    if config.backbone == EMBEDDED_BACKBONE:
        name = f"in `{BACKBONE_DIRECTORY}/`" if inside else "that of the self-contained checkpoint"
    else:
        name = Path(config.backbone).name if Path(config.backbone).is_absolute() else config.backbone
    return f"{name} (weights {config.backbone_fingerprint[:12]})"


def _python(code: str) -> str:
    return f"```python\n{code.strip()}\n```\n"


def _auto_class(source: Source) -> str:
    if source.is_cross_encoder:
        return "AutoModelForSequenceClassification"
    encoder = encoder_alone(source.network.config)
    return "AutoModel" if encoder is None else str(encoder.__name__)


def _ours(source: Source, name: str) -> str:
    verb = "rerank" if source.is_cross_encoder else "encode"
    return f"`python -m iaa_retrieval.{verb}` and every other command of iaa_retrieval takes `--encoder {name}`.\n"


def _merged(source: Source, name: str, merged: bool) -> str:
    auto = _auto_class(source)
    load = _python(
        f"from transformers import {auto}, AutoTokenizer\n\n"
        f'model, tokenizer = {auto}.from_pretrained("{name}"), AutoTokenizer.from_pretrained("{name}")\n'
    )
    if source.is_cross_encoder:
        return f"The logit is the score.\n\n{load}\n{_ours(source, name)}"
    note = (
        f"Stock Pyserini cuts a query at {source.max_length} tokens, iaa_retrieval at "
        f"{source.config.query_max_length}.\n\n"
        if source.config.query_max_length < source.max_length
        else ""
    )
    return (
        f"With stock Pyserini:\n\n```bash\n{stock_commands(source, name)}\n```\n\n{note}"
        f"With transformers (pooling is left to you):\n\n{load}\n{_ours(source, name)}"
    )


def _self_contained(source: Source, name: str, merged: bool) -> str:
    if merged:
        return _merged(source, name, merged)
    auto = _auto_class(source)
    labels = ", num_labels=1" if source.is_cross_encoder else ""
    adapters = [f"{name}/query", f"{name}/passage"] if source.config.separate_encoders else [name]
    backbone = f'{auto}.from_pretrained("{name}/{BACKBONE_DIRECTORY}"{labels})'
    code = _REGISTERS + f"from peft import PeftModel\nfrom transformers import {auto}\n\n"
    code += "".join(f'model = PeftModel.from_pretrained({backbone}, "{adapter}")\n' for adapter in adapters)
    text = f"{_ours(source, name)}\nWith PEFT:\n\n{_python(code)}"
    if loads_with_peft_only(source) or source.config.separate_encoders:
        return text
    return (
        f"{text}\nWith transformers, adapter included, wherever the directory is:\n\n"
        + _python(f'{_REGISTERS}from transformers import {auto}\n\nmodel = {auto}.from_pretrained("{name}")\n')
        + "\n`AutoPeftModel` looks for the backbone in the current directory; use one of the two above instead.\n"
    )


def _sentence_transformers(source: Source, name: str, merged: bool) -> str:
    first = "" if merged else _REGISTERS
    if source.is_cross_encoder:
        return _python(
            f"{first}from sentence_transformers import CrossEncoder\n\n"
            f'scores = CrossEncoder("{name}").predict([("a query", "a passage")])\n'
        )
    return _python(
        f"{first}from sentence_transformers import SentenceTransformer\n\n"
        f'model = SentenceTransformer("{name}")\n'
        'queries, passages = model.encode_query(["a query"]), model.encode_document(["a passage"])\n'
    )


def _onnx(source: Source, name: str, merged: bool) -> str:
    config = source.config
    query, passage = f"{config.query_lead}a query", f"{config.document_lead}a passage"
    texts = f"[{query!r}]" + (f", [{passage!r}]" if source.is_cross_encoder else "")
    return _python(
        "import onnxruntime\nfrom transformers import AutoTokenizer\n\n"
        f'tokenizer = AutoTokenizer.from_pretrained("{name}")\n'
        f'session = onnxruntime.InferenceSession("{name}/{GRAPH_FILE}")\n'
        f'inputs = dict(tokenizer({texts}, padding=True, truncation=True, return_tensors="np"))\n'
        f'{output_name(source)} = session.run(["{output_name(source)}"], inputs)[0]\n'
    )
