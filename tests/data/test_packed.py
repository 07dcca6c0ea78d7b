"""Packs: what is decoded once, reused, replaced, and refused."""

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Barrier
from pathlib import Path
from threading import get_ident
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageOps

from ofa_nas.data import Source
from ofa_nas.data.dataset import open_data
from ofa_nas.data.packed import (
    GREY,
    default_pack_folder,
    open_pack,
    pack,
    pack_digest,
    pack_images,
    square_pixels,
)
from ofa_nas.errors import DataError
from ofa_nas.supernet_card import FITS, Fit

WriteLayout = Callable[[str], Path]


@pytest.fixture
def source(write_layout: WriteLayout) -> Source:
    return open_data(str(write_layout("folder"))).train


def refuse(index: int) -> np.ndarray:
    raise AssertionError(f"image {index} was decoded again")


def test_pack_holds_the_square_pixels_of_every_image(source: Source, tmp_path: Path) -> None:
    packed = pack(source, tmp_path / "pack", size_px=20)
    assert packed.images.shape == (len(source), 20, 20, 3)
    assert packed.images.dtype == np.uint8
    assert np.array_equal(packed.labels, source.labels)
    assert packed.class_names == source.class_names
    for index in range(len(source)):
        assert np.array_equal(packed.images[index], square_pixels(source.pixels(index), size_px=20))


def test_images_of_native_size_are_packed_as_they_are(write_layout: WriteLayout, tmp_path: Path) -> None:
    train = open_data(str(write_layout("cifar10"))).train
    packed = pack(train, tmp_path / "pack", size_px=32)
    assert np.array_equal(packed.images[3], train.pixels(3))


def test_square_is_the_centre_of_the_image() -> None:
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 200
    assert (square_pixels(pixels, size_px=10) == 200).all()
    assert (square_pixels(pixels.transpose(1, 0, 2), size_px=10) == 200).all()


@pytest.mark.parametrize(
    ("fit", "columns"),
    [
        ("crop", [150, 150, 150, 150]),
        ("stretch", [100, 150, 150, 200]),
        ("pad", [100, 150, 150, 200]),
    ],
)
def test_a_longish_image_becomes_square_by_its_fit(fit: Fit, columns: list[int]) -> None:
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, :10], pixels[:, 10:30], pixels[:, 30:] = 100, 150, 200
    rows = [GREY if fit == "pad" and not 5 <= row < 15 else None for row in range(20)]
    for image, is_upright in ((pixels, False), (pixels.transpose(1, 0, 2), True)):
        square = square_pixels(image, size_px=20, fit=fit)
        assert square.shape == (20, 20, 3)
        square = square.transpose(1, 0, 2) if is_upright else square
        for row, grey in enumerate(rows):
            expected = columns if grey is None else [grey] * 4
            assert square[row, [1, 7, 12, 18], 0].tolist() == expected


@pytest.mark.parametrize("size", [(40, 57), (57, 40), (33, 96), (31, 31), (97, 4)])
@pytest.mark.parametrize("size_px", [17, 32, 100])
def test_programs_pad_with_pillow_as_packs_do(size: tuple[int, int], size_px: int) -> None:
    pixels = np.random.default_rng(0).integers(256, size=(*size, 3), dtype=np.uint8)
    wanted = ImageOps.pad(
        Image.fromarray(pixels), (size_px, size_px), Image.Resampling.BILINEAR, color=(GREY,) * 3
    )
    assert np.array_equal(square_pixels(pixels, size_px=size_px, fit="pad"), np.asarray(wanted))


def test_of_the_narrowest_image_a_line_is_left() -> None:
    square = square_pixels(np.full((1, 900, 3), 255, np.uint8), size_px=32, fit="pad")
    assert (square == 255).all(axis=(1, 2)).sum() == 1


@pytest.mark.parametrize("size_px", [16, 20])
def test_square_images_are_the_same_by_every_fit(size_px: int) -> None:
    pixels = np.random.default_rng(0).integers(256, size=(20, 20, 3), dtype=np.uint8)
    first, *others = (square_pixels(pixels, size_px=size_px, fit=fit) for fit in FITS)
    assert all(np.array_equal(first, other) for other in others)


