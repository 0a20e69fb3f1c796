"""The README of an exported directory: what it is and, in its format's words, how it is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from iaa_retrieval.exporting.base import ExportFormat

if TYPE_CHECKING:
    from iaa_retrieval.exporting.source import Source
    from iaa_retrieval.models.retriever_config import RetrieverConfig

REGISTERS = "import iaa_retrieval  # makes the method known to PEFT\n"


def readme(source: Source, export_format: ExportFormat, name: str, *, merged: bool) -> str:
    """Markdown for a directory in one of the verb's formats.

    Args:
        name: what the directory is called; paths in the text are relative to the folder that holds it.
        merged: whether there is no adapter in it any more.
    """
    config = source.config
    rows = {
        "kind": config.kind,
        "method": config.method,
        "backbone": _backbone(config, inside=not merged),
        "longest input": f"{source.max_length} tokens",
    }
    if not source.model.reads_pairs:
        rows["pooling"] = config.pooling + (", unit length" if config.normalize else "")
    else:
        rows["head"] = config.head
        if config.pair_template:
            rows["pair"] = f"`{config.pair_template!r}`".replace("|", "&#124;")
    if config.query_lead or config.document_lead:
        rows["put before the text"] = f"{config.query_lead!r} (queries), {config.document_lead!r} (passages)"
    if config.query_suffix or config.document_suffix:
        rows["put after the text"] = f"{config.query_suffix!r} (queries), {config.document_suffix!r} (passages)"
    if config.append_token:
        rows["every text ends with"] = f"{config.append_token!r}, which the tokenizer in here appends"
    table = "".join(f"| {key} | {value} |\n" for key, value in rows.items())
    return (
        f"---\npipeline_tag: {source.model.pipeline_tag}\n---\n\n"
        f"# {config.method} {config.kind}, exported as {export_format.name}\n\n| | |\n|---|---|\n{table}\n"
        f"All settings are in `retriever.json`.\n{_with_blank_line(interpolation_note(config))}\n## How to use it\n\n"
        + export_format.usage(source, name, merged=merged)
    )


def interpolation_note(config: RetrieverConfig) -> str:
    """That other tools than ours give a re-ranker's bare score; empty where that is all there is to give."""
    learnt = config.interpolation
    if learnt is None or learnt.weight == 1:
        return ""
    return (
        f"{learnt.weight:.2f} of this score and {1 - learnt.weight:.2f} of the first stage's, each scaled to [0, 1] "
        "per query, ranked the dev queries best. iaa_retrieval reads that in retriever.json and does it; other tools "
        "know nothing of it and give the bare score."
    )


def _with_blank_line(text: str) -> str:
    return f"\n{text}\n" if text else ""


def python_block(code: str) -> str:
    """Code as a Markdown block."""
    return f"```python\n{code.strip()}\n```\n"


def auto_class(source: Source) -> str:
    """The class of transformers that loads the network."""
    from iaa_retrieval.models.architecture import encoder_alone

    encoder = None if source.model.has_task_head else encoder_alone(source.network.config)
    return str((encoder or source.model.auto_class()).__name__)


def our_commands(source: Source, name: str) -> str:
    """The sentence about our own verbs, for a directory that they read."""
    verb = "rerank" if source.model.reads_pairs else "encode"
    return f"`python -m iaa_retrieval.{verb}` and every other command of iaa_retrieval takes `--encoder {name}`.\n"


def _backbone(config: RetrieverConfig, *, inside: bool) -> str:
    """The backbone's name without the folders of the machine that it was on."""
    from iaa_retrieval.models.checkpoint import BACKBONE_DIRECTORY, EMBEDDED_BACKBONE

    if config.backbone == EMBEDDED_BACKBONE:
        name = f"in `{BACKBONE_DIRECTORY}/`" if inside else "that of the self-contained checkpoint"
    else:
        name = Path(config.backbone).name if Path(config.backbone).is_absolute() else config.backbone
    return f"{name} (weights {config.backbone_fingerprint[:12]})"
