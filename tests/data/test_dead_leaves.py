"""Dead leaves keep the published law: radii, shapes, places, colours, and where it stops."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import stats

from ofa_nas.data.generators.dead_leaves import (
    LARGEST_RADIUS,
    MODES,
    MOST_SHAPES,
    RADII,
    SHAPES,
    SMALLEST_RADIUS,
    Leaves,
    draw_leaves,
    draw_radii,
    paint,
    put,
)

SIZE_PX = 512
# Mean share that a shape takes of the circle's square radius. Of a rectangle 4 cos a sin a, a uniform in a
# quarter; of a polygon with n random corners n / 2 times the mean sine of a gap, whose share of the circle is
# Beta(1, n − 1): 3 / (2 π) for three and 3 / π for four.
SHARES = {
    "circle": np.pi,
    "square": 2.0,
    "oriented-square": 2.0,
    "rectangle": 4.0 / np.pi,
    "triangle": 1.5 / np.pi,
    "quadrilateral": 3.0 / np.pi,
}


def drawn(leaves: Leaves, size_px: int = SIZE_PX) -> NDArray[np.int32]:
    canvas = Image.new("I", (size_px, size_px))
    put(canvas, leaves, below=0)
    return np.asarray(canvas)


def test_radii_follow_the_closed_density() -> None:
    count = 200_000
    found = draw_radii(count, np.random.default_rng(1))
    radii = np.linspace(SMALLEST_RADIUS, LARGEST_RADIUS, RADII)
    density = 1.0 / radii**3 - 1.0
    share = density / density.sum()
    # The nearest place in the cumulated density takes half of its own step and half of the next one.
    expected = share / 2.0 + np.append(share[1:], 0.0) / 2.0
    expected[0] += share[0] / 2.0
    observed = np.bincount(np.searchsorted(radii, found - 1e-9), minlength=RADII)
    assert expected.sum() == pytest.approx(1.0)
    bins = np.minimum(np.arange(RADII), 80)  # the tail together
    wanted = np.bincount(bins, expected) * count
    assert stats.chisquare(np.bincount(bins, observed), wanted).pvalue > 0.01
    assert found.max() < LARGEST_RADIUS


def test_a_wrong_density_would_be_found() -> None:
    found = draw_radii(20_000, np.random.default_rng(1))
    # A density of 1/r² would have its median at another place than 1/r³ − 1.
    radii = np.linspace(SMALLEST_RADIUS, LARGEST_RADIUS, RADII)
    for power, is_right in ((2.0, False), (3.0, True)):
        cumulated = np.cumsum(radii**-power - 1.0)
        share = float(np.mean(found <= 0.1))
        expected = float(np.interp(0.1, radii, cumulated / cumulated[-1]))
        assert (abs(share - expected) < 0.02) == is_right


@pytest.mark.parametrize("shape", SHAPES)
def test_the_area_of_a_shape_is_that_of_its_closed_form(shape: str) -> None:
    rng = np.random.default_rng(3)
    leaves = draw_leaves(4000, 4096, mode=shape, rng=rng)
    large = np.flatnonzero((leaves.radii > 180) & (leaves.radii < 500))[:150]
    ratios = []
    for index in large:
        corners = leaves.corners[index : index + 1]
        centred = corners - corners.min(axis=1, keepdims=True)
        one = Leaves(leaves.shapes[[index]], leaves.radii[[index]], centred, leaves.colors[[index]])
        ratios.append((drawn(one, 1024) > 0).sum() / leaves.radii[index] ** 2)
    assert len(ratios) > 50
    error = 4.0 * np.std(ratios) / len(ratios) ** 0.5
    assert np.mean(ratios) == pytest.approx(SHARES[shape], abs=error + 0.03)  # the boundary counts, too


def test_a_circle_of_one_pixel_is_a_cross_and_such_a_square_a_point() -> None:
    for shape, pixels in (("circle", 5), ("square", 1)):
        leaves = draw_leaves(2000, 16, mode=shape, rng=np.random.default_rng(0))
        inside = (leaves.corners > 1).all(axis=(1, 2)) & (leaves.corners < 14).all(axis=(1, 2))
        index = int(np.flatnonzero(inside & (leaves.radii == 1))[0])
        one = Leaves(*(getattr(leaves, name)[[index]] for name in ("shapes", "radii", "corners", "colors")))
        assert (drawn(one, 16) > 0).sum() == pixels


def test_shapes_centres_and_colors_are_uniform() -> None:
    leaves = draw_leaves(60_000, 100, mode="mixed", rng=np.random.default_rng(5))
    assert stats.chisquare(np.bincount(leaves.shapes, minlength=len(SHAPES))).pvalue > 0.01
    circles = leaves.shapes == SHAPES.index("circle")
    centres = (leaves.corners[circles, 0] + leaves.corners[circles, 2]) // 2
    assert stats.chisquare(np.bincount(centres.ravel(), minlength=100)).pvalue > 0.01
    assert stats.chisquare(np.bincount(leaves.colors.ravel(), minlength=255)).pvalue > 0.01
    assert leaves.colors.max() == 254  # a number below 1 times 255, cut


@pytest.mark.parametrize("mode", MODES)
def test_the_ground_is_covered_and_shapes_lie_on_top_to_the_last(mode: str) -> None:
    size_px = 24
    pixels = paint(size_px, mode=mode, rng=np.random.default_rng(8))
    assert pixels.shape == (size_px, size_px, 3)
    rng = np.random.default_rng(8)
    plain = np.zeros((size_px, size_px), dtype=np.int64)
    colors = [np.zeros(3, dtype=np.uint8)]
    blocks = iter(lambda: draw_leaves(64, size_px, mode=mode, rng=rng), None)
    singles = (
        Leaves(block.shapes[[i]], block.radii[[i]], block.corners[[i]], block.colors[[i]])
        for block in blocks
        for i in range(64)
    )
    for number, leaf in enumerate(singles, 1):
        plain[drawn(leaf, size_px) > 0] = number
        colors.append(leaf.colors[0])
        if plain.all() or number == MOST_SHAPES:
            break
    assert plain.all()
    assert np.array_equal(pixels, np.array(colors)[plain])


def test_what_is_never_covered_stays_black(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ofa_nas.data.generators.dead_leaves.MOST_SHAPES", 3)
    pixels = paint(64, mode="triangle", rng=np.random.default_rng(0))
    assert 1 < len(np.unique(pixels.reshape(-1, 3), axis=0)) <= 4
    assert (pixels == 0).all(axis=2).any()
