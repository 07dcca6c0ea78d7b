"""Each data set's own layout, and the one clear error for each way in which it can be wrong."""

import gzip
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ofa_nas.data.dataset import ROOT_VARIABLE, open_data
from ofa_nas.data.files import MAX_SIZE_PX
from ofa_nas.data.sources import folder as folder_source
from ofa_nas.data.sources.cifar10 import CLASS_NAMES
from ofa_nas.errors import ConfigError, DataError

WriteLayout = Callable[[str], Path]


def test_tiny_imagenet_orders_classes_by_identifier_and_names_them(write_layout: WriteLayout) -> None:
    data = open_data(str(write_layout("tiny_imagenet")))
    assert data.class_names == ("goldfish", "cat, house cat", "dog")
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert data.val.labels.tolist() == [1, 0, 2]


def test_tiny_imagenet_pack_gives_what_the_folder_gives(write_layout: WriteLayout, tmp_path: Path) -> None:
    official = open_data(str(write_layout("tiny_imagenet")))
    root = tmp_path / "packs"
    root.mkdir()
    for split, source in (("train", official.train), ("val", official.val)):
        assert source.encoded is not None
        images = [source.encoded(index) for index in range(len(source))]
        np.savez(
            root / f"{split}.npz",
            jpeg=np.frombuffer(b"".join(images), np.uint8),
            offset=np.cumsum([0, *map(len, images)]),
            label=source.labels.astype(np.int16),
            names=np.array(source.class_names),
            wnid=np.array(source.class_ids),
        )
    packed = open_data(str(root))
    assert packed.name == "tiny_imagenet"
    assert packed.class_names == official.class_names
    assert packed.train.class_ids == official.val.class_ids == ("n01", "n02", "n03")
    for one, other in ((packed.train, official.train), (packed.val, official.val)):
        assert np.array_equal(one.labels, other.labels)
        assert all(np.array_equal(one.pixels(index), other.pixels(index)) for index in range(len(one)))


def test_tiny_imagenet_pack_with_too_few_identifiers_is_refused(tmp_path: Path) -> None:
    for split in ("train", "val"):
        names, wnid = np.array(["a", "b"]), np.array(["n01"])
        np.savez(tmp_path / f"{split}.npz", offset=np.arange(3), label=np.arange(2), names=names, wnid=wnid)
    with pytest.raises(DataError, match=r"train\.npz: 1 identifiers for 2 classes"):
        open_data(str(tmp_path))


def test_wrong_line_of_annotations_is_named_by_number(write_layout: WriteLayout) -> None:
    root = write_layout("tiny_imagenet")
    annotations = root / "val" / "val_annotations.txt"
    annotations.write_text(annotations.read_text() + "val_9.JPEG n01 0 0 1 1\n")
    with pytest.raises(DataError, match=r"val_annotations\.txt:4: "):
        open_data(str(root))


def test_annotation_cannot_leave_its_folder(write_layout: WriteLayout) -> None:
    root = write_layout("tiny_imagenet")
    (root / "val" / "val_annotations.txt").write_text("../../secret.JPEG\tn01\t0\t0\t1\t1\n")
    with pytest.raises(DataError, match=r"val_annotations\.txt:1: "):
        open_data(str(root))


def test_annotated_image_that_is_missing_is_named(write_layout: WriteLayout) -> None:
    root = write_layout("tiny_imagenet")
    (root / "val" / "images" / "val_n01.JPEG").unlink()
    with pytest.raises(DataError, match=r"val_n01\.JPEG: cannot be read"):
        open_data(str(root))


def test_cifar10_binary_planes_become_pixels(write_layout: WriteLayout) -> None:
    root = write_layout("cifar10")
    data = open_data(str(root))
    record = np.frombuffer((root / "data_batch_1.bin").read_bytes(), np.uint8)[:3073]
    assert data.class_names == CLASS_NAMES
    assert data.train.labels[0] == record[0]
    assert data.train.pixels(0)[5, 7].tolist() == [
        record[1 + plane * 1024 + 5 * 32 + 7] for plane in range(3)
    ]


