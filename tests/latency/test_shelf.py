"""Tables that there are, and which of them a name means."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ofa_nas.devices import DeviceInfo
from ofa_nas.errors import ConfigError, TableError
from ofa_nas.latency.shelf import (
    Shelf,
    check_name,
    check_replaceable,
    default_name,
    find_table,
    named_table_path,
    put_on_shelf,
)
from ofa_nas.latency.table import LatencyTable
from ofa_nas.space.search_space import SearchSpace
from tests.pipeline.simulated_board import simulated_table


def file_of(name: str, *, precision: str | None = None, threads: int | None = None) -> Path:
    return find_table(name, precision=precision, threads=threads)[0]


def test_tables_are_found_by_name(tiny: SearchSpace) -> None:
    table = replace(simulated_table(), name="my-rpi4")
    first = named_table_path(tiny, "my-rpi4")
    table.save(first)
    first.with_name("broken.json").write_text("{}", encoding="utf-8")
    assert file_of("my-rpi4") == first
    assert file_of(str(first)) == first
    assert file_of("rpi4").name == "rpi4.json"
    with pytest.raises(TableError, match=r"my-rpi5: no such latency table; .*measured before: my-rpi4"):
        file_of("my-rpi5")
    with pytest.raises(TableError, match="rpi5 is a roofline"):
        file_of("rpi5")


def test_tables_of_one_name_are_told_apart_by_precision_and_threads(tiny: SearchSpace) -> None:
    table = replace(simulated_table(), name="my-rpi4")
    paths = {}
    for precision, threads in (("fp32", 1), ("fp32", 2), ("int8", 1)):
        path = named_table_path(tiny, "my-rpi4", precision=precision, threads=threads)
        device = replace(table.device, precision=precision, threads=threads)
        replace(table, device=device).save(path)
        paths[precision, threads] = path
    for (precision, threads), path in paths.items():
        assert file_of("my-rpi4", precision=precision, threads=threads) == path
    assert file_of("my-rpi4", threads=2) == paths["fp32", 2]
    with pytest.raises(TableError, match="my-rpi4: 2 of the tables of that name fit; choose by"):
        file_of("my-rpi4", precision="fp32")
    with pytest.raises(TableError, match=r"none of the tables .*-1t-int8\.json \(int8, 1 thread\)"):
        file_of("my-rpi4", threads=4)


def test_a_damaged_file_is_told_and_does_not_hide_the_others(tiny: SearchSpace) -> None:
    path, damaged = named_table_path(tiny, "my-board"), named_table_path(tiny, "my-other")
    replace(simulated_table(), name="my-board").save(path)
    damaged.write_text("{}", encoding="utf-8")
    shelf = Shelf.measured()
    assert (shelf.names, list(shelf.tables), list(shelf.damaged)) == (["my-board"], [path], [damaged])
    assert find_table("my-board", space=tiny)[0] == path
    with pytest.raises(TableError, match=rf"{damaged.name}: schema"):
        find_table("my-other", space=tiny)
    with pytest.raises(TableError, match=r"my-other: no such latency table; .* before: my-board"):
        find_table("my-other")


def test_of_one_name_the_table_of_the_space_is_found(tiny: SearchSpace) -> None:
    table = replace(simulated_table(), name="my-board")
    assert table.measured
    other = tiny.with_classes(99)
    first = named_table_path(tiny, "my-board")
    table.save(first)
    replace(table, held=replace(table.measured, digest=other.digest)).save(
        second := named_table_path(other, "my-board")
    )
    assert find_table("my-board", space=tiny)[0] == first
    assert find_table("my-board", space=other)[0] == second
    assert find_table("my-board", space=tiny.with_classes(7))[0] == min(first, second)


def test_names_of_other_tables_are_refused() -> None:
    with pytest.raises(ConfigError, match="choose one such as my-rpi4"):
        check_name("rpi4")
    with pytest.raises(ConfigError, match="choose one such as my-host"):
        check_name("host")


@pytest.mark.parametrize(
    ("address", "board", "name"),
    [
        ("host", "host", "host"),
        ("ssh://pi@raspberrypi.local", "raspberrypi-local", "raspberrypi-local"),
        ("ssh://pi@localhost:2222/usr/bin/python3", "localhost", "localhost-2222"),
        ("ssh://pi@localhost:2223", "localhost", "localhost-2223"),
        ("ssh://[fe80::12]", "fe80-12", "fe80-12"),
        ("host+openvino,device_id=x:1", "host-openvino-x-1-3e45f3e8", "host-openvino-x-1-3e45f3e8"),
        ("ssh+cuda://pi@localhost:2222", "localhost-cuda", "localhost-cuda-2222"),
    ],
)
def test_a_table_is_called_like_its_device_and_the_port(address: str, board: str, name: str) -> None:
    assert default_name(address, DeviceInfo(board, "none", 1, "none", {})) == name


@pytest.mark.parametrize(("address", "board"), [("ssh://rpi4", "rpi4"), ("ssh://host", "host")])
def test_an_alias_that_is_the_name_of_another_table_needs_a_name(address: str, board: str) -> None:
    with pytest.raises(ConfigError, match=f"ofa-nas profile --device {address} --name my-{board}"):
        default_name(address, DeviceInfo(board, "none", 1, "none", {}))


@pytest.mark.parametrize("name", ["", "-x", "../x", "a/b", "a b", "a\n", "ü", "x" * 65, "rpi4.json"])
def test_names_that_could_be_something_else_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="--name"):
        check_name(name)


def test_each_precision_and_number_of_threads_has_a_file_of_its_own(tiny: SearchSpace) -> None:
    paths = [
        named_table_path(tiny, "host", threads=threads, precision=precision)
        for threads in (1, 2)
        for precision in ("fp32", "int8")
    ]
    ends = ["1t", "1t-int8", "2t", "2t-int8"]
    assert [path.name for path in paths] == [f"host-tiny-{tiny.digest}-{end}.json" for end in ends]
    assert named_table_path(tiny, "host") == paths[0]


def other_table(
    *,
    seed: int = 1,
    address: str = "ssh://pi@board",
    runtime: str = "onnxruntime 1.31.1",
    clock: str = "wall",
    resolutions: tuple[int, ...] = (24, 32),
    **environment: object,
) -> LatencyTable:
    """A table of the simulated board, as it might be measured the next time."""
    table = simulated_table(seed=seed)
    held = table.measured
    assert held
    holdouts = tuple(one for one in held.holdouts if int(one.architecture.partition("/")[0]) in resolutions)
    held = replace(
        held,
        resolutions=resolutions,
        intercepts_ms=held.intercepts_ms[: len(resolutions)],
        holdouts=holdouts,
        protocol=replace(held.protocol, clock=clock),
        environment={**held.environment, **environment},
    )
    device = replace(table.device, runtime=runtime)
    return replace(table, device=device, held=held, error=held.errors()).measured_at(address)


def files_of(path: Path) -> list[str]:
    """What lies in the folder of a file and below it, with paths from there."""
    return sorted(str(one.relative_to(path.parent)) for one in path.parent.rglob("*") if one.is_file())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"resolutions": (24,)}, "the new one has no 32 px"),
        ({"cpu": "Cortex-A76"}, "cpu was 'Cortex-A72', is 'Cortex-A76'"),
        ({"address": "ssh://pi@second"}, "its address was board, it is second now"),
        ({"address": "", "host_name": "second"}, "its host name was pi, it is second now"),
        ({"runtime": "onnxruntime 1.32"}, "its runtime was onnxruntime 1.31.1, it is onnxruntime 1.32 now"),
        ({"clock": "cpu"}, "its clock was wall, it is cpu now"),
    ],
)
def test_a_table_that_tells_something_else_is_kept_aside(
    changes: dict[str, Any], told: str, tiny: SearchSpace, caplog: pytest.LogCaptureFixture
) -> None:
    path = named_table_path(tiny, "simulated")
    assert put_on_shelf(other_table(seed=0), path) is None
    before = path.read_bytes()
    aside = put_on_shelf(other_table(**changes), path)
    assert aside == path.parent / "superseded-1" / path.name
    assert aside.read_bytes() == before
    assert f"{path} is {aside} now: {told}" in caplog.text
    found, table = find_table("simulated")  # the other one is found by its path only
    assert (found, table.measured.seed if table.measured else 0) == (path, 1)


def test_what_is_kept_aside_stays(tiny: SearchSpace) -> None:
    path = named_table_path(tiny, "simulated")
    for runtime in ("onnxruntime 1.30", "onnxruntime 1.31.1", "onnxruntime 1.30"):  # two environments in turn
        put_on_shelf(other_table(runtime=runtime), path)
    assert files_of(path) == [path.name, f"superseded-1/{path.name}", f"superseded-2/{path.name}"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"address": "ssh://me@board/home/me/new/bin/python", "host_name": "renamed"},
        {"address": "", "governor": "powersave"},
    ],
)
def test_a_table_that_is_measured_again_leaves_nothing(
    changes: dict[str, Any], tiny: SearchSpace, caplog: pytest.LogCaptureFixture
) -> None:
    path = named_table_path(tiny, "simulated")
    put_on_shelf(other_table(seed=0), path)
    assert put_on_shelf(other_table(**changes), path) is None
    assert (files_of(path), caplog.text) == ([path.name], "")
    table = LatencyTable.load(path)
    assert table.measured
    assert table.measured.seed == 1


def test_a_table_of_a_newer_version_is_not_replaced(tiny: SearchSpace) -> None:
    path = named_table_path(tiny, "simulated")
    path.parent.mkdir(parents=True)
    path.write_text('{"schema": 99, "name": "simulated"}', encoding="utf-8")
    told = "schema 99: made by a newer ofa-nas, so it is not replaced"
    with pytest.raises(TableError, match=told):
        check_replaceable(path)
    with pytest.raises(TableError, match=told):
        put_on_shelf(other_table(), path)
    assert path.read_text(encoding="utf-8") == '{"schema": 99, "name": "simulated"}'


def test_a_damaged_table_is_kept_aside(tiny: SearchSpace, caplog: pytest.LogCaptureFixture) -> None:
    path = named_table_path(tiny, "simulated")
    path.parent.mkdir(parents=True)
    path.write_text("{", encoding="utf-8")
    put_on_shelf(other_table(), path)
    assert files_of(path) == [path.name, f"superseded-1/{path.name}"]
    assert "it cannot be read" in caplog.text
