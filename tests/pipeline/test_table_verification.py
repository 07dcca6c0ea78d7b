"""A verification from the table's file to its history, on a board that is as fast as its roofline says."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from ofa_nas.assets import asset_folder
from ofa_nas.devices import open_device
from ofa_nas.errors import ConfigError, DeviceError, SpaceError, TableError
from ofa_nas.latency import table_writer
from ofa_nas.latency.shelf import named_table_path
from ofa_nas.latency.table import LatencyTable
from ofa_nas.pipeline.tables.device_table import device_table
from ofa_nas.pipeline.tables.table_verification import (
    Plan,
    Verified,
    keep_verification,
    plan_verification,
    verify_table,
)
from ofa_nas.space.layer import Layer
from ofa_nas.space.search_space import SearchSpace
from tests.pipeline.simulated_board import ADDRESS, GAIN, SPACE, simulated_table, with_prices


def save(path: Path, table: LatencyTable) -> Path:
    table.save(path)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return save(tmp_path / "board.json", simulated_table())


def plan_on(path: Path, behaviour: str = "", *, seed: int = 0) -> Plan:
    return plan_verification(str(path), device=f"{ADDRESS}{behaviour}", seed=seed)


def verify(path: Path, behaviour: str = "", *, seed: int = 0) -> Verified:
    plan = plan_on(path, behaviour, seed=seed)
    *_, found = verify_table(plan)
    assert isinstance(found, Verified)
    keep_verification(plan, found.verification)
    return found


def broken(found: Verified) -> set[str]:
    return {one.name for one in found.verification.criteria if not one.is_met}


def test_an_honest_table_passes(path: Path) -> None:
    found = verify(path)
    assert broken(found) == set()
    assert found.verification.stale == ()
    assert found.verification.speed == pytest.approx(1.0, abs=0.01)
    assert list(found.references.values()) == pytest.approx([1.0] * len(found.references), abs=0.01)
    assert found.references
    assert found.verification.table.mape < 0.01
    assert {"missing", "non-positive"}.isdisjoint(finding.rule for finding in found.findings)


def test_prices_of_a_faster_board_fail(path: Path) -> None:
    table = simulated_table()
    assert table.measured
    wrong = with_prices(table, [1.3 * row.ms for row in table.measured.rows])
    found = verify(save(path, wrong))
    assert {"bias", "within_10", "within_5"} <= broken(found)
    assert 0.1 < found.verification.table.bias < 0.3  # a constant is there too


def test_shuffled_prices_fail(path: Path) -> None:
    table = simulated_table()
    assert table.measured
    prices = np.random.default_rng(0).permutation([row.ms for row in table.measured.rows])
    assert "spearman" in broken(verify(save(path, with_prices(table, prices.tolist()))))


def without(path: Path, missing: Layer) -> Path:
    table = LatencyTable.load(path)
    assert table.measured
    rows = tuple(row for row in table.measured.rows if row.layer != missing)
    assert len(rows) == len(table.measured.rows) - 1
    return save(path, replace(table, held=replace(table.measured, rows=rows)))


def test_a_layer_that_fresh_networks_need_is_missed_before_anything_is_timed(path: Path) -> None:
    layer = next(SPACE.layers(plan_on(path).networks[0]))
    with pytest.raises(TableError, match=r"layer stem .* is not in it"):
        verify(without(path, layer), "break_at=1")


def test_a_layer_that_no_fresh_network_needs_fails_by_the_lint(path: Path) -> None:
    for seed in range(20):
        needed = {layer for arch in plan_on(path, seed=seed).networks for layer in SPACE.layers(arch)}
        table = LatencyTable.load(path).measured
        assert table
        unneeded = [row.layer for row in table.rows if row.layer not in needed]
        if unneeded:
            break
    found = verify(without(path, unneeded[0]), seed=seed)
    assert broken(found) == {"lint"}
    assert found.verification.lint[0].startswith("missing: 1 layers of tiny have no row")


def test_a_slower_board_makes_the_table_stale_and_its_shares_stay_right(path: Path) -> None:
    found = verify(path, "speed=1.2")
    assert found.verification.passed
    (reason,) = found.verification.stale
    assert "times as long as they did" in reason
    assert found.verification.speed == pytest.approx(1.2, abs=0.01)


def test_another_governor_is_stale_and_fails(path: Path) -> None:
    found = verify(path, "governor=powersave")
    assert broken(found) == {"environment"}
    assert found.verification.stale == ("governor was 'performance', is 'powersave'",)


def test_no_network_is_one_that_the_table_knows(path: Path) -> None:
    table = LatencyTable.load(path)
    assert table.measured
    drawn = [str(arch) for seed in range(5) for arch in plan_on(path, seed=seed).networks]
    known = {*table.measured.fitted, *(one.architecture for one in table.measured.holdouts)}
    assert len(known) > 40
    assert known.isdisjoint(drawn)
    assert len(set(drawn)) > 60


def test_history_grows_and_a_stopped_run_leaves_it_alone(path: Path) -> None:
    verify(path)
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        verify(path, "break_at=30")
    assert path.read_bytes() == before
    verify(path, "speed=1.1", seed=1)
    first, second = LatencyTable.load(path).history
    assert (first.stale, bool(second.stale)) == ((), True)
    assert {one.architecture for one in first.networks} != {one.architecture for one in second.networks}
    assert (first.device, first.made_by["seed"], second.made_by["seed"]) == (ADDRESS, 0, 1)
    assert not list(path.parent.glob(".*"))


def test_verifications_that_end_together_are_all_kept(path: Path) -> None:
    plan = plan_on(path)
    *_, found = verify_table(plan)
    assert isinstance(found, Verified)
    verification = found.verification
    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(keep_verification, plan, verification) for _ in range(9)]:
            done.result()
    kept = [one.to_json() for one in LatencyTable.load(path).history]
    assert kept == [verification.to_json()] * 9
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_a_table_is_not_replaced_while_a_verification_is_added(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written over it meanwhile waits, and is what stays."""
    plan = plan_on(path)
    *_, found = verify_table(plan)
    assert isinstance(found, Verified)
    other = simulated_table(seed=1)
    write, savers = table_writer.write_document, []

    def write_late(document: Mapping[str, Any], to: Path) -> None:
        if "history" in document:
            savers.append(Thread(target=other.save, args=(to,)))
            savers[0].start()
            savers[0].join(0.5)  # it has the time that it needs, unless it waits
        write(document, to)

    monkeypatch.setattr(table_writer, "write_document", write_late)
    keep_verification(plan, found.verification)
    savers[0].join()
    kept = LatencyTable.load(path)
    assert (kept.measured.seed if kept.measured else 0, kept.history) == (1, ())