def test_cifar10_pickles_are_refused_naming_the_binary_version(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(DataError, match=r"cifar-10-binary\.tar\.gz"):
        open_data(str(tmp_path))


@pytest.mark.parametrize(
    ("change", "message"), [(b"", "truncated"), (b"\x0a" + bytes(3072), "label 10 of image 0")]
)
def test_cifar10_batch_that_is_wrong_is_named(change: bytes, message: str, write_layout: WriteLayout) -> None:
    root = write_layout("cifar10")
    (root / "data_batch_3.bin").write_bytes(change)
    with pytest.raises(DataError, match=rf"data_batch_3\.bin: {message}"):
        open_data(str(root))


def test_fashion_mnist_is_grey_in_three_channels(write_layout: WriteLayout) -> None:
    root = write_layout("fashion_mnist")
    raw = gzip.decompress((root / "train-images-idx3-ubyte.gz").read_bytes())
    pixels = open_data(str(root)).train.pixels(0)
    assert pixels.shape == (28, 28, 3)
    assert pixels[..., 0].tobytes() == pixels[..., 2].tobytes() == raw[16 : 16 + 784]


def test_fashion_mnist_reads_unpacked_files_too(write_layout: WriteLayout) -> None:
    root = write_layout("fashion_mnist")
    labels = open_data(str(root)).val.labels
    for path in list(root.iterdir()):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert np.array_equal(open_data(str(root)).val.labels, labels)


def test_fashion_mnist_with_too_few_labels_is_refused(write_layout: WriteLayout) -> None:
    root = write_layout("fashion_mnist")
    shutil.copy(root / "t10k-labels-idx1-ubyte.gz", root / "train-labels-idx1-ubyte.gz")
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz: images are \(12, 28, 28\), not \(5, "):
        open_data(str(root))


def test_folder_keeps_an_image_on_its_side_when_others_come(write_layout: WriteLayout) -> None:
    root = write_layout("folder")
    for index in range(6, 60):
        shutil.copy(root / "nuts" / "0.png", root / "nuts" / f"{index}.png")
    before = val_names(root)
    for index in range(60, 90):
        shutil.copy(root / "nuts" / "0.png", root / "nuts" / f"{index}.png")
    after = val_names(root)
    assert before <= after
    assert 2 <= len(before) < 20


def test_folder_tells_of_an_image_that_is_held_out_because_its_class_has_few(
    write_layout: WriteLayout, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_layout("folder")
    told = f"{root}: few images; the one held out may change sides when others come: 'nuts'"
    for _ in range(2):
        open_data(str(root))
    assert caplog.messages == [told]
    few = val_names(root)
    for index in range(6, 60):
        shutil.copy(root / "nuts" / "0.png", root / "nuts" / f"{index}.png")
    assert not few <= val_names(root)
    caplog.clear()
    open_data(str(root))
    assert not caplog.messages


def val_names(root: Path) -> set[str]:
    paths = sorted((root / "nuts").iterdir())
    return {path.name for path in folder_source._val_part(paths)}


def test_folder_never_puts_a_whole_class_aside(tmp_path: Path) -> None:
    (tmp_path / "nuts").mkdir()
    low = [index for index in range(100) if folder_source._share(Path(f"nuts/{index}.png")) < 0.1][:3]
    for index in low:
        (tmp_path / "nuts" / f"{index}.png").touch()
    assert len(low) == 3
    assert len(val_names(tmp_path)) == 2


@pytest.mark.parametrize("count", [2, 3, 10])
def test_folder_gives_every_class_of_two_both_sides(count: int, tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        (tmp_path / name).mkdir()
        for index in range(count):
            Image.new("RGB", (8, 8), (index, 0, 0)).save(tmp_path / name / f"{index}.png")
    data = open_data(str(tmp_path))
    for source in (data.train, data.val):
        assert set(source.labels) == {0, 1, 2, 3}
    assert len(data.train) + len(data.val) == 4 * count


def test_folder_that_is_split_already_stays_so(write_layout: WriteLayout, tmp_path: Path) -> None:
    root = write_layout("folder")
    shutil.copytree(root, tmp_path / "split" / "train")
    shutil.copytree(root, tmp_path / "split" / "val")
    data = open_data(str(tmp_path / "split"))
    assert data.class_names == ("bolts", "nuts")
    assert len(data.train) == len(data.val) == 12


def test_classes_may_be_called_like_splits(write_layout: WriteLayout) -> None:
    root = write_layout("folder")
    (root / "nuts").rename(root / "train")
    assert open_data(str(root)).class_names == ("bolts", "train")
    (root / "bolts").rename(root / "val")
    data = open_data(str(root))
    assert data.class_names == ("train", "val")
    assert len(data.train) + len(data.val) == 12


def test_a_split_without_images_of_any_class_is_still_a_split(
    write_layout: WriteLayout, tmp_path: Path
) -> None:
    shutil.copytree(write_layout("folder"), tmp_path / "split" / "train")
    (tmp_path / "split" / "val").mkdir()
    with pytest.raises(DataError, match=r"split/val: 0 sub-folders"):
        open_data(str(tmp_path / "split"))


def test_a_folder_may_be_called_like_windows(
    write_layout: WriteLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_layout("folder").rename(tmp_path / "at@2024")
    data = open_data("at@2024")
    assert (data.name, data.class_names) == ("at@2024", ("bolts", "nuts"))
    assert open_data("folder=at@2024").class_names == ("bolts", "nuts")


def test_test_images_beside_both_splits_are_told_of(
    write_layout: WriteLayout, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_layout("folder")
    for name in ("train", "val", "test"):
        shutil.copytree(root, tmp_path / "split" / name)
    (tmp_path / "split" / "notes").mkdir()
    open_data(str(tmp_path / "split"))
    test = tmp_path / "split" / "test"
    assert f"test is not read; ofa-nas evaluate --data {test} --split all judges by it" in caplog.text
    assert "notes" not in caplog.text
    assert "val is" not in caplog.text


@pytest.mark.parametrize("name", ["valid", "test"])
def test_validation_images_under_another_name_are_not_dropped(
    name: str, write_layout: WriteLayout, tmp_path: Path
) -> None:
    root = write_layout("folder")
    shutil.copytree(root, tmp_path / "split" / "train")
    shutil.copytree(root, tmp_path / "split" / name)
    message = f"split: train and {name} have the same classes, and there is no val; rename {name} to val"
    with pytest.raises(DataError, match=message):
        open_data(str(tmp_path / "split"))
    (tmp_path / "split" / name).rename(tmp_path / "split" / "val")
    assert len(open_data(str(tmp_path / "split")).val) == 12
    shutil.rmtree(tmp_path / "split" / "val")
    (tmp_path / "split" / "notes" / "old").mkdir(parents=True)
    assert len(open_data(str(tmp_path / "split")).train) == 10


def test_what_is_not_read_is_told_once_with_its_count(
    write_layout: WriteLayout, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_layout("folder")
    open_data(str(root))
    assert "not " not in caplog.text
    caplog.clear()
    for index in range(3):
        (root / "nuts" / f"{index}.HEIC").touch()
    shutil.copytree(root / "bolts", root / "bolts" / "more")
    (root / "bolts" / "x.a\x1b[1m").touch()
    (root / "washers").mkdir()
    shutil.copy(root / "nuts" / "1.jpeg", root / "washers" / "1.jfif")
    shutil.copy(root / "nuts" / "1.jpeg", root / "1.jpe")
    for _ in range(2):
        data = open_data(str(root))
    assert (len(data.train) + len(data.val), data.class_names) == (13, ("bolts", "nuts", "washers"))
    ignored, alone = caplog.messages
    assert ignored.startswith(
        f"{root}: not read: .heic (3), folders (1), others (1), .jpe outside a class (1); "
    )
    assert alone == f"{root}: not held out, one image only: 'washers'"


def test_folder_split_with_other_classes_names_one(write_layout: WriteLayout, tmp_path: Path) -> None:
    root = write_layout("folder")
    shutil.copytree(root, tmp_path / "split" / "train")
    shutil.copytree(root, tmp_path / "split" / "val")
    shutil.rmtree(tmp_path / "split" / "val" / "nuts")
    shutil.copytree(root / "nuts", tmp_path / "split" / "val" / "screws")
    with pytest.raises(DataError, match="class 'nuts' is in one of train and val only"):
        open_data(str(tmp_path / "split"))


def test_a_folder_with_the_name_of_an_image_is_none(
    write_layout: WriteLayout, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_layout("folder")
    before = open_data(str(root))
    (root / "nuts" / "thumbs.png").mkdir()
    data = open_data(str(root))
    assert len(data.train) + len(data.val) == len(before.train) + len(before.val)
    assert f"{root}: not read: folders (1); expected images" in caplog.text


def test_empty_class_is_named(write_layout: WriteLayout) -> None:
    root = write_layout("folder")
    (root / "washers").mkdir()
    (root / "washers" / "notes.txt").write_text("none yet")
    with pytest.raises(DataError, match=r"washers: an empty class"):
        open_data(str(root))


def test_folder_without_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="0 sub-folders"):
        open_data(str(tmp_path))


def test_photograph_is_upright_and_large_ones_are_packed_small(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index in range(2):
            image = Image.new("RGB", (640, 400))
            image.paste((250, 0, 0), (0, 0, 640, 40))
            exif = Image.Exif()
            exif[0x0112] = 6  # the camera was turned: the first row is the right side
            image.save(tmp_path / name / f"{index}.jpg", exif=exif)
    train = open_data(str(tmp_path)).train
    assert train.size_px == MAX_SIZE_PX
    pixels = train.pixels(0)
    assert pixels.shape == (640, 400, 3)
    assert pixels[320, 390, 0] > 200
    assert pixels[320, 10, 0] < 50


def test_postscript_is_never_handed_to_an_interpreter(write_layout: WriteLayout) -> None:
    root = write_layout("folder")
    (root / "nuts" / "0.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n")
    with pytest.raises(DataError, match=r"0\.png: corrupt image, or none of JPEG, PNG[A-Z, ]+$"):
        open_and_decode(root)  # no address of a buffer in memory


def test_corrupt_image_is_named(write_layout: WriteLayout) -> None:
    root = write_layout("folder")
    path = root / "nuts" / "1.jpeg"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"nuts/1\.jpeg: corrupt image"):
        open_and_decode(root)


def open_and_decode(root: Path) -> None:
    data = open_data(str(root))
    for source in (data.train, data.val):
        for index in range(len(source)):
            source.pixels(index)


def test_name_without_data_tells_variable_address_and_checksum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    with pytest.raises(ConfigError, match=rf"tiny-imagenet-200\.zip \(md5:90528d7c.*{ROOT_VARIABLE}"):
        open_data("tiny_imagenet")
    monkeypatch.delenv(ROOT_VARIABLE)
    with pytest.raises(ConfigError, match=rf"\${ROOT_VARIABLE} is not set"):
        open_data("tiny_imagenet")


def test_name_is_found_below_the_variable(write_layout: WriteLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ROOT_VARIABLE, str(write_layout("cifar10").parent))
    assert len(open_data("cifar10").train) == 20


@pytest.mark.parametrize(
    "text", ["", "no/such/folder", "cifar10=nowhere", "no_such_name", "=x", "x" * 5000, "\0"]
)
def test_text_that_names_nothing_is_refused(text: str) -> None:
    with pytest.raises((ConfigError, DataError)):
        open_data(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("missing", "data 'missing': no such folder; "),
        ("no/such", "data 'no/such': no such folder; "),
        ("two.csv", "data two.csv: is a file; "),
        ("three.csv", "data three.csv: no such folder, and data.sources: cannot import 'three.csv'"),
    ],
)
def test_what_would_be_right_is_listed(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("two.csv").write_text("a,b\n")
    with pytest.raises(ConfigError) as caught:
        open_data(text)
    assert str(caught.value).startswith(message)
    names = "cifar10, fashion_mnist, hapt, signals, tiny_imagenet"
    assert str(caught.value).endswith(f"expected a folder with one sub-folder per class, or one of {names}")


real_data = pytest.mark.skipif(
    not os.environ.get(ROOT_VARIABLE), reason=f"${ROOT_VARIABLE} names no real data"
)


@pytest.mark.slow
@real_data
@pytest.mark.parametrize(
    ("name", "classes", "size_px"),
    [("tiny_imagenet", 200, 64), ("cifar10", 10, 32), ("fashion_mnist", 10, 28)],
)
def test_real_data_open_and_decode(name: str, classes: int, size_px: int) -> None:
    try:
        data = open_data(name)
    except ConfigError as error:
        pytest.skip(str(error))
    assert len(data.class_names) == classes
    for source in (data.train.subset(np.arange(3)), data.val.subset(np.arange(3))):
        assert all(source.pixels(index).shape == (size_px, size_px, 3) for index in range(3))
        assert len({source.pixels(index).tobytes() for index in range(3)}) == 3
    assert set(data.val.labels) == set(range(classes))
