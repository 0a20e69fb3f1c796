import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from iaa_retrieval.reproduction.pages.charts import (
    BOTTOM,
    HEIGHT,
    LABEL_GAP,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Curve,
    Level,
    Point,
    curve_chart,
    parameter_chart,
    split_levels,
)


def numbers(chart: str, pattern: str) -> list[tuple[float, ...]]:
    return [tuple(map(float, found)) for found in re.findall(pattern, chart)]


def test_points_are_placed_on_a_logarithmic_scale_and_higher_is_better() -> None:
    points = [Point("a", "baseline", 1e5, 0.3), Point("b", "subject", 1e6, 0.4), Point("c", "full", 1e7, 0.5)]
    (x1, y1), (x2, y2), (x3, y3) = numbers(parameter_chart(points, [], "MRR"), r'cx="([\d.]+)" cy="([\d.]+)"')
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.2)
    assert y1 > y2 > y3
    assert y1 - y2 == pytest.approx(y2 - y3, abs=0.2)
    assert x1 >= LEFT and x3 <= WIDTH - RIGHT and y3 >= TOP and y1 <= HEIGHT - BOTTOM


def test_labels_of_equal_points_do_not_overlap() -> None:
    points = [Point(f"m{number}", "baseline", 589_824, 0.3) for number in range(9)] + [Point("x", "subject", 6e5, 0.9)]
    labels = numbers(parameter_chart(points, [], "MRR"), r'class="label \w+" x="([\d.]+)" y="([\d.]+)"')
    heights = sorted(y for _, y in labels)
    assert len(heights) == 10
    assert all(below - above >= LABEL_GAP - 0.11 for above, below in pairwise(heights))
    assert heights[0] > TOP and heights[-1] <= HEIGHT - BOTTOM + 4


def test_far_levels_are_left_out() -> None:
    points = [Point("a", "subject", 1e5, 0.60), Point("b", "subject", 1e6, 0.64)]
    near, far = split_levels(points, [Level("near", 0.585), Level("low", 0.5), Level("high", 0.7)])
    assert [level.label for level in near] == ["near"]
    assert [level.label for level in far] == ["low", "high"]
    assert "near" in parameter_chart(points, near, "MRR")


def test_equal_values_do_not_divide_by_zero() -> None:
    assert "<svg" in parameter_chart([Point("a", "subject", 1e5, 0.5)], [], "MRR")
    assert "<svg" in curve_chart([Curve("a", "subject", [(1, 0.5), (2, 0.5)])], "loss")


def test_curves() -> None:
    chart = curve_chart(
        [Curve("a <b>", "subject", [(0, 1.0), (10, 0.5)]), Curve("c", "full", [(0, 2.0), (5, 1.0)])], "loss"
    )
    first, second = re.findall(r'points="([^"]+)"', chart)
    assert len(first.split()) == len(second.split()) == 2
    assert "a &lt;b&gt;" in chart and "<b>" not in chart


def test_what_a_chart_shows_is_text_and_never_markup() -> None:
    name = """<script>alert('&')</script>" x="0"""
    points = [Point(name, "subject", x, y) for x, y in ((1e5, 0.3), (1e6, 0.4))]
    charts = (
        parameter_chart(points, [Level(name, 0.35)], name),
        curve_chart([Curve(name, "subject", [(0, 1), (1, 2)])], name),
    )
    for chart, texts in zip(charts, (6, 3), strict=True):
        root = ElementTree.fromstring(chart)
        shown = [element.text or "" for element in root.iter() if element.text]
        assert len([text for text in shown if text.startswith(name)]) == texts  # labels, hover texts, the axis
        assert root.attrib["aria-label"].startswith(f"{name} ")
        assert {element.tag for element in root.iter()} <= {"svg", "line", "text", "g", "circle", "polyline", "title"}
        assert {"x", "y"} >= {key for element in root.iter("text") for key in element.attrib} - {"class", "text-anchor"}
