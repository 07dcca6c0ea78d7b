"""Files of images: what is one, and its pixels."""

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from ofa_nas.data import Source
from ofa_nas.errors import DataError
from ofa_nas.supernet_card import CROP

# Pillow would hand EPS to ghostscript and has decoders nobody trains on: only these are opened.
IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
IMAGE_SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".webp", ".bmp", ".gif"),
        *(".tif", ".tiff", ".ppm", ".pgm", ".pbm"),
    )
)
MOST_PIXELS = 80_000_000  # of an image; decoded, so many take a quarter of a gigabyte
_BITS_PER_SAMPLE = 258  # a tag of TIFF
# What Pillow's decoders were seen to raise for damaged files, beside OSError.
_IMAGE_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    TypeError,
    IndexError,
    KeyError,
    OverflowError,
    EOFError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def decode_image(content: bytes, where: str) -> NDArray[np.uint8]:
    """Decode an image, upright and in colour; of more than 8 bits, the share of the most is kept.

    Args:
        content: A whole file in one of `IMAGE_FORMATS`.
        where: Names the image in the message.

    Returns:
        `(H, W, 3)` uint8.

    Raises:
        DataError: It is no such image, a damaged one, or of pixels without a known white.
    """
    try:
        with Image.open(io.BytesIO(content), formats=IMAGE_FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise DataError(
                    f"{where}: {image.width} x {image.height} px; expected {MOST_PIXELS:.0e} at most"
                )
            most = _white(image, where)
            upright = ImageOps.exif_transpose(image)
            return np.asarray(_in_8_bits(upright, most).convert("RGB"))
    except UnidentifiedImageError as error:  # says no more than that, of a buffer in memory
        raise DataError(f"{where}: corrupt image, or none of {', '.join(IMAGE_FORMATS)}") from error
    except _IMAGE_ERRORS as error:
        raise DataError(f"{where}: corrupt image: {error}") from error


def _white(image: Image.Image, where: str) -> int:
    """The pixel value that is white."""
    if image.mode == "F" or (image.mode == "I" and image.format == "TIFF"):
        what = "floating-point" if image.mode == "F" else "32-bit or signed"
        raise DataError(
            f"{where}: {what} pixels, and nothing says which value is white; expected 8 or 16 bits a colour, "
            "unsigned: convert the image"
        )
    if image.mode != "I" and not image.mode.startswith("I;16"):  # Pillow gives PGM of 16 bits as I
        return 255
    bits = image.tag_v2.get(_BITS_PER_SAMPLE) if isinstance(image, TiffImageFile) else None
    return 4095 if bits == (12,) else 65535  # Pillow leaves 12 bits as they are, and brings PGM to 16


def _in_8_bits(image: Image.Image, white: int) -> Image.Image:
    """The same image; convert() would cut at 255 what has more than 8 bits."""
    if white == 255:
        return image
    shares = np.multiply(np.asarray(image), 255 / white, dtype=np.float32)
    return Image.fromarray(np.rint(shares).astype(np.uint8))


def median_side_px(source: Source) -> int:
    """Median side [px] of the squares that show all a split's images hold, by up to 31 of their headers.

    It is the short side of images that are cropped, and the long one of others.

    What is no image is left out: decoding names all such files in one error. 1 if there is nothing else.
    """
    side = min if source.fit == CROP else max
    sides = [side(size_px) for size_px in _sizes_px(source)]
    return int(np.median(sides)) if sides else 1


def median_shape_px(source: Source) -> tuple[int, int]:
    """Width and height [px] of the image of a split whose shape is the median one, from square to longish.

    It is one of those that `median_side_px` looks at; 1 x 1 if there is none.
    """
    shapes = sorted(_sizes_px(source), key=lambda size_px: max(size_px) / min(size_px))
    return shapes[(len(shapes) - 1) // 2] if shapes else (1, 1)


def _sizes_px(source: Source) -> list[tuple[int, int]]:
    """Width and height [px] of up to 31 encoded images of a split, from their headers."""
    assert source.encoded is not None
    sizes = []
    for index in range(0, len(source), -(-len(source) // 31)):
        try:
            with Image.open(io.BytesIO(source.encoded(index)), formats=IMAGE_FORMATS) as image:
                sizes.append(image.size)
        except _IMAGE_ERRORS:
            continue
    return sizes
