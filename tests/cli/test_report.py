"""`ofa-nas report` and `search --report`, from the arguments to the files."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

from tests.cli.conftest import Command
from tests.small_supernet import SmallSupernet

Refused = Callable[..., str]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="session")
def searched(small: SmallSupernet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The document of a small search, as a user would leave it."""
    from ofa_nas.cli import main

    path = tmp_path_factory.mktemp("searched") / "search.json"
    assert main(["search", "--supernet", small.name, "--macs", "1M", "--json-file", str(path)]) == 0
    return path


def test_a_search_leaves_a_page_beside_what_it_prints(
    command: Command, small: SmallSupernet, tmp_path: Path
) -> None:
    page = tmp_path / "out.html"
    search = ("search", "--supernet", small.name, "--macs", "1M", "--report", page)
    printed = command(*search)
    assert printed.status == 0
    assert f"report {page}" in printed.text
    document = command(*search, "--json").document
    assert document["architecture"] in page.read_text()
    assert command("search", "--supernet", small.name, "--macs", "500k,1M", "--report", page).status == 0
    assert "One network for each budget" in page.read_text()


def test_a_file_and_its_folder_give_the_same_page(command: Command, searched: Path, tmp_path: Path) -> None:
    copy = tmp_path / "search.json"
    copy.write_bytes(searched.read_bytes())
    assert command("report", copy).text == f"page {tmp_path / 'search.html'}"
    assert command("report", tmp_path, "--json").document == {
        "page": str(tmp_path / "report.html"),
        "plot": None,
    }
    assert (tmp_path / "search.html").read_text() == (tmp_path / "report.html").read_text()


def test_the_front_is_a_picture_too(command: Command, searched: Path, tmp_path: Path) -> None:
    svg, png = tmp_path / "front.svg", tmp_path / "front.png"
    assert command("report", searched, "--plot", svg).text == f"plot {svg}"
    assert command("report", searched, "--plot", png, "--dark").status == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["front.png", "front.svg"]
    front = json.loads(searched.read_text())["front"]
    assert len(list(ET.parse(svg).getroot().iter(f"{SVG}circle"))) == len(front)
    image = Image.open(png).convert("RGB")
    assert image.size == (1520, 880)
    pixel = image.getpixel((4, 4))
    assert isinstance(pixel, tuple)
    assert max(pixel) < 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.json",), "nowhere.json: cannot be read"),
        (("SEARCH", "--output", "page.pdf"), "expected the name of a .html file"),
        (("SEARCH", "--output", "FOLDER.html"), "it is a folder"),
        (("SEARCH", "--plot", "front.pdf"), "--plot front.pdf: expected the name of an .svg or a .png file"),
        (("SEARCH", "--dark"), "--dark is for the picture: add --plot"),
        (("CARD",), "not the document of a search"),
        (("FOLDER.html",), "no search.json in this folder"),
    ],
)
def test_a_wrong_input_is_one_line(
    arguments: tuple[str, ...],
    message: str,
    refused: Refused,
    searched: Path,
    small: SmallSupernet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FOLDER.html").mkdir()
    places = {"SEARCH": str(searched), "CARD": str(small.files.card)}
    assert message in refused("report", *(places.get(one, one) for one in arguments))
    assert [path.name for path in tmp_path.iterdir()] == ["FOLDER.html"]


def test_without_plotly_nothing_is_searched(
    refused: Refused, command: Command, searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "ofa_nas.report.page.find_spec", lambda name: None if name == "plotly" else find(name)
    )
    message = "a report needs the package plotly: pip install 'ofa-nas[report]'"
    page = tmp_path / "page.html"
    assert message in refused("search", "--supernet", "nowhere", "--report", page)
    assert message in refused("report", searched, "--output", page)
    assert command("report", searched, "--plot", tmp_path / "front.png").status == 0


def test_the_picture_needs_no_library_for_pages(searched: Path, tmp_path: Path) -> None:
    program = f"""
import sys
from ofa_nas.cli import main
assert main(["report", {str(searched)!r}, "--plot", {str(tmp_path / "front.svg")!r}]) == 0
found = {{"plotly", "torch", "onnx", "onnxruntime", "optuna"}} & set(sys.modules)
assert not found, found
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, stdout=subprocess.DEVNULL)
