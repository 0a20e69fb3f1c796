"""What every export format is made of."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from iaa_retrieval.errors import IaaRetrievalError

if TYPE_CHECKING:
    from torch import Tensor

    from iaa_retrieval.exporting.source import Source

Run = Callable[[dict[str, "Tensor"]], "Tensor"]
"""Inputs by name, each [batch, tokens], to vectors [batch, d] or scores [batch]."""


class ExportFormat(ABC):
    """A form in which a checkpoint is written for another tool.

    Its module is imported for ``export --help``, and so leaves heavy imports to its methods.

    Attributes:
        name: what ``--format`` calls it.
        help: a phrase about it for ``export --help``.
        requires: packages that it needs beyond those that this package installs.
        requires_advice: what a user is told where one is missing, ``{package}`` standing for its name.
        cuts_vectors: whether what reads it keeps only so many numbers of a vector as the checkpoint says.
        holds_separate_encoders: whether it can hold a checkpoint with an encoder for queries and one for passages.
    """

    name: str
    help: str
    requires: ClassVar[tuple[str, ...]] = ()
    requires_advice: ClassVar[str] = "this format needs the package {package}; pip install {package}"
    holds_separate_encoders: ClassVar[bool] = False
    cuts_vectors: ClassVar[bool] = True

    def require_packages(self) -> None:
        """Refuse where a package is missing.

        Raises:
            IaaRetrievalError: names the package, and the command that installs it.
        """
        for package in self.requires:
            if importlib.util.find_spec(package) is None:
                raise IaaRetrievalError(self.requires_advice.format(package=package))

    @abstractmethod
    def write(self, source: Source, directory: Path) -> bool:
        """Fill an empty directory; ``source`` may be changed by it, and is not used again for its outputs.

        Returns:
            Whether there is no adapter in the directory.

        Raises:
            UsageError: a checkpoint that this format cannot hold; the message names formats that can.
        """

    @abstractmethod
    def read(self, directory: Path) -> Run:
        """What computes from the files of a written directory alone, to be compared with the model."""

    @abstractmethod
    def usage(self, source: Source, name: str, *, merged: bool) -> str:
        """Markdown for the directory's README: how the tool that it is for loads it.

        Args:
            name: what the directory is called; paths in the text are relative to the folder that holds it.
            merged: what ``write`` returned.
        """

    def advice(self, source: Source, output: str) -> str:
        """What the command line says at the end: commands that use ``output``, or a warning; empty for nothing."""
        return ""


class CheckpointFormat(ExportFormat):
    """A format whose directories are checkpoints (or plain encoders), which our own loader reads."""

    def read(self, directory: Path) -> Run:
        from iaa_retrieval.exporting.source import load_source

        return load_source(str(directory)).run