def test_every_fit_has_a_pack_of_its_own(source: Source) -> None:
    by_fit = {fit: replace(source, fit=fit) for fit in FITS}
    assert len({default_pack_folder(one, size_px=8) for one in by_fit.values()}) == len(FITS)
    packs = {fit: pack(one, default_pack_folder(one, size_px=8), size_px=8) for fit, one in by_fit.items()}
    for fit, one in by_fit.items():
        expected = square_pixels(source.pixels(0), size_px=8, fit=fit)
        assert np.array_equal(packs[fit].images[0], expected)
        folder = default_pack_folder(one, size_px=8)
        again = pack(replace(one, pixels=refuse), folder, size_px=8)
        assert np.array_equal(again.images, packs[fit].images)


def test_packs_that_are_cropped_are_found_where_they_always_were(source: Source) -> None:
    text = f"2\n8\n{source.digest}\n{source.class_names}\n"
    expected = hashlib.sha256(text.encode() + source.labels.tobytes()).hexdigest()
    assert pack_digest(source, size_px=8) == expected


def test_same_source_is_not_decoded_twice(source: Source, tmp_path: Path) -> None:
    first = pack(source, tmp_path / "pack", size_px=16)
    second = pack(replace(source, pixels=refuse), tmp_path / "pack", size_px=16)
    assert np.array_equal(first.images, second.images)


def test_other_size_or_images_replace_the_pack(source: Source, tmp_path: Path) -> None:
    pack(source, tmp_path / "pack", size_px=16)
    assert pack(source, tmp_path / "pack", size_px=8).size_px == 8
    part = source.subset(np.array([4, 0]))
    packed = pack(part, tmp_path / "pack", size_px=8)
    assert np.array_equal(packed.images[1], square_pixels(source.pixels(0), size_px=8))
    assert [path.name for path in tmp_path.iterdir() if "pack" in path.name] == ["pack"]


def test_splits_and_sizes_have_packs_of_their_own(source: Source) -> None:
    folders = {default_pack_folder(source, size_px=size_px) for size_px in (8, 16)}
    folders |= {default_pack_folder(source.subset(np.arange(3)), size_px=8)}
    assert len(folders) == 3


def test_progress_counts_to_the_end_and_brings_the_pack(source: Source, tmp_path: Path) -> None:
    records = list(pack_images(source, tmp_path / "pack", size_px=8))
    assert [record.done for record in records] == sorted(record.done for record in records)
    assert {record.total for record in records} == {len(source)}
    assert records[-1].packed is not None
    assert all(record.packed is None for record in records[:-1])


