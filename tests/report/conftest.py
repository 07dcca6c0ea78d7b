"""Documents of real searches, one of each kind that a report has to tell of."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ofa_nas.assets import find_asset
from ofa_nas.cli import main
from ofa_nas.errors import TableError
from ofa_nas.report.document import SearchDocument
from ofa_nas.report.reader import read_search
from tests.pipeline.simulated_board import ADDRESS, simulated_table
from tests.small_supernet import SmallSupernet

HOSTILE = '</script><img src="x" onerror="alert(1)">'


@dataclass(frozen=True, slots=True)
class Found:
    """What a search left, read as a report reads it."""

    path: Path

    @property
    def content(self) -> dict[str, Any]:
        """The JSON document."""
        content: dict[str, Any] = json.loads(self.path.read_text())
        return content

    @property
    def document(self) -> SearchDocument:
        """As a report reads it."""
        return read_search(self.path)


Write = Callable[[dict[str, Any]], Found]


@pytest.fixture(scope="session")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    """Quick searches: one device, two (one with a hostile name), a list of budgets, none, a goal."""
    folder = tmp_path_factory.mktemp("searches")
    table = json.loads(find_asset("latency_tables", "rpi4", suffix=".json", error=TableError).read_text())
    board = folder / "board.json"
    board.write_text(json.dumps(table | {"name": HOSTILE, "notes": [HOSTILE]}))
    device = ("--device", "rpi4", "--latency")
    searches = {
        "one": (*device, "30ms", "--peak-memory", "1.2MB"),
        "two": (*device, "25ms", "--device", str(board), "--latency", "30ms"),
        "list": (*device, "5,15,20,30ms"),
        "none": ("--macs", "100M"),
        "int8": ("--precision", "int8", "--peak-memory", "500kB"),
        "goal": ("--device", "rpi4", "--objective", "latency", "--accuracy", "65%"),
    }
    for name, arguments in searches.items():
        path = folder / f"{name}.json"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", ["ofa-nas", "search", *arguments])
            assert main(["search", *arguments, "--json-file", str(path)]) == 0
    return {name: Found(folder / f"{name}.json") for name in searches}


@pytest.fixture(scope="session")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """A search of a supernet whose weights did not come with it, on a device that others measured."""
    path = tmp_path_factory.mktemp("imagenet") / "search.json"
    search = ("search", "--supernet", "ofa-imagenet", "--device", "note10", "--latency", "25ms")
    assert main([*search, "--seeds", "2", "--json-file", str(path)]) == 0
    return Found(path)


@pytest.fixture(scope="session")
def measured(small: SmallSupernet, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """A search that timed finalists and evaluated candidates."""
    folder = tmp_path_factory.mktemp("measured")
    simulated_table().save(folder / "board.json")
    status = main(
        [
            "search", "--supernet", small.name, "--device", str(folder / "board.json"), "--latency", "1.8ms",
            "--measure", ADDRESS, "--data", str(small.data), "--images", "40",
            "--json-file", str(folder / "search.json"),
        ]
    )  # fmt: skip
    assert status == 0
    return Found(folder / "search.json")


@pytest.fixture(scope="session")
def exported(small: SmallSupernet, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """A search that left a file, and its checks."""
    folder = tmp_path_factory.mktemp("exported")
    search = ("search", "--supernet", small.name, "--macs", "1M", "--export", str(folder / "subnet.onnx"))
    assert main([*search, "--json-file", str(folder / "search.json")]) == 0
    return Found(folder / "search.json")


@pytest.fixture(scope="session")
def hostile(found: dict[str, Found], tmp_path_factory: pytest.TempPathFactory) -> Found:
    """A document whose names would be code if anything took them for it."""
    content = found["two"].content
    content["supernet"] = content["predictor"] = HOSTILE
    content["weights"]["data"] = f"{HOSTILE}\u2028"
    content["made_by"]["command"] = f"ofa-nas search {HOSTILE}"
    content["network"]["layers"][0]["name"] = HOSTILE
    content["network"]["layers"][0]["operators"][0]["name"] = HOSTILE
    path = tmp_path_factory.mktemp("hostile") / "search.json"
    path.write_text(json.dumps(content))
    return Found(path)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a document of the test's own."""

    def run(content: dict[str, Any]) -> Found:
        path = tmp_path / "search.json"
        path.write_text(json.dumps(content))
        return Found(path)

    return run
