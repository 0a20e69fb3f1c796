"""A plain Hugging Face directory: the adapter folded into the backbone's weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from iaa_retrieval.errors import UsageError
from iaa_retrieval.exporting.base import CheckpointFormat
from iaa_retrieval.exporting.readme import auto_class, our_commands, python_block
from iaa_retrieval.tuning.methods import mergeable_names

if TYPE_CHECKING:
    from iaa_retrieval.exporting.source import Source


class NotMergeableError(Exception):
    """The method's adapter has no equal among the backbone's weights."""


class MergedFormat(CheckpointFormat):
    """Config, weights and tokenizer as ``AutoModel`` (or ``AutoModelForSequenceClassification``) reads them; of T5
    and its like, as the class of the encoder does.
    """

    name = "merged"
    cuts_vectors = False

    @property
    def help(self) -> str:  # type: ignore[override]
        """A phrase about it, with the methods that there are when it is asked for."""
        return (
            "a plain Hugging Face model without an adapter, for stock Pyserini (--encoder-class auto) and "
            f"transformers; for methods that merge: {', '.join(mergeable_names())} and most of PEFT's own"
        )

    def write(self, source: Source, directory: Path) -> bool:
        """Write the merged network.

        Raises:
            UsageError: the method cannot be merged, or there is nothing to merge.
        """
        if source.config.is_untuned:
            raise UsageError(f"{source.name} is an untuned encoder, and plain already; there is nothing to merge")
        try:
            merge(source)
        except NotMergeableError as error:
            raise UsageError(
                f"method {source.config.method} cannot be merged into the backbone's weights; "
                "use --format self-contained, sentence-transformers or onnx"
            ) from error
        write_network(source, directory)
        return True

    def usage(self, source: Source, name: str, *, merged: bool) -> str:
        return plain_usage(source, name)

    def advice(self, source: Source, output: str) -> str:
        """The commands of stock Pyserini, which has no place for a cross-encoder."""
        from iaa_retrieval.exporting.stock_pyserini import misleading_part, stock_commands

        if source.model.reads_pairs:
            return ""
        advice = f"With stock Pyserini:\n{stock_commands(source, output)}"
        word = misleading_part(output)
        if word is not None:
            advice += f"\nPyserini reads something else into {word!r} in a path; rename it."
        return advice


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


def plain_usage(source: Source, name: str) -> str:
    """Markdown: how a directory without an adapter is loaded."""
    from iaa_retrieval.exporting.stock_pyserini import stock_commands

    if not source.is_stock_network:
        return (
            f"Only iaa_retrieval computes its scores: transformers has no head `{source.config.head}`.\n\n"
            f"{our_commands(source, name)}"
        )
    auto = auto_class(source)
    load = python_block(
        f"from transformers import {auto}, AutoTokenizer\n\n"
        f'model, tokenizer = {auto}.from_pretrained("{name}"), AutoTokenizer.from_pretrained("{name}")\n'
    )
    if source.model.reads_pairs:
        text = f" of one text, `{source.config.pair_template!r}`" if source.config.pair_template else ""
        return f"The logit is the score{text}.\n\n{load}\n{our_commands(source, name)}"
    note = (
        f"Stock Pyserini cuts a query at {source.max_length} tokens, iaa_retrieval at "
        f"{source.config.query_max_length}.\n\n"
        if source.config.query_max_length < source.max_length
        else ""
    )
    return (
        f"With stock Pyserini:\n\n```bash\n{stock_commands(source, name)}\n```\n\n{note}"
        f"With transformers (pooling is left to you):\n\n{load}\n{our_commands(source, name)}"
    )
