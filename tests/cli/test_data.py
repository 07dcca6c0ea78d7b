"""`ofa-nas data`; the law of the images is in tests/data."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from ofa_nas.data import synthetic
from tests.cli.conftest import Command

SMALL = ["--size-px", "16", "--count", "3", "--workers", "1"]
UNPICKLED = "class Odd(Exception):\n    def __init__(self, told, _):\n        super().__init__(told)\n"


@pytest.mark.parametrize(("generator", "mode"), [("dead-leaves", "mixed"), ("noise", None)])
def test_images_are_written_and_told(
    generator: str, mode: str | None, command: Command, tmp_path: Path
) -> None:
    out = tmp_path / "folder" / "out.npz"
    printed = command("data", generator, out, *SMALL, "--seed", "5", "--json")
    assert printed.status == 0
    assert printed.document["file"] == str(out)
    assert (printed.document["generator"], printed.document["mode"]) == (generator, mode)
    assert printed.document["bytes"] == out.stat().st_size
    with np.load(out, allow_pickle=False) as arrays:
        assert arrays["images"].shape == (3, 16, 16, 3)


def test_people_are_told_what_lies_where(command: Command, tmp_path: Path) -> None:
    printed = command("data", "dead-leaves", tmp_path / "out.npz", *SMALL, "--mode", "square")
    assert printed.status == 0
    assert "3 of 16 px (dead-leaves, square)" in printed.text
    assert f"file {tmp_path / 'out.npz'}" in printed.text


@pytest.mark.parametrize(
    ("generator", "flags", "message"),
    [
        ("clouds", [], "there is no 'clouds'; there are dead-leaves, noise"),
        ("dead-leaves", ["--mode", "star"], "--mode star: no mode of dead-leaves; expected mixed, circle"),
        ("noise", ["--mode", "mixed"], "it has no modes: leave --mode out"),
        ("noise", ["--count", "0"], "--count 0: expected 1 or more"),
        ("noise", ["--size-px", "2000"], "--size-px 2000: expected 8 to 1024"),
        ("noise", ["--workers", "0"], "--workers 0: expected 1 or more"),
        ("noise", ["--seed", "-1"], "--seed -1: expected 0 or more"),
    ],
)
def test_a_wrong_input_is_one_line_and_leaves_nothing(
    generator: str, flags: list[str], message: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    assert message in refused("data", generator, tmp_path / "out.npz", *SMALL, *flags)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_refused_first(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "expected the name of a .npz file" in refused("data", "noise", tmp_path / "out.png")
    (tmp_path / "file").touch()
    assert "is no folder" in refused("data", "noise", tmp_path / "file" / "out.npz")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("raised", "told"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("open('/no/texture')", "FileNotFoundError: [Errno 2] No such file or directory: '/no/texture'"),
        ("raise Odd('too dark', 3)", "Odd: too dark"),
    ],
)
def test_an_exception_of_a_generator_is_told_by_its_name_wherever_it_draws(
    raised: str,
    told: str,
    workers: int,
    refused: Callable[..., str],
    write_module: Callable[[str], str],
    tmp_path: Path,
) -> None:
    name = write_module(f"{UNPICKLED}MODES = ()\ndef paint(size_px, *, mode, rng):\n    {raised}\n")
    draw = ("data", name, tmp_path / "out" / "x.npz", "--count", "65", "--workers", workers)
    assert refused(*draw).startswith(f"error: {name} raised {told}")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.slow
def test_a_killed_worker_is_one_line_and_leaves_nothing(
    refused: Callable[..., str], write_module: Callable[[str], str], tmp_path: Path
) -> None:
    name = write_module(
        "import os\nMODES = ()\ndef paint(size_px, *, mode, rng):\n    os.kill(os.getpid(), 9)\n"
    )
    told = refused("data", name, tmp_path / "out" / "x.npz", "--count", "65", "--workers", "2")
    assert "a process that draws was killed, such as for want of memory; give fewer --workers than 2" in told
    assert not list((tmp_path / "out").iterdir())


def test_processes_that_cannot_be_started_are_not_blamed_on_the_file(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(synthetic, "ProcessPoolExecutor", refuse)
    told = refused("data", "noise", tmp_path / "out" / "x.npz", "--count", "65", "--workers", "2")
    assert "cannot start 2 processes that draw: Too many open files; give fewer --workers" in told
    assert not list((tmp_path / "out").iterdir())
