"""Whatever commands measure, they have the device to themselves meanwhile."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ofa_nas.devices import HOST
from ofa_nas.devices.host import Host
from tests.cli.conftest import Command
from tests.devices.test_quiet import is_taken
from tests.pipeline.simulated_board import ADDRESS, SimulatedBoard, simulated_table
from tests.small_supernet import SmallSupernet

Watch = Callable[[type, str, str], list[bool]]


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Has measurements of a class of devices look whether others must wait; the list is what they find."""

    def begin(kind: type, method: str, address: str) -> list[bool]:
        found: list[bool] = []
        plain = getattr(kind, method)

        def measure(*arguments: Any) -> Iterator[object]:
            found.append(is_taken(address))
            yield from plain(*arguments)

        monkeypatch.setattr(kind, method, measure)
        return found

    return begin


@pytest.mark.slow
def test_a_profile(command: Command, few: Path, watch: Watch) -> None:
    profiled, timed = watch(Host, "profile", HOST), watch(Host, "time", HOST)
    assert command("profile", "--space", few, "--rounds", "2").status == 0
    assert (profiled, timed) == ([True], [True])
    assert not is_taken(HOST)


@pytest.mark.campaign
def test_finalists_a_file_and_a_comparison(
    command: Command, small: SmallSupernet, tmp_path: Path, watch: Watch
) -> None:
    profiled, timed = watch(Host, "profile", HOST), watch(Host, "time", HOST)
    path = tmp_path / "subnet.onnx"
    own = ("--supernet", small.name)
    measured = ("--device", "rpi4", "--measure", "host", "--latency", "1s", "--finalists", "1")
    assert command("search", *own, *measured, "--export", path).status == 0
    assert (profiled, timed) == ([True], [True, True])
    assert command("verify", path, *own, "--device", "host").status == 0
    assert (profiled, timed) == ([True] * 2, [True] * 3)
    assert command("compare", path, *own, "--baseline", "smallest", "--images", "40").status == 0
    assert (profiled, timed) == ([True] * 2, [True] * 4)
    assert not is_taken(HOST)


def test_a_verification_of_a_table(command: Command, tmp_path: Path, watch: Watch) -> None:
    timed = watch(SimulatedBoard, "time", ADDRESS)
    path = tmp_path / "board.json"
    simulated_table().save(path)
    assert command("verify-table", path, "--device", ADDRESS).status == 0
    assert timed == [True]
    assert not is_taken(ADDRESS)