def test_only_as_many_images_as_fit_are_decoded_at_once(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ofa_nas.data.packed._CHUNK_BYTES", 5 * 20 * 20 * 3 - 1)
    done = [progress.done for progress in pack_images(source, tmp_path / "pack", size_px=20)]
    assert done == [*range(4, len(source), 4), len(source), len(source)]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system keeps no process on a core")
def test_as_many_threads_decode_as_there_are_cores_for_this_process(source: Source, tmp_path: Path) -> None:
    threads: set[int] = set()

    def slowly(index: int) -> np.ndarray:
        threads.add(get_ident())
        time.sleep(0.01)
        return source.pixels(index)

    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        pack(replace(source, pixels=slowly), tmp_path / "pack", size_px=8)
    finally:
        os.sched_setaffinity(0, before)
    assert len(threads) == 1


def test_stopping_or_failing_leaves_the_old_pack(source: Source, tmp_path: Path) -> None:
    folder = tmp_path / "pack"
    old = np.array(pack(source, folder, size_px=8).images)
    progress = pack_images(source, folder, size_px=16)
    next(progress)
    del progress  # the last reference: the generator is closed
    damaged = replace(source, digest="other", pixels=lambda index: broken(source, index))
    with pytest.raises(DataError, match="image 5"):
        pack(damaged, folder, size_px=16)
    assert np.array_equal(open_pack(folder).images, old)
    assert sorted(path.name for path in tmp_path.iterdir() if path != folder and "pack" in path.name) == []


def test_all_corrupt_images_are_named_in_one_error(source: Source, tmp_path: Path) -> None:
    many = source.subset(np.repeat(np.arange(len(source)), 40))

    def pixels(corrupt: set[int], index: int) -> np.ndarray:
        if index in corrupt:
            raise DataError(f"image {index} is corrupt")
        return many.pixels(index)

    for corrupt, told in (
        ({7, 398}, "2 of 400 images cannot be read: image 7 is corrupt; image 398 is corrupt"),
        (set(range(100, 300)), r"200 of 400 .*: image 100 is corrupt; .*; image 109 is corrupt; …"),
        ({300}, "image 300 is corrupt"),
        ({0, 1}, "2 of 400 images cannot be read: image 0 is corrupt; image 1 is corrupt"),
    ):
        damaged = replace(many, pixels=partial(pixels, corrupt))
        with pytest.raises(DataError) as caught:
            pack(damaged, tmp_path / "pack", size_px=8)
        assert re.fullmatch(told, str(caught.value))
    assert not list(tmp_path.glob("*pack*"))


@pytest.mark.parametrize("colours", [[0], [0, 1, 2, 0]])
def test_images_of_another_kind_are_refused(colours: list[int], source: Source, tmp_path: Path) -> None:
    odd = replace(source, pixels=lambda index: source.pixels(index)[..., colours])
    with pytest.raises(DataError, match=r"; image 1 is uint8 \(.*\), not uint8 \(H, W, 3\); "):
        pack(odd, tmp_path / "pack", size_px=8)


def broken(source: Source, index: int) -> np.ndarray:
    if index == 5:
        raise DataError("image 5 is corrupt")
    return source.pixels(index)


def test_what_a_killed_process_left_is_swept_away_later(source: Source, tmp_path: Path) -> None:
    abandoned, recent = tmp_path / ".pack.partial-1", tmp_path / ".pack.partial-2"
    for folder in (abandoned, recent):
        folder.mkdir()
        (folder / "images.npy").write_bytes(b"half")
    os.utime(abandoned / "images.npy", (0, 0))
    pack(source, tmp_path / "pack", size_px=8)
    assert not abandoned.exists()
    assert recent.exists()


def test_folder_that_holds_something_else_is_never_replaced(source: Source, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "wedding.jpg").write_bytes(b"dear")
    with pytest.raises(DataError, match="holds something that is no pack"):
        pack(source, tmp_path / "photos", size_px=8)
    assert (tmp_path / "photos" / "wedding.jpg").read_bytes() == b"dear"


def test_folder_that_cannot_be_written_is_one_error(source: Source, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DataError, match="cannot write the pack"):
        pack(source, tmp_path / "file" / "pack", size_px=8)


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "pack.json"])
def test_truncated_pack_is_one_error(name: str, source: Source, tmp_path: Path) -> None:
    folder = tmp_path / "pack"
    pack(source, folder, size_px=8)
    path = folder / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="pack"):
        open_pack(folder)


def test_pack_with_pickled_labels_is_refused(source: Source, tmp_path: Path) -> None:
    folder = tmp_path / "pack"
    pack(source, folder, size_px=8)
    np.save(folder / "labels.npy", np.array([object()]), allow_pickle=True)
    with pytest.raises(DataError, match="not a whole pack"):
        open_pack(folder)


def test_pack_with_a_label_out_of_range_is_refused(source: Source, tmp_path: Path) -> None:
    folder = tmp_path / "pack"
    pack(source, folder, size_px=8)
    description = json.loads((folder / "pack.json").read_text())
    description["class_names"] = ["bolts"]
    (folder / "pack.json").write_text(json.dumps(description))
    with pytest.raises(DataError, match="out of range 0 to 0"):
        open_pack(folder)


def test_subset_of_a_pack_keeps_the_order_asked_for(source: Source, tmp_path: Path) -> None:
    packed = pack(source, tmp_path / "pack", size_px=8)
    part = packed.subset(np.array([6, 2]))
    assert np.array_equal(part.images, packed.images[[6, 2]])
    assert part.labels.tolist() == packed.labels[[6, 2]].tolist()


def test_pack_is_found_again_in_the_cache(source: Source) -> None:
    folder = default_pack_folder(source, size_px=8)
    pack(source, folder, size_px=8)
    assert np.array_equal(open_pack(folder).labels, source.labels)


