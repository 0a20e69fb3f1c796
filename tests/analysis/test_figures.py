"""Figures are written whole, the same bytes each time, with a colour for each method; tables are aligned."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from iaa_retrieval.aligned_columns import aligned
from iaa_retrieval.analysis.figures import (
    Drawing,
    Table,
    csv_text,
    legend_beside,
    method_style,
    new_figure,
    render,
    write_report,
)
from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.tuning.methods import method_names


def drawn() -> Drawing:
    with new_figure(4, 3) as figure:
        axes = figure.subplots()
        axes.plot([1, 2, 3], [0.1, 1 / 3, 0.2], label="a & b", **method_style("lora"))
        axes.set_xlabel("step")
        legend_beside(figure, axes)
        return render(figure)


def test_the_same_figure_has_the_same_bytes_whatever_the_user_has_set() -> None:
    import matplotlib

    first = drawn()
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9}):
        assert drawn() == first
        assert matplotlib.rcParams["font.size"] == 30
    assert first.png.startswith(b"\x89PNG") and b"</svg>" in first.svg
    assert b"<dc:date>" not in first.svg and b"Matplotlib" not in first.png


def test_every_method_has_its_colour_and_marker() -> None:
    styles = [method_style(name) for name in method_names()]
    assert len({style["color"] for style in styles}) == len({style["marker"] for style in styles}) == len(styles)
    assert {style["linestyle"] for style in styles} == {"-"}
    assert method_style("lora", 1)["linestyle"] != method_style("lora")["linestyle"]
    assert method_style("lora", 1)["color"] == method_style("lora")["color"]
    assert method_style("vera") == method_style("vera")  # one of PEFT's that the registry has not


def test_a_report_is_four_files_and_replaces_older_ones(tmp_path: Path) -> None:
    table = Table(("name", "value"), [("a,b", 1 / 3), ("c", None)])
    for summary in ("old", "new\n"):
        paths = write_report(tmp_path / "out", "curves", Drawing(b"png", b"svg"), table, summary)
    assert [path.name for path in paths] == ["curves.png", "curves.svg", "curves.csv", "curves.txt"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in paths)
    assert paths[3].read_text() == "new\n"
    rows = list(csv.reader(paths[2].open(newline="")))
    assert rows == [["name", "value"], ["a,b", "0.3333333333333333"], ["c", ""]]
    assert float(rows[1][1]) == 1 / 3
    assert csv_text(table).splitlines()[2] == "c,"


def test_where_one_file_cannot_be_written_none_is(tmp_path: Path) -> None:
    (tmp_path / "curves.txt").mkdir()
    with pytest.raises(IaaRetrievalError, match=r"curves\.txt: it is a directory"):
        write_report(tmp_path, "curves", Drawing(b"png", b"svg"), Table(("a",), []), "text")
    assert [path.name for path in tmp_path.iterdir()] == ["curves.txt"]


def test_columns_are_as_wide_as_what_they_hold() -> None:
    assert aligned([["run", "P"], ["long", "0.5"]]) == "run     P\nlong  0.5"
    assert aligned([["run", "P"], ["long", ""]]) == "run   P\nlong"
