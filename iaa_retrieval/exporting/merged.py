"""A plain Hugging Face directory: the adapter folded into the backbone's weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from iaa_retrieval.errors import UsageError
from iaa_retrieval.exporting.source import Source


class NotMergeableError(Exception):
    """The method's adapter has no equal among the backbone's weights."""


def write_merged(source: Source, directory: Path) -> None:
    """Write config, weights and tokenizer as ``AutoModel`` (or ``AutoModelForSequenceClassification``) reads them;
    of T5 and its like, as the class of the encoder does.

    Raises:
        UsageError: the method cannot be merged, or there is nothing to merge.
    """
    if source.is_untuned:
        raise UsageError(f"{source.name} is an untuned encoder, and plain already; there is nothing to merge")
    try:
        merge(source)
    except NotMergeableError as error:
        raise UsageError(
            f"method {source.config.method} cannot be merged into the backbone's weights; "
            "use --format self-contained, sentence-transformers or onnx"
        ) from error
    write_network(source, directory)


def merge(source: Source) -> None:
    """Fold the adapter into the weights, in place; a network without one stays as it is.

    Raises:
        NotMergeableError: the source's network must not be used any more.
    """
    from peft import PeftModel

    from iaa_retrieval.tuning.merging import merge_into_backbone

    if not isinstance(source.network, PeftModel):
        return
    try:
        source.network = merge_into_backbone(source.network).eval()
    except (NotImplementedError, ValueError) as error:
        raise NotMergeableError(str(error)) from error


def write_network(source: Source, directory: Path) -> None:
    """Write a network without an adapter, its tokenizer and a ``retriever.json`` that our own tools read."""
    source.network.save_pretrained(directory)
    source.save_tokenizer(directory)
    replace(source.config, fingerprint=source.fingerprint_of(directory)).save(directory)