def test_packs_of_files_that_changed_are_removed_unless_they_are_open(
    write_layout: WriteLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = write_layout("folder")

    def pack_both(size_px: int) -> list[Path]:
        data = open_data(str(root))
        parts = (data.train, data.train.subset(np.arange(3)), data.val)
        folders = [default_pack_folder(part, size_px=size_px) for part in parts]
        for part, folder in zip(parts, folders, strict=True):
            pack(part, folder, size_px=size_px)
        return folders

    own = tmp_path / "own"
    pack(open_data(str(root)).train, own, size_px=8)
    first, larger = pack_both(8), pack_both(16)
    opened = open_pack(first[1])
    touch(root)
    later = pack_both(8)
    left = {path.parent for path in (tmp_path / "cache").rglob("pack.json")}
    assert left == {*later, first[1]}
    assert not left & {first[0], first[2], *larger}
    assert (own / "pack.json").is_file()
    del opened
    touch(root)
    pack(open_data(str(root)).train, own, size_px=8)
    assert first[1].exists()
    pack_both(8)
    assert not first[1].exists()


def pack_many(source: Source, folder: Path, barrier: Barrier, decoded: "Synchronized[int]") -> None:
    def pixels(index: int) -> np.ndarray:
        with decoded:
            decoded.value += 1
        return source.pixels(index)

    expected = square_pixels(source.pixels(0), size_px=8)
    counted = replace(source, pixels=pixels)
    for round_ in range(9):
        barrier.wait()
        packed = pack(replace(counted, digest=str(round_ // 3)), folder / str(round_ % 3), size_px=8)
        assert np.array_equal(packed.images[0], expected)


def test_processes_that_pack_the_same_at_once_all_have_it_and_decode_it_once(
    source: Source, tmp_path: Path
) -> None:
    context = get_context("fork")
    barrier, decoded = context.Barrier(4, timeout=20), context.Value("i", 0)
    arguments = (source, tmp_path / "packs", barrier, decoded)
    workers = [context.Process(target=pack_many, args=arguments) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert decoded.value == 9 * len(source)
    assert sorted(path.name for path in (tmp_path / "packs").iterdir()) == ["0", "1", "2"]


def test_whoever_waits_for_a_pack_may_stop_or_go_on(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ofa_nas.data.packed._WAIT_S", 0.0)
    first = pack_images(source, tmp_path / "pack", size_px=8)
    second = pack_images(source, tmp_path / "pack", size_px=8)
    next(first)
    assert [next(second).done for _ in range(3)] == [0, 0, 0]
    del first  # the last reference: the generator is closed
    assert [record.done for record in second][-1] == len(source)


def test_partial_pack_of_an_equal_process_id_is_left_alone(source: Source, tmp_path: Path) -> None:
    other = tmp_path / f".pack.partial-{os.getpid()}"  # of another container
    other.mkdir()
    (other / "images.npy").write_bytes(b"half")
    pack(source, tmp_path / "pack", size_px=8)
    assert (other / "images.npy").is_file()


def test_a_pack_that_is_replaced_stays_as_long_as_it_is_open(source: Source, tmp_path: Path) -> None:
    def files() -> list[Path]:
        return sorted(tmp_path.glob("*pack*/images.npy"))

    opened = pack(source, tmp_path / "pack", size_px=16)
    pack(source, tmp_path / "pack", size_px=8)
    aside, _ = files()
    pack(source, tmp_path / "pack", size_px=10)
    assert aside in files()
    del opened
    pack(source, tmp_path / "pack", size_px=12)
    assert files() == [tmp_path / "pack" / "images.npy"]


def test_a_folder_has_the_same_packs_however_it_is_spelled(
    write_layout: WriteLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_layout("folder")
    (tmp_path / "link").symlink_to(root)
    monkeypatch.chdir(root)
    spellings = (str(root), ".", "../folder", f"{root}/../folder", "../link", f"folder={root}")
    assert len({default_pack_folder(open_data(text).train, size_px=8) for text in spellings}) == 1


def touch(root: Path) -> None:
    for path in root.rglob("*.*"):
        time_ns = path.stat().st_mtime_ns + 1_000_000_000
        os.utime(path, ns=(time_ns, time_ns))


def test_a_pack_that_the_disk_has_no_room_for_is_refused_before_it_is_decoded(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = len(source) * 20 * 20 * 3
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=needed - 1))
    first_only = replace(source, pixels=lambda index: refuse(index) if index else source.pixels(index))
    with pytest.raises(DataError, match=r"images take 12 kB decoded, and 12 kB are free: free some, set XDG"):
        pack(first_only, tmp_path / "pack", size_px=20)
    assert not (tmp_path / "pack").exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=needed))
    pack(source, tmp_path / "pack", size_px=20)
