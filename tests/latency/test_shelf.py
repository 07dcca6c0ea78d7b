"""Tables that there are, and which of them a name means."""

from dataclasses import replace
from pathlib import Path

import pytest

from ofa_nas.devices import DeviceInfo
from ofa_nas.errors import ConfigError, TableError
from ofa_nas.latency.shelf import Shelf, check_name, default_name, find_table, named_table_path
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
