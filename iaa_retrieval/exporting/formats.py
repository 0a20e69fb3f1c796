"""The export formats: those of this package, and those that others register.

A format from elsewhere is an object of a class below ``ExportFormat``. It is registered by
``register_format``, or found by the entry point group ``iaa_retrieval.exports``, in which an installed package
names it::

    [project.entry-points."iaa_retrieval.exports"]
    npz = "its_package.npz:FORMAT"
"""

from __future__ import annotations

from iaa_retrieval.exporting.base import ExportFormat
from iaa_retrieval.exporting.merged import MergedFormat
from iaa_retrieval.exporting.onnx import OnnxFormat
from iaa_retrieval.exporting.self_contained import SelfContainedFormat
from iaa_retrieval.exporting.sentence_transformers_directory import SentenceTransformersFormat
from iaa_retrieval.registry import Registry

FORMATS: Registry[ExportFormat] = Registry("format", "iaa_retrieval.exports")


def register_format(export_format: ExportFormat) -> ExportFormat:
    """Make a format known to ``--format``, ``export --help`` and ``export``.

    Args:
        export_format: an object of a class below ``ExportFormat``, under its ``name``.

    Returns:
        The format itself.

    Raises:
        ValueError: another one has its name.
    """
    return FORMATS.register(export_format)


def get_format(name: str) -> ExportFormat:
    """The format that ``--format`` calls ``name``.

    Raises:
        UsageError: there is none; the message lists those that there are.
    """
    return FORMATS.get(name)


def format_names() -> tuple[str, ...]:
    """What ``--format`` takes, in the order of ``export --help``."""
    return FORMATS.names()


for _format in (MergedFormat(), SelfContainedFormat(), SentenceTransformersFormat(), OnnxFormat()):
    register_format(_format)
