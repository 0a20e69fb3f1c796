"""``python -m iaa_retrieval.export``: a checkpoint in the form that another tool loads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from iaa_retrieval.cli import Verb
from iaa_retrieval.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from iaa_retrieval.exporting.parity import Inputs
    from iaa_retrieval.exporting.source import Source

FORMATS = ("merged", "self-contained", "sentence-transformers", "onnx")
RECORD_FILE = "export.json"


@dataclass(frozen=True)
class ExportOptions:
    """One export of a checkpoint (or plain encoder) in one of `FORMATS` to a new directory."""

    checkpoint: str
    format: str
    output: str


@dataclass(frozen=True)
class Exported:
    """What an export was checked for, and what to do with it.

    Attributes:
        merged: whether there is no adapter in the output.
        max_abs_difference: largest difference between what was read back from the output and the model.
        advice: commands or a warning for the user; may be empty.
    """

    merged: bool
    max_abs_difference: float
    advice: str = ""


def export(options: ExportOptions) -> Exported:
    """Write ``options.output``, whole or not at all.

    Raises:
        UsageError: a format that the checkpoint's method does not have; the message names those that it has.
        IaaRetrievalError: the checkpoint cannot be loaded, the output directory is not empty, a package is missing,
            or the export does not compute what the model computes.
    """
    from iaa_retrieval.exporting.parity import Reference
    from iaa_retrieval.exporting.readme import readme
    from iaa_retrieval.exporting.source import load_source
    from iaa_retrieval.files import atomic_directory, write_json

    if options.format not in FORMATS:
        raise UsageError(f"unknown format {options.format!r}; one of {', '.join(FORMATS)}")
    output = Path(options.output)
    with atomic_directory(output) as directory:
        source = load_source(options.checkpoint)
        if source.config.separate_encoders and options.format != "self-contained":
            raise UsageError(
                f"{options.checkpoint} has separate query and passage encoders, and {options.format} holds one; "
                "use --format self-contained"
            )
        reference = Reference(source)
        merged = _write(source, options.format, directory)
        what = f"{options.checkpoint} exported as {options.format}"
        difference = reference.require_equal(what, _reader(options.format, directory))
        advice = _stock_advice(source, str(output)) if options.format == "merged" else ""
        exported = Exported(merged, difference, advice)
        text = readme(source, options.format, output.resolve().name, merged=merged)
        (directory / "README.md").write_text(text, encoding="utf-8")
        write_json(directory / RECORD_FILE, _record(source, options.format, exported))
    return exported


def _write(source: Source, export_format: str, directory: Path) -> bool:
    """Fill the directory, and return whether there is no adapter in it."""
    from iaa_retrieval.exporting.merged import write_merged
    from iaa_retrieval.exporting.onnx_graph import write_onnx
    from iaa_retrieval.exporting.self_contained import write_self_contained
    from iaa_retrieval.exporting.sentence_transformers_directory import write_sentence_transformers

    if export_format == "self-contained":
        return write_self_contained(source, directory)
    if export_format == "sentence-transformers":
        return write_sentence_transformers(source, directory)
    write = write_merged if export_format == "merged" else write_onnx
    write(source, directory)
    return True


def _reader(export_format: str, directory: Path) -> Callable[[Inputs], Tensor]:
    """What runs the files that were written: onnxruntime, or our own loader, for which the others are checkpoints."""
    from iaa_retrieval.exporting.onnx_graph import OnnxRunner
    from iaa_retrieval.exporting.source import load_source

    return OnnxRunner(directory).run if export_format == "onnx" else load_source(str(directory)).run


def _stock_advice(source: Source, output: str) -> str:
    from iaa_retrieval.exporting.stock_pyserini import misleading_part, stock_commands

    if source.is_cross_encoder:
        return ""
    advice = f"With stock Pyserini:\n{stock_commands(source, output)}"
    word = misleading_part(output)
    return advice if word is None else f"{advice}\nPyserini reads something else into {word!r} in a path; rename it."


def _record(source: Source, export_format: str, exported: Exported) -> dict[str, object]:
    from iaa_retrieval.exporting.parity import TOLERANCE, sample_shapes
    from iaa_retrieval.versions import library_versions

    return {
        "format": export_format,
        "kind": source.config.kind,
        "method": source.config.method,
        "exported_fingerprint": source.config.fingerprint,  # of what was exported, not of the export
        "adapter_inside": not exported.merged,
        "parity": {
            "max_abs_difference": exported.max_abs_difference,
            "tolerance": TOLERANCE,
            "batches": [f"{texts}x{tokens}" for texts, tokens in sample_shapes(source.max_length)],
        },
        "versions": library_versions(),
    }


@click.command(cls=Verb, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--checkpoint", required=True, help="What to export: a checkpoint, or a plain encoder.")
@click.option("--format", "export_format", required=True, type=click.Choice(FORMATS), help="See above.")
@click.option("--output", required=True, type=click.Path(file_okay=False), help="Directory to make.")
def main(checkpoint: str, export_format: str, output: str) -> None:
    """Write a checkpoint in the form that another tool loads.

    \b
    merged                 a plain Hugging Face model without an adapter, for stock Pyserini (--encoder-class auto)
                           and transformers; for methods that merge: full, bitfit, lora and most of PEFT's own
    self-contained         the checkpoint with its backbone inside, to be moved to another place or machine
    sentence-transformers  for SentenceTransformer(DIR) and CrossEncoder(DIR); merged where the method merges, else
                           after `import iaa_retrieval`
    onnx                   model.onnx from token ids to vectors or scores, any batch size and length, run by
                           onnxruntime; needs pip install 'iaa-retrieval[onnx]'

    What was written is read back and compared with the model, on batches of several sizes and lengths; above a
    difference of 1e-4 nothing is left.

    \b
    Example:
      python -m iaa_retrieval.export --checkpoint CHECKPOINT --format onnx --output exported
    """
    exported = export(ExportOptions(checkpoint, export_format, output))
    click.echo(f"{output}: {export_format}, largest difference to the model {exported.max_abs_difference:.1e}")
    if exported.advice:
        click.echo(exported.advice)


if __name__ == "__main__":
    main(prog_name="python -m iaa_retrieval.export")