def test_a_link_to_a_table_stays_one(path: Path) -> None:
    link = path.with_name("link.json")
    link.symlink_to(path)
    verify(link)
    assert link.is_symlink()
    assert len(LatencyTable.load(path).history) == 1


def test_a_provider_is_refused_that_is_not_the_measured_tables(path: Path) -> None:
    """What an estimated one is of, nobody knows: rooflines may be of a GPU."""
    address = ADDRESS.replace("://", "+cuda://")
    with pytest.raises(TableError, match=r"is of the CPU, and the address that is to be timed of cuda"):
        list(verify_table(plan_verification(str(path), device=address, seed=0)))
    *_, found = verify_table(plan_verification("rpi4", device=address, space="tiny", seed=0))
    assert isinstance(found, Verified)
    assert found.verification.device == address


def test_an_estimated_table_is_verified_where_it_is_told_and_is_not_held_against_macs() -> None:
    plan = plan_verification("rpi4", device=ADDRESS, space="tiny", seed=0)
    *_, found = verify_table(plan)
    assert isinstance(found, Verified)
    assert found.verification.speed is None
    assert {one.name for one in found.verification.criteria} == {
        "within_10",
        "within_5",
        "bias",
        "spearman",
        "lint",
    }
    before = (asset_folder("latency_tables") / "rpi4.json").read_bytes()
    assert keep_verification(plan, found.verification) is None
    assert (asset_folder("latency_tables") / "rpi4.json").read_bytes() == before


