"""Files of synthetic images: image by image the same, whole or not there."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ofa_nas.data.generators import load_generator
from ofa_nas.data.synthetic import SyntheticImages, write_synthetic
from ofa_nas.data.unlabelled import open_unlabelled
from ofa_nas.errors import ConfigError, DataError


def plan(count: int, *, generator: str = "dead-leaves", seed: int = 4, size_px: int = 16) -> SyntheticImages:
    return SyntheticImages.plan(generator, mode=None, count=count, size_px=size_px, seed=seed)


def write(images: SyntheticImages, path: Path, *, workers: int = 1) -> bytes:
    assert list(write_synthetic(images, path, workers=workers))[-1] == images.count
    return path.read_bytes()


def read(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with np.load(path, allow_pickle=False) as arrays:
        return np.asarray(arrays["images"])


def test_an_image_follows_from_seed_and_number_alone(tmp_path: Path) -> None:
    write(plan(70), tmp_path / "many.npz")
    write(plan(3), tmp_path / "few.npz")
    many, few = read(tmp_path / "many.npz"), read(tmp_path / "few.npz")
    assert many.shape == (70, 16, 16, 3)
    assert np.array_equal(many[:3], few)
    assert np.array_equal(many[69], plan(1).image(69))
    assert len({image.tobytes() for image in many}) == 70
    assert not np.array_equal(few[1], plan(1, seed=5).image(1))


@pytest.mark.slow
def test_the_number_of_workers_changes_no_byte(tmp_path: Path) -> None:
    alone = write(plan(150), tmp_path / "alone.npz")
    assert write(plan(150), tmp_path / "together.npz", workers=2) == alone


@pytest.mark.slow
def test_a_killed_writer_leaves_no_file_and_no_process(tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    command = ["data", "dead-leaves", str(out), "--count", "100000", "--size-px", "64", "--workers", "2"]
    process = subprocess.Popen([sys.executable, "-m", "ofa_nas", *command], start_new_session=True)
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size > 100_000 for path in tmp_path.glob(".out.npz.*.tmp")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    while True:  # the workers see that their parent is gone
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            break
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_noise_is_uniform_and_independent(tmp_path: Path) -> None:
    write(plan(64, generator="noise", size_px=32), tmp_path / "noise.npz")
    pixels = read(tmp_path / "noise.npz").astype(float) / 255.0
    assert pixels.mean() == pytest.approx(0.5, abs=0.01)
    assert pixels.std() == pytest.approx(12**-0.5, abs=0.01)
    neighbours = np.corrcoef(pixels[:, :, 1:].ravel(), pixels[:, :, :-1].ravel())[0, 1]
    assert abs(neighbours) < 0.01


@pytest.mark.parametrize(
    ("generator", "mode", "size_px", "count", "message"),
    [
        ("dead-leaves", "star", 32, 1, "--mode star: no mode of dead-leaves; expected mixed, circle"),
        ("noise", "mixed", 32, 1, "no mode of noise; it has no modes: leave --mode out"),
        ("nonsense", None, 32, 1, "there is no 'nonsense'; there are dead-leaves, noise"),
        ("dead-leaves", None, 4, 1, "--size-px 4: expected 8 to 1024"),
        ("dead-leaves", None, 32, 0, "--count 0: expected 1 or more"),
        ("os.path", None, 32, 1, "not a generator: the module lacks MODES, paint"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    generator: str, mode: str | None, size_px: int, count: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message.replace(".", r"\.")):
        SyntheticImages.plan(generator, mode=mode, count=count, size_px=size_px, seed=0)


def test_a_generator_of_ones_own_is_found_by_its_path() -> None:
    assert load_generator("ofa_nas.data.generators.noise").MODES == ()


def test_what_pretraining_takes_is_told(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("a,b\n")
    with pytest.raises(
        ConfigError, match=r"is a file; .* without labels, an \.npz file of ofa-nas data or a"
    ):
        open_unlabelled(str(tmp_path / "data.csv"))


def test_a_file_is_opened_without_labels(tmp_path: Path) -> None:
    write(plan(5), tmp_path / "leaves.npz")
    opened = open_unlabelled(str(tmp_path / "leaves.npz"))
    assert (opened.name, len(opened.source), opened.source.size_px) == ("leaves.npz", 5, 16)
    assert np.array_equal(opened.source.pixels(2), plan(5).image(2))


def test_a_folder_of_images_needs_no_classes(tmp_path: Path) -> None:
    for index in range(3):
        Image.new("RGB", (20 + index, 30), (index, 0, 0)).save(tmp_path / f"{index}.png")
    opened = open_unlabelled(str(tmp_path))
    assert (len(opened.source), opened.source.size_px) == (3, 21)
    assert opened.source.pixels(2)[0, 0].tolist() == [2, 0, 0]


def test_of_a_labelled_data_set_the_training_images_are_taken(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("val", 1)):
        for name in ("a", "b"):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                Image.new("RGB", (16, 16)).save(folder / f"{index}.png")
    assert len(open_unlabelled(str(tmp_path)).source) == 6


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": np.zeros(3)}, "no array 'images'; it holds pictures"),
        (
            {"images": np.zeros((2, 8, 9, 3), np.uint8)},
            r"images is uint8 \(2, 8, 9, 3\), not uint8 \(n, S, S, 3\)",
        ),
        ({"images": np.zeros((2, 8, 8, 3))}, r"images is float64"),
        ({"images": np.zeros((0, 8, 8, 3), np.uint8)}, "holds no image"),
    ],
)
def test_a_file_of_something_else_is_refused(
    arrays: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]], message: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "x.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=message):
        open_unlabelled(str(tmp_path / "x.npz"))


def test_a_missing_or_damaged_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.npz: no such file; ofa-nas data writes one"):
        open_unlabelled(str(tmp_path / "none.npz"))
    content = write(plan(5), tmp_path / "x.npz")
    (tmp_path / "x.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"x\.npz: not a whole npz file"):
        open_unlabelled(str(tmp_path / "x.npz"))


def test_processes_are_never_far_ahead_of_the_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Threads(ThreadPoolExecutor):
        def __init__(self, workers: int, _context: object, *, initializer: object) -> None:
            assert initializer
            super().__init__(workers)

        def submit(self, function: Any, /, *arguments: Any, **options: Any) -> Any:
            asked.append(1)
            return super().submit(function, *arguments, **options)

    monkeypatch.setattr("ofa_nas.data.synthetic.ProcessPoolExecutor", Threads)
    images = SyntheticImages.plan("noise", mode=None, count=1279, size_px=8, seed=0)
    ahead = [
        len(asked) - -(-done // 64) for done in write_synthetic(images, tmp_path / "many.npz", workers=2)
    ]
    assert len(ahead) == len(asked) == 20
    assert max(ahead) <= 4
    *_, last = write_synthetic(images, tmp_path / "one.npz")
    assert last == 1279
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "many.npz").read_bytes()
