"""Whatever the bytes of a file are, the answer is its content or one DataError; nothing is unpickled."""

import gzip
import io
import pickle
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ofa_nas.data.files import pack_source, read_npz
from ofa_nas.data.image_files import decode_image
from ofa_nas.data.sample import load_images
from ofa_nas.data.sources.fashion_mnist import read_idx
from ofa_nas.errors import DataError


def image_bytes(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(768, dtype=np.uint16).astype(np.uint8).reshape(16, 16, 3)).save(buffer, kind)
    return buffer.getvalue()


def pack_bytes(**changes: np.ndarray) -> bytes:
    images = [image_bytes("JPEG"), image_bytes("PNG")]
    arrays = {
        "jpeg": np.frombuffer(b"".join(images), np.uint8),
        "offset": np.cumsum([0, *map(len, images)]),
        "label": np.array([0, 1]),
        "class_names": np.array(["a", "b"]),
    }
    buffer = io.BytesIO()
    np.savez(buffer, **(arrays | changes))  # type: ignore[arg-type]  # the stub minds allow_pickle
    return buffer.getvalue()


IMAGES = {kind: image_bytes(kind) for kind in ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")}
PACK = pack_bytes()
IDX = bytes((0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 4)) + bytes(range(32))


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """The content, cut short, with some bytes changed, or followed by others."""
    garbled = bytearray(content[: draw(st.integers(0, len(content)))] if draw(st.booleans()) else content)
    for _ in range(draw(st.integers(0, 6))):
        if garbled:
            garbled[draw(st.integers(0, len(garbled) - 1))] = draw(st.integers(0, 255))
    return bytes(garbled) + draw(st.binary(max_size=8))


@pytest.mark.parametrize("kind", ["PCX", "EPS", "ICO"])
def test_only_the_listed_formats_are_opened(kind: str) -> None:
    with pytest.raises(DataError, match="image 7: corrupt image, or none of JPEG, PNG"):
        decode_image(image_bytes(kind), "image 7")


@given(data=st.data(), kind=st.sampled_from(sorted(IMAGES)))
def test_damaged_image_is_an_image_or_one_error(data: st.DataObject, kind: str) -> None:
    content = data.draw(damaged(IMAGES[kind]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on metadata that it skips
        try:
            pixels = decode_image(content, "image 7")
        except DataError as error:
            assert str(error).startswith("image 7: ")  # noqa: PT017
        else:
            assert pixels.dtype == np.uint8
            assert pixels.shape[2] == 3


@given(content=damaged(PACK))
def test_damaged_npz_is_a_sample_or_one_error(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            packed = load_images(path)
        except DataError as error:
            assert "damaged.npz" in str(error)  # noqa: PT017
        else:
            assert len(packed) == len(packed.images)


@given(content=damaged(IDX), is_packed=st.booleans())
def test_damaged_idx_is_an_array_or_one_error(
    content: bytes, is_packed: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / ("damaged.gz" if is_packed else "damaged")
    path.write_bytes(gzip.compress(content) if is_packed else content)
    try:
        array = read_idx(path, ndim=3)
    except DataError as error:
        assert "damaged" in str(error)  # noqa: PT017
    else:
        assert array.nbytes == len(content) - 16


@given(content=damaged(gzip.compress(IDX)))
def test_damaged_gzip_is_an_array_or_one_error(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "zipped.gz"
    path.write_bytes(content)
    try:
        assert read_idx(path, ndim=3).ndim == 3
    except DataError as error:
        assert "zipped.gz" in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": np.array([0, 2])}, "label 2 of image 1 is out of range 0 to 1"),
        ({"label": np.array([0, -1])}, "label -1 of image 1"),
        ({"label": np.array([0.0, 1.0])}, "not integers"),
        ({"label": np.zeros(0, np.int64)}, "not integers"),
        ({"offset": np.array([0, 5])}, r"offset is int64 \(2,\)"),
        ({"offset": np.array([0, 9, 5])}, "does not ascend"),
        ({"offset": np.array([-4, 0, 5])}, "does not ascend"),
        ({"class_names": np.array([1, 2])}, "not text"),
        ({"class_names": np.array(["a", None], dtype=object)}, "Python objects"),
    ],
)
def test_arrays_that_do_not_fit_are_named(
    changes: dict[str, np.ndarray], message: str, tmp_path: Path
) -> None:
    (tmp_path / "pack.npz").write_bytes(pack_bytes(**changes))
    with pytest.raises(DataError, match=rf"pack\.npz.*{message}"):
        pack_source(tmp_path / "pack.npz", names_key="class_names", size_px=16)


def test_pack_with_too_few_bytes_is_truncated(tmp_path: Path) -> None:
    (tmp_path / "pack.npz").write_bytes(pack_bytes(jpeg=np.zeros(10, np.uint8)))
    source = pack_source(tmp_path / "pack.npz", names_key="class_names", size_px=16)
    with pytest.raises(DataError, match=r"pack\.npz: jpeg is truncated: 10 of"):
        source.pixels(0)


def test_missing_array_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "pack.npz", other=np.zeros(1))
    with pytest.raises(DataError, match="no array 'label'; it holds other"):
        read_npz(tmp_path / "pack.npz", ("label",))


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def test_pickle_inside_npz_is_not_run(tmp_path: Path) -> None:
    payload = np.array([Payload(tmp_path / "run")], dtype=object)
    np.savez(tmp_path / "pack.npz", label=payload)
    with pytest.raises(DataError, match="Python objects"):
        read_npz(tmp_path / "pack.npz", ("label",))
    with zipfile.ZipFile(tmp_path / "raw.npz", "w") as archive:
        archive.writestr("label.npy", pickle.dumps(Payload(tmp_path / "run")))
    with pytest.raises(DataError, match="not a whole npz file"):
        read_npz(tmp_path / "raw.npz", ("label",))
    assert not (tmp_path / "run").exists()


def test_header_that_claims_terabytes_allocates_nothing(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "|u1", "fortran_order": False, "shape": (1 << 45,)}
    )
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as archive:
        archive.writestr("jpeg.npy", buffer.getvalue())
    with pytest.raises(DataError, match=f"truncated: 0 of {1 << 45} bytes"):
        read_npz(tmp_path / "huge.npz", ("jpeg",))
    (tmp_path / "huge").write_bytes(bytes((0, 0, 8, 3)) + b"\xff" * 12)
    with pytest.raises(DataError, match="truncated"):
        read_idx(tmp_path / "huge", ndim=3)


def test_arrays_come_back_as_they_were_saved(tmp_path: Path) -> None:
    arrays = {"c": np.arange(6.0).reshape(2, 3), "f": np.asfortranarray(np.arange(6).reshape(2, 3))}
    np.savez_compressed(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]  # as above
    read = read_npz(tmp_path / "a.npz", arrays)
    assert all(np.array_equal(read[key], arrays[key]) for key in arrays)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_array_is_in_memory_once_while_it_is_read(save: Callable[..., None], tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (256, 128, 128, 3), dtype=np.uint8)
    save(tmp_path / "images.npz", images=images)
    tracemalloc.start()
    try:
        found = read_npz(tmp_path / "images.npz", ["images"])["images"]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert np.array_equal(found, images)
    assert peak < 1.5 * images.nbytes


def test_an_array_too_large_for_the_memory_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "images.npz", images=np.zeros((4, 8, 8, 3), np.uint8))

    def allocate(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(np, "empty", allocate)
    told = r"images\.npz: images\.npy: memory is too short for its 768 bytes"
    with pytest.raises(DataError, match=told):
        read_npz(tmp_path / "images.npz", ["images"])