def test_a_table_that_does_not_tell_its_threads_is_verified_with_any_number() -> None:
    took = []
    for threads in (None, 1, 4):
        plan = plan_verification("rpi4", device=ADDRESS, space="tiny", threads=threads, seed=0)
        *_, found = verify_table(plan)
        assert isinstance(found, Verified)
        took.append(sum(one.measured_ms for one in found.verification.networks))
    assert took == pytest.approx([took[0], took[0], took[0] / GAIN[4]], rel=0.01)
    with pytest.raises(ConfigError, match="--threads 0: expected 1 or more"):
        plan_verification("rpi4", device=ADDRESS, space="tiny", threads=0, seed=0)


def test_the_table_of_int8_networks_is_the_one_that_a_search_takes(tiny: SearchSpace) -> None:
    plan = plan_verification("rpi4", device=ADDRESS, space="tiny", precision="int8", seed=0)
    *_, searched = device_table("rpi4", tiny, precision="int8")
    assert isinstance(searched, LatencyTable)
    assert plan.table.name == searched.name == "rpi4_int8"


def test_a_table_without_a_device_says_what_to_pass() -> None:
    with pytest.raises(TableError, match=r"rpi4 is estimated: there is nothing to verify it on"):
        plan_verification("rpi4", space="tiny", seed=0)
    with pytest.raises(TableError, match="note10 is imported: there is nothing to verify it on"):
        plan_verification("note10", seed=0)
    with pytest.raises(ConfigError, match="rpi4 is estimated and prices any space"):
        plan_verification("rpi4", device="host", seed=0)


def told_by(path: Path, **made_by: str) -> Path:
    table = simulated_table()
    return save(path, replace(table, made_by={**table.made_by, **made_by}))


def test_the_device_is_the_one_that_the_table_was_measured_on(path: Path) -> None:
    told_by(path, command="ofa-nas profile --device ssh://pi@board --name my-rpi4")
    assert plan_verification(str(path), seed=0).address == "ssh://pi@board"
    told_by(path, command="ofa-nas profile --device=ssh://pi@other")
    assert plan_verification(str(path), seed=0).address == "ssh://pi@other"
    verify(path)
    document = json.loads(path.read_text(encoding="utf-8"))
    document["history"][0]["device"] = "ssh://pi@later"
    path.write_text(json.dumps(document), encoding="utf-8")
    assert plan_verification(str(path), seed=0).address == "ssh://pi@later"
    document["history"][0]["changes"] = ["cpu was 'a', is 'b'"]  # of another board, then
    path.write_text(json.dumps(document), encoding="utf-8")
    assert plan_verification(str(path), seed=0).address == "ssh://pi@other"


def test_a_table_of_several_devices_is_not_verified_on_the_first_board_of_its_command(path: Path) -> None:
    """One search measures a table for each of its devices, and all of them have its command."""
    told_by(path, command="ofa-nas search --device host --latency 9ms --device ssh://pi@other --latency 9ms")
    with pytest.raises(TableError, match=r"was measured on another machine .* pass --device"):
        plan_verification(str(path), seed=0)
    told_by(path, command="ofa-nas search --device=host --device=ssh://pi@other", address="ssh://pi@own")
    assert plan_verification(str(path), seed=0).address == "ssh://pi@own"
    told_by(path, command="ofa-nas search --device host --device ssh://pi@other", address="host")
    with pytest.raises(TableError, match="was measured on another machine"):
        plan_verification(str(path), seed=0)


@pytest.mark.parametrize("key", ["board", "cpu", "cores", "architecture"])
def test_a_good_table_is_not_judged_by_another_machine(key: str, path: Path) -> None:
    table = simulated_table()
    assert table.measured
    environment = {**table.measured.environment, key: "another"}
    save(path, replace(table, held=replace(table.measured, environment=environment)))
    with pytest.raises(TableError, match=f"another machine than the one that is to be timed: {key} was"):
        verify(path, "break_at=1")
    assert LatencyTable.load(path).history == ()


