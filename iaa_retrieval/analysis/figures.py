"""What the figures of all instruments share: their look, one colour for each method, and how they are written.

Figures are drawn without pyplot and without the user's ``matplotlibrc``, and hold no date, so that the same data gives
the same bytes wherever the same matplotlib draws them.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from iaa_retrieval.files import atomic_file
from iaa_retrieval.tuning.methods import method_names

# Black for the first method of the registry (full fine-tuning), then Paul Tol's "muted" scheme, whose colours are told
# apart with any colour vision; a method keeps its colour in every figure.
_PALETTE = (
    "#000000",
    "#88ccee",
    "#ddcc77",
    "#332288",
    "#44aa99",
    "#117733",
    "#aa4499",
    "#cc6677",
    "#882255",
    "#999933",
)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
_LINES = ("-", "--", ":", "-.")
_SETTINGS = {
    "svg.hashsalt": "iaa_retrieval",
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "savefig.dpi": 150,
    "legend.frameon": False,
}


class Drawing(NamedTuple):
    """A finished figure, in both forms that are written."""

    png: bytes
    svg: bytes


class Table(NamedTuple):
    """Named columns; an empty cell is None."""

    header: tuple[str, ...]
    rows: Sequence[Sequence[str | float | int | None]]


@contextmanager
def new_figure(width: float, height: float) -> Iterator[Any]:
    """Yield an empty ``matplotlib.figure.Figure``; draw on it inside the block, and ``render`` it there.

    Args:
        width: in inches.
        height: in inches.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def render(figure: Any) -> Drawing:
    """The figure as PNG and SVG; the same figure gives the same bytes. Only inside ``new_figure``."""
    png, svg = io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None})
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return Drawing(png.getvalue(), svg.getvalue())


def legend_beside(figure: Any, axes: Any, title: str | None = None) -> None:
    """One legend of the labelled artists of ``axes``, to the right of all that is drawn."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside right upper", title=title, alignment="left")


def logarithmic_x(axes: Any, values: Sequence[float]) -> None:
    """Make the x axis logarithmic, over the whole decades that hold ``values`` (above 0); only these have labels."""
    from matplotlib.ticker import NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_minor_formatter(NullFormatter())
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    axes.set_xlim(10**low / 1.3, 10 ** max(high, low + 1) * 1.3)


def method_style(method: str, variant: int = 0) -> dict[str, Any]:
    """Colour, marker and kind of line of a method, as keyword arguments of ``Axes.plot``.

    Args:
        method: a name of the registry, or of a PEFT method; the former have a colour each.
        variant: number of the line among those of the method in one figure, which differ in the kind of line.
    """
    names = method_names()
    place = names.index(method) if method in names else crc32(method.encode())
    return {
        "color": _PALETTE[place % len(_PALETTE)],
        "marker": _MARKERS[place % len(_MARKERS)],
        "linestyle": _LINES[variant % len(_LINES)],
    }


def write_report(
    directory: str | Path,
    name: str,
    drawing: Drawing,
    data: Table,
    summary: str,
    tables: Mapping[str, Table] | None = None,
) -> tuple[Path, ...]:
    """Write ``NAME.png``, ``NAME.svg``, ``NAME.csv`` and ``NAME.txt`` into ``directory``, replacing older ones.

    Args:
        directory: made if it is missing.
        name: of the files, without a suffix.
        drawing: the figure.
        data: what the figure shows, in full precision.
        summary: the table and the notes for readers, as text.
        tables: further data, by what is put behind the name: ``NAME-KEY.csv``.

    Returns:
        The paths, in the order above.

    Raises:
        IaaRetrievalError: a file cannot be written; then none is replaced.
    """
    contents: dict[str, bytes] = {
        f"{name}.png": drawing.png,
        f"{name}.svg": drawing.svg,
        f"{name}.csv": csv_text(data).encode(),
        f"{name}.txt": (summary.rstrip("\n") + "\n").encode(),
        **{f"{name}-{key}.csv": csv_text(table).encode() for key, table in (tables or {}).items()},
    }
    paths = tuple(Path(directory) / file for file in contents)
    with ExitStack() as stack:
        streams = [stack.enter_context(atomic_file(path, "wb")) for path in paths]
        for stream, content in zip(streams, contents.values(), strict=True):
            stream.write(content)
    return paths


def csv_text(table: Table) -> str:
    """The table as CSV with a header, numbers in full precision, lines ended by a newline."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(table.header)
    writer.writerows(table.rows)
    return stream.getvalue()
