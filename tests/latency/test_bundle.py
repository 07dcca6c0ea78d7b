"""Bundles: the same every time, measured by the agent alone, and results that do not fit are refused."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ofa_nas.activity import Activity
from ofa_nas.devices import MeasuringProtocol, agent
from ofa_nas.devices.job import pack_model
from ofa_nas.errors import ConfigError, FileError
from ofa_nas.latency.bundle import EPOCH, Bundle, collect, write_bundle
from ofa_nas.latency.profile import Networks
from ofa_nas.latency.references import write_network
from ofa_nas.latency.table import LatencyTable
from ofa_nas.space.search_space import SearchSpace

FAST = MeasuringProtocol(rounds=2, max_rounds=2, visit_ms=0.0, retries=0, profile_runs=5, profile_sittings=1)


def write(path: Path, space: SearchSpace, protocol: MeasuringProtocol = FAST) -> Bundle:
    *progress, bundle = write_bundle(path, space, protocol=protocol, resolutions=[24])
    assert isinstance(bundle, Bundle)
    assert all(isinstance(one, Activity) and one.done <= one.total for one in progress)
    return bundle


@pytest.fixture(scope="module")
def bundle(tiny: SearchSpace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("bundle") / "board.zip", tiny).path


@pytest.fixture(scope="module")
def lines(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What a board really answers: the agent of the bundle, run where it was unpacked."""
    folder = tmp_path_factory.mktemp("board")
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(folder)
    command = [sys.executable, "-P", "agent.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return (folder / "results.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)


@pytest.fixture
def results(lines: list[str], tmp_path: Path) -> Path:
    path = tmp_path / "results.jsonl"
    path.write_text("".join(lines), encoding="utf-8")
    return path


def test_the_same_bundle_is_the_same_bytes(bundle: Path, tiny: SearchSpace, tmp_path: Path) -> None:
    again = write(tmp_path / "again.zip", tiny)
    assert again.path.read_bytes() == bundle.read_bytes()
    assert again.bytes == bundle.stat().st_size
    other = write(tmp_path / "other.zip", tiny, MeasuringProtocol(seed=1))
    assert other.job != again.job


@pytest.mark.parametrize("precision", ["fp32", pytest.param("int8", marks=pytest.mark.campaign)])
def test_how_large_it_will_be_is_told_first(precision: str, tmp_path: Path) -> None:
    """By a space of usual size: small networks are mostly graph, not weights."""
    space = SearchSpace.load("efficientnet_lite")
    first = next(write_bundle(tmp_path / "x.zip", space, protocol=FAST, precision=precision))
    assert isinstance(first, Activity)
    assert (first.done, not list(tmp_path.glob("x.zip"))) == (0, True)
    networks = Networks.draw(space, space.resolutions, 0)
    count, size = first.name.split(" networks, about ")
    assert int(count) == len(networks.names)
    some = [design.latin[0] for design in networks.designs[::2]]
    rng = np.random.default_rng(0)
    packed = [pack_model(write_network(space, arch, rng, name="m", precision=precision)) for arch in some]
    mean = float(np.mean([len(one.packed) for one in packed]))
    assert float(size.removesuffix(" MB")) * 1e6 == pytest.approx(mean * len(networks.names), rel=0.2)
    assert mean < 0.03 * np.mean([one.file.bytes for one in packed])  # or a board would be sent gigabytes


