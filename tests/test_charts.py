"""Charts that need nothing but the file they stand in."""

import re
from xml.etree import ElementTree as ET

import pytest

from ofa_nas.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Series, draw_chart

SVG = "{http://www.w3.org/2000/svg}"


def test_points_lie_where_their_values_say() -> None:
    root = ET.fromstring(draw_chart("t", "x", "y", [Series("a < b", [0.0, 5.0, 10.0], [1.0, 2.0, 3.0])]))
    circles = [(float(one.get("cx", "")), float(one.get("cy", ""))) for one in root.iter(f"{SVG}circle")]
    (left, low), middle, (right, high) = circles
    assert LEFT < left < middle[0] < right < WIDTH - RIGHT
    assert TOP < high < middle[1] < low < HEIGHT - BOTTOM
    assert list(middle) == pytest.approx([(left + right) / 2, (low + high) / 2], abs=0.1)
    assert "a < b" in [one.text for one in root.iter(f"{SVG}text")]


def test_ticks_stand_at_round_values_beside_the_points() -> None:
    root = ET.fromstring(draw_chart("t", "x", "y", [Series("", [0.0, 100.0], [50.0, 70.0])]))
    texts = {one.text: one for one in root.iter(f"{SVG}text")}
    assert {"0", "20", "40", "60", "80", "100", "50", "55", "65", "70"} <= texts.keys()
    circles = list(root.iter(f"{SVG}circle"))
    assert float(texts["100"].get("x", "")) == pytest.approx(float(circles[1].get("cx", "")), abs=0.1)
    assert float(texts["70"].get("y", "")) - 4 == pytest.approx(float(circles[1].get("cy", "")), abs=0.1)


def test_bars_lines_and_flat_data_are_drawn() -> None:
    drawn = draw_chart(
        "t",
        "x",
        "y",
        [
            Series("bars", [1.0, 1.0], [2.0, 2.0], [0.5, 0.5]),
            Series("line", [1.0], [2.0], is_line=True, is_dashed=True),
        ],
    )
    assert len(re.findall('opacity="0.35"', drawn)) == 2
    assert 'stroke-dasharray="5 4"' in drawn
    assert "nan" not in drawn
    assert ET.fromstring(draw_chart("empty", "x", "y", [])).tag == f"{SVG}svg"
