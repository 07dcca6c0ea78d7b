"""Figures are shown in people's units."""

import pytest

from ofa_nas.figures import (
    format_amount,
    format_bytes,
    format_count,
    format_ms,
    format_points,
    format_share,
    thin,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (7, "7"),
        (999, "999"),
        (1500, "1.5 k"),
        (999_400, "999 k"),
        (999_600, "1 M"),
        (41_516_000, "41.5 M"),
        (2.4e9, "2.4 G"),
        (2e12, "2000 G"),
    ],
)
def test_a_count_has_three_digits_and_a_prefix(value: float, text: str) -> None:
    assert format_count(value) == text
    assert format_amount(value, "MACs") == f"{text} MACs"


def test_figures_have_units() -> None:
    assert [format_bytes(value) for value in (7, 1500, 6_020_000)] == ["7 B", "1.5 kB", "6.02 MB"]
    assert format_amount(7_950_000.0, "bytes") == "7.95 MB"
    assert [format_ms(value) for value in (28.44, 284.4, 1500.0)] == ["28.4 ms", "284 ms", "1.5 s"]
    assert format_amount(28.44, "ms") == "28.4 ms"
    assert format_amount(28.41, "ms", up=True) == "28.5 ms"
    assert format_amount(float("inf"), "ms") == "no limit"
    assert format_share(0.1044) == "10.4 %"
    assert format_points(-0.003, digits=2) == "-0.30 points"


def test_many_are_thinned_evenly_with_their_ends_and_what_is_kept() -> None:
    assert thin(range(101), 11, is_kept=lambda one: one == 7) == [0, 7, *range(10, 101, 10)]
    assert thin([3, 1], 11, is_kept=lambda one: one == 7) == [3, 1]
