"""Whatever a file keeps its pixels as, they arrive as 8 bits a colour, or the file is refused."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from ofa_nas.data.image_files import decode_image
from ofa_nas.errors import DataError

COLOUR = (200, 104, 24)
GREY = 77


def encode(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 100} if kind == "JPEG" else {}))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("mode", "kind", "expected"),
    [
        ("RGB", "PNG", COLOUR),
        ("RGBA", "PNG", COLOUR),
        ("CMYK", "JPEG", COLOUR),
        ("CMYK", "TIFF", COLOUR),
        ("YCbCr", "TIFF", COLOUR),
        ("P", "PNG", COLOUR),
        ("L", "PNG", (GREY,) * 3),
        ("LA", "PNG", (GREY,) * 3),
        ("1", "PNG", (255,) * 3),
        ("1", "TIFF", (255,) * 3),
    ],
)
def test_pixels_of_8_bits_and_less_are_what_they_were(
    mode: str, kind: str, expected: tuple[int, int, int]
) -> None:
    image = Image.new("RGB", (16, 8), expected)
    image = image.quantize(4) if mode == "P" else image.convert(mode)
    pixels = decode_image(encode(image, kind), "image")
    assert pixels.dtype == np.uint8
    assert pixels.shape == (8, 16, 3)
    assert np.abs(pixels.astype(int) - expected).max() <= 2


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bits_become_8_by_their_share_of_the_whole(kind: str) -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(128, 512)
    by_hand = b"P5 512 128 65535\n" + values.astype(">u2").tobytes()  # Pillow before 13 writes none
    content = by_hand if kind == "PPM" else encode(Image.fromarray(values), kind)
    pixels = decode_image(content, "image")
    assert pixels.dtype == np.uint8
    for channel in range(3):
        assert np.array_equal(pixels[..., channel], (values.astype(np.int64) + 128) // 257)


def tiff(values: bytes, width: int, *, bits: int, is_big: bool = False) -> bytes:
    """One row of grey pixels as a TIFF file."""
    order = ">" if is_big else "<"
    tags = {256: width, 257: 1, 258: bits, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: len(values)}
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = (b"MM" if is_big else b"II") + struct.pack(f"{order}HI", 42, 8 + len(values))
    return head + values + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)


def test_16_bits_with_the_high_byte_first_are_read_too() -> None:
    content = tiff(struct.pack(">4H", 0, 257, 0x8000, 0xFFFF), 4, bits=16, is_big=True)
    assert decode_image(content, "image")[0, :, 0].tolist() == [0, 1, 128, 255]


def test_12_bits_are_a_share_of_12_bits() -> None:
    content = tiff(bytes((0x00, 0x08, 0x00, 0xFF, 0xF0, 0x10)), 4, bits=12)  # 0, 2048, 4095, 16
    assert decode_image(content, "image")[0, :, 0].tolist() == [0, 128, 255, 1]


@pytest.mark.parametrize(("dtype", "kind"), [("float32", "TIFF"), ("float32", "PPM"), ("int32", "TIFF")])
def test_pixels_without_a_known_white_are_refused(dtype: str, kind: str) -> None:
    content = encode(Image.fromarray(np.linspace(0, 1, 64, dtype=dtype).reshape(8, 8)), kind)
    what = {"float32": "floating-point", "int32": "32-bit or signed"}[dtype]
    with pytest.raises(DataError) as refused:
        decode_image(content, "scan.tif")
    assert str(refused.value) == (
        f"scan.tif: {what} pixels, and nothing says which value is white; expected 8 or 16 bits a colour, "
        "unsigned: convert the image"
    )
