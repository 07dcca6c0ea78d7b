"""`ofa-nas data`; the law of the images is in tests/data."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Command

SMALL = ["--size-px", "16", "--count", "3", "--workers", "1"]


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
