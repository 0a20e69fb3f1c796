"""Export a checkpoint: write it in another tool's form, read that back, and compare it with the model."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from iaa_retrieval.errors import UsageError
from iaa_retrieval.exporting.formats import FORMATS, format_names, get_format
from iaa_retrieval.options import Checked, NamesOf, at_least, option

if TYPE_CHECKING:
    from iaa_retrieval.exporting.source import Source

LOG = logging.getLogger("iaa_retrieval")

RECORD_FILE = "export.json"


@dataclass(frozen=True)
class ExportOptions(Checked):
    """One export of a checkpoint (or plain encoder) in one of the registered formats to a new directory."""

    checkpoint: str = option(help="What to export: a checkpoint, or a plain encoder.")
    format: str = option(help="See above.", type=NamesOf(format_names))
    output: str = option(help="Directory to make.", type=click.Path(file_okay=False))
    truncate_dim: int | None = option(
        None,
        help="Of a bi-encoder: its vectors shall have so many numbers, the first ones.",
        default_text="all, or what the checkpoint says",
        type=click.IntRange(min=1),
        check=at_least(1),
    )


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
        UsageError: a format that there is not, or that the checkpoint's method does not have; the message names those
            that it has.
        IaaRetrievalError: the checkpoint cannot be loaded, the output directory is not empty, a package is missing,
            or the export does not compute what the model computes.
    """
    from iaa_retrieval.exporting.parity import Reference
    from iaa_retrieval.exporting.readme import interpolation_note, readme
    from iaa_retrieval.exporting.source import load_source
    from iaa_retrieval.files import atomic_directory, write_json

    chosen = get_format(options.format)
    output = Path(options.output)
    with atomic_directory(output) as directory:
        source = load_source(options.checkpoint, options.truncate_dim)
        if source.config.truncate_dim and not chosen.cuts_vectors:
            others = [name for name in FORMATS.names() if get_format(name).cuts_vectors]
            raise UsageError(
                f"the vectors of {options.checkpoint} are cut to {source.config.truncate_dim} numbers, and what reads "
                f"{chosen.name} would not cut them; use --format {' or '.join(others)}"
            )
        if source.config.separate_encoders and not chosen.holds_separate_encoders:
            others = [name for name in FORMATS.names() if get_format(name).holds_separate_encoders]
            raise UsageError(
                f"{options.checkpoint} has separate query and passage encoders, and {chosen.name} holds one; "
                f"use --format {' or '.join(others)}"
            )
        chosen.require_packages()
        reference = Reference(source)
        merged = chosen.write(source, directory)
        what = f"{options.checkpoint} exported as {chosen.name}"
        difference = reference.require_equal(what, chosen.read(directory))
        exported = Exported(merged, difference, chosen.advice(source, str(output)))
        text = readme(source, chosen, output.resolve().name, merged=merged)
        (directory / "README.md").write_text(text, encoding="utf-8")
        write_json(directory / RECORD_FILE, _record(source, chosen.name, exported))
    if note := interpolation_note(source.config):
        LOG.info("%s: %s", options.output, note)
    return exported


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
