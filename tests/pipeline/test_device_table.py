"""What a user calls a device: addresses, shipped names, names of tables measured before, paths."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

import ofa_nas.pipeline.tables.device_table
from ofa_nas.devices import Device, MeasuringProtocol, open_device
from ofa_nas.devices.host import Host
from ofa_nas.devices.quiet import quiet
from ofa_nas.errors import ConfigError, DeviceError, TableError
from ofa_nas.latency.profile import profile_device
from ofa_nas.latency.shelf import named_table_path
from ofa_nas.latency.table import LatencyTable
from ofa_nas.pipeline.tables.device_table import device_table
from ofa_nas.space.search_space import SearchSpace
from tests.devices.test_quiet import LONG_S, Elsewhere, wait_for
from tests.pipeline.simulated_board import ADDRESS, SPACE, simulated_table

FAST = MeasuringProtocol(rounds=2, max_rounds=2, visit_ms=0.0, retries=0, profile_runs=5, profile_sittings=1)


def find(text: str, space: SearchSpace, *, threads: int = 1) -> LatencyTable:
    *_, table = device_table(text, space, threads=threads)
    assert isinstance(table, LatencyTable)
    return table


@pytest.fixture(scope="module")
def measured(tiny: SearchSpace) -> LatencyTable:
    records = profile_device(open_device("host"), tiny, protocol=FAST, resolutions=[24], name="my-rpi4")
    *_, table = records
    assert isinstance(table, LatencyTable)
    return table


def test_a_table_measured_before_is_found_by_its_name(measured: LatencyTable, tiny: SearchSpace) -> None:
    assert measured.name == "my-rpi4"
    measured.save(named_table_path(tiny, "my-rpi4"))
    assert find("my-rpi4", tiny).device == measured.device


def test_a_table_of_another_space_or_other_threads_says_so(measured: LatencyTable, tiny: SearchSpace) -> None:
    path = named_table_path(tiny, "my-rpi4")
    measured.save(path)
    with pytest.raises(TableError, match="was measured with 1 thread, not 2"):
        find("my-rpi4", tiny, threads=2)
    with pytest.raises(TableError, match="was measured for tiny with 10 classes"):
        find("my-rpi4", tiny.with_classes(99))
    with pytest.raises(TableError, match=r"no such latency table; .*rpi4.*; measured before: my-rpi4"):
        find("my-rpi5", tiny)
    assert find(str(path), tiny).name == "my-rpi4"


def test_names_of_boards_and_of_spaces_may_have_hyphens(measured: LatencyTable, tiny: SearchSpace) -> None:
    space = replace(tiny.with_classes(99), name="my-space")
    assert measured.measured
    rows = replace(measured.measured, space=space.name, digest=space.digest, classes=99)
    replace(measured, name="my-board", held=rows).save(named_table_path(space, "my-board"))
    assert find("my-board", space).name == "my-board"
    with pytest.raises(TableError, match="my-board was measured for my-space with 99 classes"):
        find("my-board", tiny)
    with pytest.raises(TableError, match="; measured before: my-board; or give the path"):
        find("my-board-my", tiny)


def test_a_shipped_table_is_found_by_its_name(tiny: SearchSpace) -> None:
    assert find("rpi4", tiny).provenance == "estimated"


def test_an_address_is_a_device_and_no_table(tiny: SearchSpace) -> None:
    with pytest.raises(DeviceError, match="is no address of a board"):
        find("ssh://-oProxyCommand=reboot", tiny)
    with pytest.raises(DeviceError, match="there is no 'toaster://kitchen'"):
        find("toaster://kitchen", tiny)


def test_a_fresh_table_of_this_machine_is_not_measured_again(
    measured: LatencyTable, tiny: SearchSpace
) -> None:
    small = replace(tiny, resolutions=(24,))
    assert measured.measured
    table = replace(measured, name="host", held=replace(measured.measured, digest=small.digest))
    table.save(named_table_path(small, "host"))
    assert [type(record) for record in device_table("host", small)] == [LatencyTable]


def change_on_shelf(
    table: LatencyTable, *, runtime: str = "", resolutions: tuple[int, ...] = (), **environment: object
) -> LatencyTable:
    """Keep a table of the simulated board that is not quite the one that was measured."""
    assert table.measured
    held = replace(table.measured, environment={**table.measured.environment, **environment})
    if resolutions:
        left = tuple(one for one in held.holdouts if int(one.architecture.partition("/")[0]) in resolutions)
        intercepts = held.intercepts_ms[: len(resolutions)]
        held = replace(held, resolutions=resolutions, holdouts=left, intercepts_ms=intercepts)
    device = replace(table.device, runtime=runtime or table.device.runtime)
    changed = replace(table, held=held, device=device, error=held.errors())
    changed.save(named_table_path(SPACE, table.name))
    return changed


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The simulated board is measured in no time; what was measured, by the names of the tables."""
    names: list[str] = []

    def measure(device: Device, *_: object, name: str, **__: object) -> Iterator[LatencyTable]:
        names.append(name)
        table, info = simulated_table(seed=len(names)), device.info()
        assert table.measured
        held = replace(table.measured, environment=info.environment)
        yield replace(table, name=name, held=held, device=replace(table.device, runtime=info.runtime))

    monkeypatch.setattr(ofa_nas.pipeline.tables.device_table, "profile_device", measure)
    return names


