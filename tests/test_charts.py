"""Charts that need nothing but the file they stand in."""

import io
import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from ofa_nas.charts import (
    BARS,
    CROSS,
    DARK,
    DIAMOND,
    LIGHT,
    PAGE,
    STAR,
    Chart,
    Rule,
    Series,
    Theme,
    draw_png,
    draw_svg,
)
from ofa_nas.charts.layout import BOTTOM, LEFT, RIGHT, TOP
from ofa_nas.charts.png import spell

SVG = "{http://www.w3.org/2000/svg}"
PLAIN = Chart("t", "x", "y", [Series("a < b", [0.0, 5.0, 10.0], [1.0, 2.0, 3.0])])
FULL = Chart(
    "all <kinds>",
    "x",
    "y",
    [
        Series("", [1.0, 2.0, 3.0], [1.0, 2.0, 3.0], values=[0.0, 1.0, 2.0], texts=["a\n<b>", "b", "c"]),
        Series("star", [2.0], [3.0], marker=STAR, colour="accent"),
        Series("diamond", [2.5], [1.5], [0.5], marker=DIAMOND),
        Series("cross", [1.5], [1.5], marker=CROSS),
        Series("line", [1.0, 3.0], [1.0, 3.0], is_line=True, is_dashed=True),
    ],
    rules=[Rule(2.8, "limit"), Rule(2.5, "goal", is_level=True)],
    values_title="memory",
)


def root_of(chart: Chart, theme: Theme = LIGHT) -> ET.Element:
    return ET.fromstring(draw_svg(chart, theme))


def test_points_lie_where_their_values_say() -> None:
    root = root_of(PLAIN)
    circles = [(float(one.get("cx", "")), float(one.get("cy", ""))) for one in root.iter(f"{SVG}circle")]
    (left, low), middle, (right, high) = circles[:3]  # the fourth is the legend's
    width, height = PLAIN.size
    assert LEFT < left < middle[0] < right < width - RIGHT
    assert TOP < high < middle[1] < low < height - BOTTOM
    assert list(middle) == pytest.approx([(left + right) / 2, (low + high) / 2], abs=0.1)
    assert "a < b" in [one.text for one in root.iter(f"{SVG}text")]


def test_ticks_stand_at_round_values_beside_the_points() -> None:
    root = root_of(replace(PLAIN, series=[Series("", [0.0, 100.0], [50.0, 70.0])]))
    texts = {one.text: one for one in root.iter(f"{SVG}text")}
    assert {"0", "20", "40", "60", "80", "100", "50", "55", "65", "70"} <= texts.keys()
    circles = list(root.iter(f"{SVG}circle"))
    assert float(texts["100"].get("x", "")) == pytest.approx(float(circles[1].get("cx", "")), abs=0.1)
    assert float(texts["70"].get("y", "")) - 4 == pytest.approx(float(circles[1].get("cy", "")), abs=0.1)


def test_errors_lines_limits_and_flat_data_are_drawn() -> None:
    drawn = draw_svg(
        Chart(
            "t",
            "x",
            "y",
            [
                Series("bars", [1.0, 1.0], [2.0, 2.0], [0.5, 0.5]),
                Series("line", [1.0], [2.0], is_line=True, is_dashed=True),
            ],
            rules=[Rule(1.2, "limit")],
        )
    )
    assert len(re.findall('opacity="0.35"', drawn)) == 2
    assert len(re.findall('stroke-dasharray="5 4"', drawn)) == 3  # line, its mark in the legend, limit
    assert "limit" in drawn
    assert "nan" not in drawn
    assert root_of(Chart("empty", "x", "y", [])).tag == f"{SVG}svg"


def test_a_bar_stands_on_zero_and_is_as_high_as_its_value() -> None:
    bars = Series("", [0.0, 1.0, 2.0], [1.0, 2.0, 4.0], marker=BARS, texts=["one", "two", "four"])
    names = [(0.0, "a"), (1.0, "b"), (2.0, "c")]
    root = root_of(Chart("t", "x", "y", [bars], x_ticks=names))
    boxes = [one for one in root.iter(f"{SVG}rect") if one.find(f"{SVG}title") is not None]
    heights = [float(one.get("height", "")) for one in boxes]
    bottoms = {round(float(one.get("y", "")) + height) for one, height in zip(boxes, heights, strict=True)}
    assert heights[1:] == pytest.approx([2 * heights[0], 4 * heights[0]], abs=0.2)
    assert bottoms == {Chart("", "", "", []).size[1] - BOTTOM}
    assert {"a", "b", "c"} <= {one.text for one in root.iter(f"{SVG}text")}


def test_what_a_point_tells_is_escaped_and_heard() -> None:
    titles = [one.text for one in root_of(FULL).iter(f"{SVG}title")]
    assert titles[0] == "all <kinds>"
    assert "a\n<b>" in titles


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.1 defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def contrast(first: str, second: str) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_colours_can_be_told_from_their_paper(theme: Theme) -> None:
    for text in (theme.ink, theme.faint, theme.limit):
        assert contrast(text, theme.paper) >= 4.5, text
    for point in (*theme.series, *theme.scale, theme.accent):
        assert contrast(point, theme.paper) >= 3.0, point


def test_a_page_has_a_variable_for_each_colour() -> None:
    drawn = draw_svg(FULL, PAGE)
    used = set(re.findall(r"var\((--[\w-]+)\)", drawn))
    assert {"--ink", "--faint", "--grid", "--accent", "--limit", "--series-2", "--scale-0"} <= used
    assert not re.search(r'="#[0-9a-f]{6}"', drawn)


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_a_png_shows_what_the_svg_shows(theme: Theme) -> None:
    image = Image.open(io.BytesIO(draw_png(FULL, theme, scale=1))).convert("RGB")
    assert image.size == FULL.size
    pixels = np.asarray(image).astype(int)
    root = root_of(FULL, theme)
    star = next(one for one in root.iter(f"{SVG}polygon") if one.get("fill") == theme.accent)
    corners = [tuple(map(float, pair.split(","))) for pair in star.get("points", "").split()]
    x, y = np.mean(corners, axis=0).round().astype(int)
    accent = [int(theme.accent[at : at + 2], 16) for at in (1, 3, 5)]
    assert np.abs(pixels[y, x] - accent).max() < 24
    paper = [int(theme.paper[at : at + 2], 16) for at in (1, 3, 5)]
    assert np.abs(pixels[2, 2] - paper).max() < 8
    title = pixels[8:24, LEFT : LEFT + 80]
    assert (np.abs(title - paper).max(axis=2) > 60).sum() > 60  # there are letters


def test_a_png_spells_what_its_font_lacks() -> None:
    assert spell("Größe ≤ 30 ms – 漢") == "Gro?e <= 30 ms - ?"
