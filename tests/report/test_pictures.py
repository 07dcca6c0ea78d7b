"""The pictures of the README can be made again, and stay small."""

import importlib.util
import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from ofa_nas.report.words import kernel_text
from ofa_nas.space.operators import size_unit

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
MOST_BYTES = 200_000


def test_the_pictures_that_are_kept_are_small() -> None:
    pictures = sorted(FOLDER.glob("*.svg")) + sorted(FOLDER.glob("*.png"))
    assert {path.name for path in pictures} >= {"front-light.svg", "front-dark.svg"}
    assert all(path.stat().st_size < MOST_BYTES for path in pictures)


@pytest.mark.campaign
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_pictures_can_be_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["show_off.py"])
    spec = importlib.util.spec_from_file_location("show_off", FOLDER / "show_off.py")
    assert spec
    assert spec.loader
    show_off = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(show_off)
    written = show_off.draw(tmp_path)
    names = {"front-light.svg", "front-dark.svg"}
    names |= {"report-light.png", "report-dark.png"} if shutil.which("chromium") else set()
    assert {path.name for path in written} == names
    assert all(path.stat().st_size < MOST_BYTES for path in written)
    titles = [
        ET.parse(tmp_path / name).getroot().findtext("{*}title") for name in sorted(names) if "svg" in name
    ]
    assert titles == ["efficientnet_lite: accuracy and latency on rpi4"] * 2


def test_kernels_and_sizes_of_signals_are_told_along_one_axis() -> None:
    assert (kernel_text(5, 2), kernel_text(5, 1)) == ("5x5", "1x5")
    assert (size_unit(2), size_unit(1)) == ("px", "samples")
