"""Figures of how methods learnt, one for each table: an SVG, with its data as CSV beside it.

The SVG names the hash of the CSV that it was drawn from. So a page can be checked without drawing anything, and another
version of matplotlib, which draws other bytes, makes no figure stale.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from iaa_retrieval.analysis.convergence import Convergence, curves_table, draw_convergence
from iaa_retrieval.analysis.figures import csv_text
from iaa_retrieval.files import atomic_file
from iaa_retrieval.reproduction.claims.cases import Case, one_per_table
from iaa_retrieval.reproduction.claims.convergence import learning_of


class Figure(NamedTuple):
    """A figure that can be drawn.

    Attributes:
        name: of its files, without a suffix.
        directory: where they are.
        data: the CSV.
    """

    name: str
    directory: Path
    caption: str
    data: str
    learning: Convergence

    @property
    def data_file(self) -> Path:
        """Where the CSV is."""
        return self.directory / f"{self.name}.csv"

    @property
    def drawing_file(self) -> Path:
        """Where the SVG is."""
        return self.directory / f"{self.name}.svg"

    @property
    def is_drawn(self) -> bool:
        """Whether the SVG was drawn from this data."""
        return self.drawing_file.is_file() and self.drawing_file.read_bytes().endswith(self._mark)

    def draw(self) -> None:
        """Write the SVG."""
        svg = draw_convergence(self.learning).svg
        with atomic_file(self.drawing_file, "wb") as stream:
            stream.write(svg.rstrip(b"\n") + self._mark)

    @property
    def _mark(self) -> bytes:
        return f"\n<!-- data: sha256 {hashlib.sha256(self.data.encode()).hexdigest()} -->\n".encode()


def convergence_figures(cases: Sequence[Case]) -> list[Figure]:
    """One for each table of which trainings are kept, at the budget with the most of them."""
    figures = []
    for case in one_per_table(cases):
        learning = learning_of(case, case.measured())
        if learning is not None:
            figures.append(
                Figure(
                    name=f"{case.reproduction.name}-{case.stage}-convergence",
                    directory=case.reproduction.directory / "figures",
                    caption=_caption(case, learning),
                    data=csv_text(curves_table(learning)),
                    learning=learning,
                )
            )
    return figures


def _caption(case: Case, learning: Convergence) -> str:
    several = any(len(one.group.runs) > 1 for one in learning.groups)
    band = "; bands are the standard deviation over seeds" if several else ""
    return (
        f"{case.table}, {case.budget} and full fine-tuning: loss as logged, smoothed, and dev {learning.metric}{band}."
    )