def test_a_bundle_holds_agent_models_and_what_to_do(bundle: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        names = archive.namelist()
        assert {entry.date_time for entry in archive.infolist()} == {EPOCH}
        assert archive.read("agent.py") == Path(agent.__file__).read_bytes()
        readme = archive.read("README.txt").decode()
        models = json.loads(archive.read("job.json"))["models"]
    assert sorted(names) == sorted(
        {"README.txt", "agent.py", "job.json", *(one["file"] for one in models.values())}
    )
    assert all(not name.startswith(("/", ".")) and ".." not in name for name in names)
    for told in (
        "python3 agent.py",
        "results.jsonl",
        "-m venv ~/ofa",
        "pip download -d wheels --only-binary=:all: --platform manylinux_2_28_aarch64 \\\n",
        "pip install --no-index --find-links wheels numpy onnxruntime",
        "32-bit",
        "voltage",
        "80 degrees",
        "ofa-nas profile --collect",
    ):
        assert told in readme


@pytest.mark.slow
def test_a_table_comes_from_bundle_and_results_alone(
    bundle: Path, results: Path, tiny: SearchSpace, tmp_path: Path
) -> None:
    found = collect(results, bundle, name="my-board")
    table = found.table
    assert found.space == tiny
    assert (table.name, table.device.name, table.provenance) == ("my-board", "my-board", "measured")
    assert table.measured
    assert table.measured.resolutions == (24,)
    assert table.measured.digest == tiny.digest
    assert table.measured.environment["kind"] == "device"
    for holdout in table.measured.holdouts:
        assert table.latency_ms(tiny, tiny.parse(holdout.architecture)) == pytest.approx(
            holdout.predicted_ms, abs=1e-5
        )
    table.save(tmp_path / "table.json")
    assert LatencyTable.load(tmp_path / "table.json").device == table.device


@pytest.mark.slow
def test_what_the_board_warned_of_stands_in_the_table(bundle: Path, lines: list[str], results: Path) -> None:
    board = {**json.loads(lines[0]), "warnings": ["governor ondemand"], "governor": "ondemand"}
    results.write_text("".join([json.dumps(board) + "\n", *lines[1:]]), encoding="utf-8")
    notes = collect(results, bundle, name="my-board").table.notes
    assert notes[0] == "Before it was measured, the device warned: governor ondemand."
    again = {**board, "warnings": ["75 degrees C"]}
    results.write_text("".join([json.dumps(board) + "\n", lines[1], json.dumps(again) + "\n", *lines[2:]]))
    notes = collect(results, bundle, name="my-board").table.notes
    assert notes[1] == "Before it was measured, the device warned: 75 degrees C."


@pytest.mark.slow
def test_figures_that_no_table_can_hold_are_refused(bundle: Path, lines: list[str], results: Path) -> None:
    records = [json.loads(line) for line in lines]
    for number, record in enumerate(records):
        if record["kind"] == "visit":
            ms = 1e7 if number % 2 else 1e-4
            record.update(wall_ms=[ms], cpu_ms=[ms])
    results.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    with pytest.raises(FileError, match=r"results\.jsonl: its figures are too far apart"):
        collect(results, bundle, name="my-board")


@pytest.mark.slow
def test_results_that_do_not_fit_are_refused_with_line_and_fix(
    bundle: Path, lines: list[str], results: Path, tmp_path: Path, tiny: SearchSpace
) -> None:
    def refusal_of(content: str, zipped: Path = bundle) -> str:
        results.write_text(content, encoding="utf-8")
        with pytest.raises(FileError) as caught:
            collect(results, zipped, name="my-board")
        return str(caught.value).removeprefix(f"{results}: ")

    again = "run python3 agent.py again on the board"
    assert refusal_of("").startswith("line 1 is cut off or missing: " + again)
    assert refusal_of("".join(lines)[:-9]).startswith(f"line {len(lines)} is cut off or missing: {again}")
    assert refusal_of("".join(lines[:-1])).startswith(
        f"ends behind line {len(lines) - 1}, part 2 of 2 not done"
    )
    assert refusal_of("".join([*lines[:5], "\n", *lines[5:]])).startswith("line 6 is damaged: " + again)
    assert refusal_of("".join([*lines[:5], *lines[4:]])).startswith("line 6 measures the same again")
    other = write(tmp_path / "other.zip", tiny, MeasuringProtocol(seed=1)).path
    assert refusal_of("".join(lines), other).startswith("line 1 belongs to another job")


@pytest.mark.campaign
def test_a_bundle_of_int8_networks_makes_an_int8_table(few: Path, tmp_path: Path) -> None:
    path, folder = tmp_path / "int8.zip", tmp_path / "board"
    *_, bundle = write_bundle(path, SearchSpace.load(few), protocol=FAST, precision="int8")
    assert isinstance(bundle, Bundle)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
        assert ", int8." in archive.read("README.txt").decode()
    subprocess.run([sys.executable, "-P", "agent.py"], cwd=folder, check=True, capture_output=True)
    table = collect(folder / "results.jsonl", path, name="my-board").table
    assert table.device.precision == "int8"
    assert table.measured
    assert all(name.endswith(" int8") for name in table.measured.references)


def spoil(path: Path, document: dict[str, Any]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("job.json", json.dumps(document))
    return path


def test_what_is_no_bundle_is_refused(bundle: Path, tmp_path: Path) -> None:
    nothing, text, empty = tmp_path / "nothing.zip", tmp_path / "text.zip", tmp_path / "empty.zip"
    text.write_text("no zip", encoding="utf-8")
    zipfile.ZipFile(empty, "w").close()
    for path, told in ((nothing, "cannot be read"), (text, "is no bundle"), (empty, "is no bundle")):
        with pytest.raises(FileError, match=f"{path.name}: {told}"):
            collect(tmp_path / "results.jsonl", path, name="x")
    with zipfile.ZipFile(bundle) as archive:
        document = json.loads(archive.read("job.json"))
    document["tasks"][0]["models"] = []
    with pytest.raises(FileError, match=r"job\.zip: the job was changed"):
        collect(tmp_path / "results.jsonl", spoil(tmp_path / "job.zip", document), name="x")
    with pytest.raises(FileError, match="cannot be read"):
        collect(tmp_path / "results.jsonl", bundle, name="x")


def test_impossible_bundles_are_refused_before_anything_is_written(tiny: SearchSpace, tmp_path: Path) -> None:
    path = tmp_path / "board.zip"
    with pytest.raises(ConfigError, match="resolution 99 is not in tiny"):
        list(write_bundle(path, tiny, protocol=FAST, resolutions=[99]))
    with pytest.raises(ConfigError, match="wall clock"):
        list(write_bundle(path, tiny, protocol=MeasuringProtocol(threads=2, clock="cpu")))
    assert not path.exists()
