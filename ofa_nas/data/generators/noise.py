"""Independent uniform pixels: an image without any structure, to tell what structure is worth."""

import numpy as np
from numpy.typing import NDArray

MODES: tuple[str, ...] = ()


def paint(size_px: int, *, mode: str, rng: np.random.Generator) -> NDArray[np.uint8]:  # noqa: ARG001 - no mode
    """Draw one image, `(size_px, size_px, 3)` uint8."""
    return rng.integers(0, 256, (size_px, size_px, 3), dtype=np.uint8)