def test_a_table_tells_at_which_address_it_was_measured(quick: list[str]) -> None:
    assert find(f"{ADDRESS}speed=2", SPACE).address == f"{ADDRESS}speed=2"
    assert LatencyTable.load(named_table_path(SPACE, "simulated")).address == f"{ADDRESS}speed=2"
    assert find(ADDRESS, SPACE).address == f"{ADDRESS}speed=2"  # the same board
    assert quick == ["simulated"]


def test_a_container_with_another_host_name_measures_nothing_again(
    quick: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    change_on_shelf(find(ADDRESS, SPACE), host_name="f3a1b2c4d5e6")
    find(ADDRESS, SPACE)
    assert (quick, caplog.text) == (["simulated"], "")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"cpu": "another"}, "cpu was 'another', is 'Cortex-A72'"),
        ({"runtime": "onnxruntime 1.30"}, "its runtime was onnxruntime 1.30, it is onnxruntime 1.31.1 now"),
        ({"resolutions": (24,)}, "it has no 32 px"),
    ],
)
def test_who_measures_anew_is_told_why(
    changes: dict[str, Any], told: str, quick: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    change_on_shelf(find(ADDRESS, SPACE), **changes)
    find(ADDRESS, SPACE)
    assert quick == ["simulated"] * 2
    assert f".json of 2026-11-22 is not used: {told}; it is measured anew" in caplog.text


@pytest.mark.usefixtures("quick")
def test_a_table_of_another_runtime_is_kept_aside() -> None:
    """Two environments on a board share a name."""
    path = named_table_path(SPACE, "simulated")
    change_on_shelf(find(ADDRESS, SPACE), runtime="onnxruntime 1.30")
    find(ADDRESS, SPACE)
    assert LatencyTable.load(path).device.runtime == "onnxruntime 1.31.1"
    aside = path.parent / "superseded-1" / path.name
    assert LatencyTable.load(aside).device.runtime == "onnxruntime 1.30"


def test_what_a_newer_version_measured_is_refused_before_anything_is_measured(quick: list[str]) -> None:
    find(ADDRESS, SPACE)
    path = named_table_path(SPACE, "simulated")
    newer = path.read_text(encoding="utf-8").replace('"schema": 1,', '"schema": 2,')
    path.write_text(newer, encoding="utf-8")
    with pytest.raises(TableError, match="schema 2: made by a newer ofa-nas, so it is not replaced"):
        find(ADDRESS, SPACE)
    assert (quick, path.read_text(encoding="utf-8")) == (["simulated"], newer)


def test_who_waited_for_another_takes_the_table_that_was_measured_meanwhile(
    measured: LatencyTable, tiny: SearchSpace, caplog: pytest.LogCaptureFixture
) -> None:
    small = replace(tiny, resolutions=(24,))
    assert measured.measured
    table = replace(measured, name="host", held=replace(measured.measured, digest=small.digest))
    other = Elsewhere(lambda: quiet("host"))
    assert other.has_it.wait(LONG_S)
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(lambda: list(device_table("host", small)))
        wait_for(lambda: "waiting for another measurement on this machine" in caplog.text)
        table.save(named_table_path(small, "host"))
        other.let_go()
        assert [type(record) for record in found.result()] == [LatencyTable]


@pytest.mark.parametrize("address", ["ssh://rpi4", "ssh://host"])
def test_a_board_that_is_called_like_another_table_is_not_measured(
    address: str, tiny: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = replace(open_device("host").info(), name=address.removeprefix("ssh://"))
    monkeypatch.setattr(Host, "info", lambda _: info)
    monkeypatch.setattr(ofa_nas.pipeline.tables.device_table, "open_device", lambda _: Host())
    with pytest.raises(ConfigError, match=f"ofa-nas profile --device {address} --name my-"):
        find(address, tiny)
