"""Figures of how methods learnt and of the rates they tried: an SVG each, with its data as CSV beside it.

The SVG names the hash of the CSV that it was drawn from. So a page can be checked without drawing anything, and another
version of matplotlib, which draws other bytes, makes no figure stale.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from iaa_retrieval.analysis.convergence import curves_table, draw_convergence
from iaa_retrieval.analysis.figures import Drawing, csv_text
from iaa_retrieval.analysis.rates import draw_rates, trials_table
from iaa_retrieval.files import atomic_file
from iaa_retrieval.reproduction.claims.cases import Case, one_per_table
from iaa_retrieval.reproduction.claims.convergence import learning_of
from iaa_retrieval.reproduction.claims.rates import rates_of


class Figure(NamedTuple):
    """A figure that can be drawn.

    Attributes:
        name: of its files, without a suffix.
        directory: where they are.
        data: the CSV.
        drawing: draws it.
    """

    name: str
    directory: Path
    caption: str
    data: str
    drawing: Callable[[], Drawing]

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
        with atomic_file(self.drawing_file, "wb") as stream:
            stream.write(self.drawing().svg.rstrip(b"\n") + self._mark)

    @property
    def _mark(self) -> bytes:
        return f"\n<!-- data: sha256 {hashlib.sha256(self.data.encode()).hexdigest()} -->\n".encode()


def claim_figures(cases: Sequence[Case]) -> list[Figure]:
    """Those of each table, at the budget with the most rows, for which there is data."""
    figures = [figure for case in one_per_table(cases) for figure in (_convergence(case), _rates(case))]
    return [figure for figure in figures if figure is not None]


def _convergence(case: Case) -> Figure | None:
    learning = learning_of(case, case.measured())
    if learning is None:
        return None
    several = any(len(one.group.runs) > 1 for one in learning.groups)
    band = "; bands are the standard deviation over seeds" if several else ""
    what = f"training loss as logged, smoothed, and dev {learning.metric}{band}"
    return _figure(case, "convergence", what, csv_text(curves_table(learning)), lambda: draw_convergence(learning))


def _rates(case: Case) -> Figure | None:
    found = rates_of(case)
    if found is None:
        return None
    what = f"dev {found.metric} by learning rate"
    return _figure(case, "rates", what, csv_text(trials_table(found)), lambda: draw_rates(found))


def _figure(case: Case, kind: str, what: str, data: str, drawing: Callable[[], Drawing]) -> Figure:
    return Figure(
        name=f"{case.reproduction.name}-{case.stage}-{kind}",
        directory=case.reproduction.directory / "figures",
        caption=f"{case.table}, {case.budget} and full fine-tuning: {what}.",
        data=data,
        drawing=drawing,
    )