def test_this_machine_is_known_by_its_environment(path: Path) -> None:
    table = simulated_table()
    assert table.measured
    here = open_device("host").info().environment
    save(path, replace(table, held=replace(table.measured, environment=here)))
    assert plan_verification(str(path), seed=0).address == "host"
    in_another_container = {**here, "host_name": "another"}
    save(path, replace(table, held=replace(table.measured, environment=in_another_container)))
    assert plan_verification(str(path), seed=0).address == "host"
    elsewhere = {**here, "cpu": "another"}
    save(path, replace(table, held=replace(table.measured, environment=elsewhere)))
    with pytest.raises(TableError, match=r"measured on another machine .* pass --device ssh://USER@HOST$"):
        plan_verification(str(path), seed=0)


def test_a_file_cannot_have_a_module_imported(path: Path) -> None:
    told_by(path, command="ofa-nas profile --device tests.nowhere://x")
    with pytest.raises(TableError, match="does not say how to reach it"):
        plan_verification(str(path), seed=0)


def test_a_board_without_a_network_path_is_told_apart(path: Path) -> None:
    told_by(path, command="ofa-nas profile --collect results.jsonl --bundle b.zip --name my-rpi4")
    with pytest.raises(TableError, match="boards without a network path cannot be verified"):
        plan_verification(str(path), seed=0)


def test_a_table_of_another_space_is_refused(path: Path, tmp_path: Path) -> None:
    table = simulated_table()
    assert table.measured
    save(path, replace(table, held=replace(table.measured, digest="0" * 12)))
    with pytest.raises(TableError, match=r"of tiny with 10 classes and the digest 000000000000, not of what"):
        plan_on(path)
    save(path, replace(table, held=replace(table.measured, space="mine")))
    with pytest.raises(
        TableError, match="of the space mine, which does not ship: give its TOML file to --space"
    ):
        plan_on(path)
    with pytest.raises(TableError, match=r"not of mobilenet_v3, whose digest is"):
        plan_verification(str(path), device=ADDRESS, space="mobilenet_v3", seed=0)
    with pytest.raises(SpaceError, match="no such search space"):
        plan_verification(str(path), device=ADDRESS, space="nowhere", seed=0)
    own = tmp_path / "mine.toml"
    own.write_bytes((asset_folder("search_spaces") / "tiny.toml").read_bytes())
    assert plan_verification(str(path), device=ADDRESS, space=str(own), seed=0).space.name == "mine"


def test_a_table_is_of_the_precision_that_is_asked_for_and_no_address(tiny: SearchSpace) -> None:
    table = replace(simulated_table(), name="my-rpi4")
    path = named_table_path(tiny, "my-rpi4", precision="int8")
    replace(table, device=replace(table.device, precision="int8")).save(path)
    table.save(named_table_path(tiny, "my-rpi4"))
    plan = plan_verification("my-rpi4", device=ADDRESS, precision="int8", seed=0)
    assert (plan.path, plan.table.device.precision) == (path, "int8")
    with pytest.raises(TableError, match="my-rpi4 is of int8, 1 thread: --precision and"):
        plan_verification(str(path), device=ADDRESS, precision="fp32", seed=0)
    with pytest.raises(TableError, match="name the table, and give the address to --device"):
        plan_verification("ssh://pi@board", seed=0)


@pytest.mark.parametrize("device", ["rpi4", "toaster"])
def test_a_device_is_given_by_its_address(path: Path, device: str) -> None:
    with pytest.raises(ConfigError, match=f"--device {device}: expected host, or ssh://USER@HOST"):
        plan_verification(str(path), device=device, seed=0)


def test_the_same_seed_verifies_with_the_same_networks_and_protocol(path: Path) -> None:
    plan = plan_on(path, seed=7)
    assert plan == plan_on(path, seed=7)
    table = LatencyTable.load(path)
    assert table.measured
    assert plan.protocol == replace(table.measured.protocol, seed=7)


def test_a_board_that_is_not_there_is_an_error_of_the_device(path: Path) -> None:
    plan = plan_verification(str(path), device="ssh://-oProxyCommand=x", seed=0)
    with pytest.raises(DeviceError, match="is no address of a board"):
        list(verify_table(plan))
