"""Dead leaves: shapes of random size, place and colour, one on top of the other, until nothing shows through.

Source: Baradad et al. 2021, arXiv:2106.05963; constants and roundings as in the code published with it.
Single images differ from its images, because random numbers come from another generator; their law does not.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ofa_nas.arrays import Floats

SHAPES = ("circle", "square", "oriented-square", "rectangle", "triangle", "quadrilateral")
MODES = ("mixed", *SHAPES)
MOST_SHAPES = 5000
SMALLEST_RADIUS, LARGEST_RADIUS, RADII = 0.03, 1.0, 200  # in sides of the image; how many between them
_SIGMA = 3.0
_BLOCK = 64  # shapes that are drawn before one looks whether the ground still shows
_SIGNS = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])  # of a box's corners


@dataclass(frozen=True, slots=True)
class Leaves:
    """Shapes in whole pixels, the undermost first.

    Attributes:
        shapes: `(n,)` int64, indices into `SHAPES`.
        radii: `(n,)` int64: of the circle that a shape is, or that its corners lie on before they are cut.
        corners: `(n, 4, 2)` int64, columns and rows; of a circle those of the box around it, and of a
            triangle the last one twice.
        colors: `(n, 3)` uint8.
    """

    shapes: NDArray[np.int64]
    radii: NDArray[np.int64]
    corners: NDArray[np.int64]
    colors: NDArray[np.uint8]


def paint(size_px: int, *, mode: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw one image, `(size_px, size_px, 3)` uint8; what `MOST_SHAPES` shapes leave uncovered is black."""
    canvas = Image.new("I", (size_px, size_px))  # the number of the shape on top, from 1; 0 is the ground
    colors = [np.zeros((1, 3), dtype=np.uint8)]
    count, is_covered = 0, False
    while not is_covered and count < MOST_SHAPES:
        leaves = draw_leaves(min(_BLOCK, MOST_SHAPES - count), size_px, mode=mode, rng=rng)
        before = canvas.copy()
        put(canvas, leaves, below=count)
        is_covered = _is_covered(canvas)
        if is_covered:  # one of these was the last
            canvas = before
            put(canvas, leaves, below=count, until_covered=True)
        colors.append(leaves.colors)
        count += len(leaves.shapes)
    image: NDArray[np.uint8] = np.concatenate(colors)[np.asarray(canvas)]
    return image


def draw_leaves(count: int, size_px: int, *, mode: str, rng: np.random.Generator) -> Leaves:
    """Draw the next `count` shapes of an image from its source of randomness."""
    kinds = [SHAPES.index(shape) for shape in (SHAPES if mode == "mixed" else (mode,))]
    shapes = np.array(kinds)[rng.integers(len(kinds), size=count)]
    radii = np.maximum((draw_radii(count, rng) * size_px).astype(np.int64), 1)
    centres = (rng.random((count, 2)) * size_px).astype(np.int64)
    colors = (rng.random((count, 3)) * 255.0).astype(np.uint8)
    angles = rng.random((count, 4)) * (2.0 * np.pi)
    offsets = _offsets(shapes, radii[:, None].astype(np.float64), angles)
    return Leaves(shapes, radii, (centres[:, None] + offsets).astype(np.int64), colors)


def draw_radii(count: int, rng: np.random.Generator) -> Floats:
    """Draw radii `(count,)` in sides of the image; their density falls as 1/r³ − 1/rmax³.

    They are the nearest of 200 values on the inverse of the cumulated density.
    """
    radii, bounds = _distribution()
    return radii[np.searchsorted(bounds, rng.random(count))]


def put(canvas: Image.Image, leaves: Leaves, *, below: int, until_covered: bool = False) -> None:
    """Put shapes on a canvas, boundaries included, as OpenCV's `circle` and `fillPoly` fill them.

    Args:
        canvas: Gets each shape's number.
        leaves: Shapes.
        below: How many lie there already; the first one's number is one more.
        until_covered: Stop as soon as no ground shows.
    """
    pen = ImageDraw.Draw(canvas)
    circle = SHAPES.index("circle")
    rows = leaves.corners.reshape(len(leaves.shapes), 8).tolist()
    for number, (shape, row) in enumerate(zip(leaves.shapes.tolist(), rows, strict=True), below + 1):
        if shape == circle:
            pen.ellipse((row[0], row[1], row[4], row[5]), fill=number)
        else:
            pen.polygon(row, fill=number)
        if until_covered and _is_covered(canvas):
            return


def _is_covered(canvas: Image.Image) -> bool:
    return canvas.getextrema()[0] != 0  # the least of the one channel


@lru_cache(maxsize=1)
def _distribution() -> tuple[Floats, Floats]:
    """The radii, and the bounds between their places in the distribution."""
    radii = np.linspace(SMALLEST_RADIUS, LARGEST_RADIUS, RADII)
    cumulated = np.cumsum(radii**-_SIGMA - LARGEST_RADIUS**-_SIGMA)
    cumulated /= cumulated[-1]
    return radii, (cumulated[1:] + cumulated[:-1]) / 2.0


def _offsets(shapes: NDArray[np.int64], radii: Floats, angles: Floats) -> Floats:
    """Corners `(n, 4, 2)` around the centre, of radii `(n, 1)` and angles `(n, 4)` in [0, 2π)."""
    box = _SIGNS * radii[..., None]
    square = np.trunc(box / np.sqrt(2.0))  # cut towards zero, before it is turned
    cosine, sine = np.cos(angles[:, :1]), np.sin(angles[:, :1])
    x, y = square[..., 0], square[..., 1]
    turned = np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=-1)
    quarter = angles[:, :1] / 4.0
    rectangle = np.trunc(box * np.stack([np.cos(quarter), np.sin(quarter)], axis=-1))
    three = np.sort(angles[:, :3])
    rising = {"triangle": three[:, [0, 1, 2, 2]], "quadrilateral": np.sort(angles)}
    inscribed = [radii[..., None] * np.stack([np.cos(one), np.sin(one)], axis=-1) for one in rising.values()]
    of_shape = np.stack([box, square, turned, rectangle, *inscribed])  # in the order of SHAPES
    return of_shape[shapes, np.arange(len(shapes))]
