"""What a board's state does to a job: what the agent reads of it, as a program and for a whole job."""

import fcntl
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ofa_nas.devices import MeasuringProtocol, agent
from ofa_nas.devices.job import Job, Task, pack_model
from tests.devices.recorded_sessions import copying_models, path_with_vcgencmd

KINDS_OF_JOBS = ("forgotten", "younger", "continued", "at work")
PROTOCOL = MeasuringProtocol(rounds=3, max_rounds=3, visit_ms=0.0, retries=0, warm_up_windows=1)


def unpack(
    folder: Path,
    *,
    protocol: MeasuringProtocol = PROTOCOL,
    kind: str = "time",
    size: int = 0,
    count: int = 4,
) -> Job:
    """A job over some models, as it lies on a board; they are said to have so many bytes."""
    packed = [pack_model(model) for model in copying_models(count)]
    files = {model.name: replace(model.file, bytes=size or model.file.bytes) for model in packed}
    job = Job(protocol, (Task(kind, tuple(files)),), files, {})
    for name, content in job.files(packed).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return job


def start_agent(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", str(folder / "agent.py"), *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": "", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def records_of(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def free_mib() -> int:
    (told,) = re.findall(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text(encoding="ascii"))
    return int(told) >> 10


def test_what_throttles_a_board_meanwhile_stands_in_its_results(tmp_path: Path) -> None:
    """Its `vcgencmd` is asked when the job begins, then with every visit of the sentinel."""
    unpack(tmp_path)
    path = path_with_vcgencmd(tmp_path, ["0x50000", "0x50000", "0x50005"])
    done = start_agent(tmp_path, PATH=path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.endswith("part 1 of 1: 12 measured of at least 12  ")
    device, *visits, last = records_of(tmp_path)
    assert device["state"]["throttled"] == "0x50000"
    assert [text for text in device["warnings"] if text.startswith("since its start: ")] == [
        f"since its start: {agent.THROTTLING[bit]}" for bit in (0, 2)
    ]
    found = [(visit["round"], visit["throttled"], visit["spoilt"]) for visit in visits]
    assert found[4:] == [(1, True, True)] * 4 + [(2, True, True)] * 4
    assert [turn for turn, *_ in found[:4]] == [0] * 4  # whatever this machine's frequency says of those
    assert last == {"task": 0, "kind": "done"}


def age(folder: Path, *, days: float) -> None:
    """Have everything in a folder written so long ago."""
    then = time.time() - 24 * 3600.0 * days
    for path in (*folder.rglob("*"), folder):
        os.utime(path, (then, then))


def test_jobs_that_nobody_went_on_with_are_swept_and_nothing_else(tmp_path: Path) -> None:
    names = {name: tmp_path / (letter * 20) for letter, name in zip("abcd", KINDS_OF_JOBS, strict=True)}
    others = tmp_path / "notes", tmp_path / ("e" * 21)
    for folder in (*names.values(), *others):
        unpack(folder, count=1)
        (folder / "results.jsonl").touch()
        age(folder, days=13 if folder == names["younger"] else 15)
    (names["continued"] / "results.jsonl").touch()
    (tmp_path / ("f" * 20)).symlink_to(others[0])
    with (names["at work"] / "results.jsonl").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        before = set(tmp_path.iterdir())
        assert start_agent(others[0], str(tmp_path), "--sweep").returncode == 0
        assert before - set(tmp_path.iterdir()) == {names["forgotten"]}
    assert set(tmp_path.iterdir()) <= before


def test_an_agent_waits_for_whoever_measures_on_the_machine_and_names_it(tmp_path: Path) -> None:
    unpack(tmp_path)
    lock = Path(os.environ["TMPDIR"]) / agent.MACHINE_LOCK
    with lock.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with subprocess.Popen(
            [sys.executable, "-P", str(tmp_path / "agent.py")],
            env={**os.environ, "PYTHONPATH": ""},
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stderr
            told = process.stderr.readline()
            assert f"waiting for another measurement there: process {os.getpid()} of " in told
            assert not records_of(tmp_path)
            fcntl.flock(held, fcntl.LOCK_UN)
            assert "measured of at least" in process.stderr.read()
    assert records_of(tmp_path)[-1] == {"task": 0, "kind": "done"}


@pytest.mark.parametrize("kind", ["missing", "link", "folder"])
def test_a_lock_that_cannot_be_made_keeps_nobody_from_measuring(kind: str, tmp_path: Path) -> None:
    unpack(tmp_path)
    place = tmp_path / "place"
    lock = place / agent.MACHINE_LOCK
    if kind != "missing":
        place.mkdir()
    if kind == "link":
        lock.symlink_to(tmp_path / "elsewhere")
    if kind == "folder":
        lock.mkdir()
    assert start_agent(tmp_path, TMPDIR=str(place)).returncode == 0
    assert not (tmp_path / "elsewhere").exists()


def test_a_lock_that_others_made_is_taken_without_writing(tmp_path: Path) -> None:
    """As in /tmp, where the file is somebody else's, and systems refuse to open that for writing."""
    lock = tmp_path / agent.MACHINE_LOCK
    lock.write_text("theirs", encoding="ascii")
    lock.chmod(0o444)
    unpack(tmp_path / "job")
    assert start_agent(tmp_path / "job", TMPDIR=str(tmp_path)).returncode == 0
    assert lock.read_text(encoding="ascii") == "theirs"
    assert lock.stat().st_mode & 0o777 == 0o444


def test_a_board_that_is_throttled_now_is_not_measured(tmp_path: Path) -> None:
    unpack(tmp_path)
    path = path_with_vcgencmd(tmp_path, ["0x4"])
    for options in ((), ("--check",)):
        done = start_agent(tmp_path, *options, PATH=path)
        assert done.returncode == agent.REFUSED
        assert agent.THROTTLING[2] in done.stdout
    assert not (tmp_path / "results.jsonl").read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize(
    ("kind", "held", "share", "is_refused"),
    [
        ("time", 24, 1, True),  # all four at once, for fewer than six are not worth it
        ("time", 1, 12, False),  # one in turns and the sentinel
        ("profile", 24, 1, True),  # one at a time
        ("profile", 24, 6, False),
    ],
)
def test_models_that_do_not_fit_into_free_memory_are_refused(
    kind: str, held: int, share: int, is_refused: bool, tmp_path: Path
) -> None:
    """Each is said to have such a part of what is free; a session takes twice its model."""
    protocol = replace(PROTOCOL, held=held, profile_runs=2, profile_sittings=1)
    unpack(tmp_path, protocol=protocol, kind=kind, size=(free_mib() << 20) // share)
    done = start_agent(tmp_path)
    told = re.search(r"need (\d+) MiB of memory, (\d+) are free: end other .*--precision int8", done.stdout)
    if is_refused:
        assert done.returncode == agent.REFUSED
        assert told
        assert int(told.group(1)) > int(told.group(2)) > 0
        assert not (tmp_path / "results.jsonl").read_bytes()
    else:
        assert (done.returncode, told) == (0, None), done.stdout + done.stderr
        assert records_of(tmp_path)[-1] == {"task": 0, "kind": "done"}


def test_a_protocol_is_fitted_to_the_memory() -> None:
    sizes = [30, 20, 10, 10, 10, 10, 10, 10, 10, 10]
    fitted = [agent.fit_memory(agent.Protocol(), sizes, free).held for free in (0, 289, 288, 266, 200, 2)]
    assert fitted == [24, 24, 8, 7, 6, 6]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_where_memory_is_short_fewer_take_turns_at_a_time(tmp_path: Path) -> None:
    """All 15 would take 1.4 times what is free, seven two thirds of it."""
    protocol = replace(PROTOCOL, held=24, rounds=1, max_rounds=1, passes=1)
    unpack(tmp_path, protocol=protocol, size=(free_mib() << 20) // 21, count=15)
    assert start_agent(tmp_path).returncode == 0
    device, *visits, done = records_of(tmp_path)
    assert any(re.search(r"\d+ networks take turns at a time, not 24", text) for text in device["warnings"])
    assert {visit["model"] for visit in visits} == {f"m{number}" for number in range(15)}
    assert done == {"task": 0, "kind": "done"}


@pytest.mark.parametrize(
    ("worked", "load"), [({0: 3, 1: 3}, 0.3), ({0: 20, 1: 14}, 1.7), ({}, 0.0)], ids=["calm", "busy", "none"]
)
def test_a_board_is_busy_with_what_its_cores_do_now(
    worked: dict[int, int], load: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The load average of a minute would count a measurement that has just ended."""
    monkeypatch.setattr(os, "getloadavg", lambda: (9.0, 9.0, 9.0))
    ticks = iter([dict.fromkeys(worked, 100), {core: 100 + count for core, count in worked.items()}])
    monkeypatch.setattr(agent, "_busy_ticks", lambda: next(ticks))
    machine = agent.examine()
    assert machine["load"] == load
    busy = [text for text in machine["warnings"] if "busy" in text]
    assert busy == [f"busy with something else: load {load}"] * (load > 0.5)


@pytest.mark.parametrize(
    ("zones", "told"),
    [
        ({"cpu-thermal": (79.0, {})}, (79.0, 80.0)),
        ({"cpu-thermal": (81.0, {"critical": 110.0})}, (81.0, 80.0)),
        ({"PMIC-Die": (100.0, {}), "CPU-therm": (45.0, {"passive": 97.0})}, (45.0, 97.0)),  # a Jetson
        ({"iwlwifi_1": (90.0, {}), "acpitz": (95.0, {}), "BAT0": (88.0, {})}, (0.0, 80.0)),
        ({"x86_pkg_temp": (88.0, {"passive": 0.0})}, (88.0, 95.0)),  # a laptop
        ({"soc-thermal": (72.0, {"passive": 85.0, "passive ": 75.0, "hot": 70.0})}, (72.0, 75.0)),
        ({"cpu-thermal": (78.0, {"passive": 95.0}), "gpu-thermal": (75.0, {})}, (75.0, 80.0)),
        ({}, (0.0, 80.0)),
    ],
)
def test_heat_is_that_of_the_processor_and_its_limit_what_the_board_says(
    zones: dict[str, tuple[float, dict[str, float]]],
    told: tuple[float, float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number, (kind, (heat, trips)) in enumerate(zones.items()):
        folder = tmp_path / f"thermal_zone{number}"
        folder.mkdir()
        files = {"type": kind, "temp": f"{1000 * heat:.0f}"}
        for point, (trip, limit) in enumerate(trips.items()):
            files |= {f"trip_point_{point}_type": trip, f"trip_point_{point}_temp": f"{1000 * limit:.0f}"}
        for name, text in files.items():
            (folder / name).write_text(f"{text}\n", encoding="ascii")
    monkeypatch.setattr(agent, "THERMAL_ZONES", f"{tmp_path}/thermal_zone*/")
    state = agent.probe_state()
    assert (state["temperature_c"], state["hot_c"]) == told
    refusals, warnings = agent.find_faults(
        {**agent.probe(), "free_bytes": 0, "load": 0.0, "cpu_quota": 0.0}, 0, 1
    )
    assert any("degrees" in text for text in refusals) == (told[0] >= told[1])
    assert any("degrees" in text for text in warnings) == (0 < told[1] - told[0] <= 10)


def test_a_governor_is_read_where_the_board_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpu0" / "cpufreq").mkdir(parents=True)
    (tmp_path / "cpu0" / "cpufreq" / "scaling_governor").write_text("ondemand\n", encoding="ascii")
    monkeypatch.setattr(agent, "CORE_FOLDER", f"{tmp_path}/cpu%d/")
    machine = agent.examine()
    assert machine["governor"] == "ondemand"
    assert any("frequency governor ondemand" in text for text in machine["warnings"])


def test_governors_are_those_of_all_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fast cores measure, and the first one is a slow one on many boards."""
    monkeypatch.setattr(agent, "CORE_FOLDER", f"{tmp_path}/cpu%d/")
    for core, governor in enumerate(("performance", "performance", "schedutil", "")):
        folder = tmp_path / f"cpu{core}" / "cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_governor").write_text(f"{governor}\n", encoding="ascii")
    (tmp_path / "cpufreq").mkdir()
    machine = agent.examine()
    assert machine["governor"] == "performance, schedutil"
    assert any("frequency governor performance, schedutil" in text for text in machine["warnings"])


@pytest.mark.parametrize(("cap", "is_capped"), [(1_500_000, True), (2_000_000, False), (None, False)])
def test_a_cap_of_the_fastest_core_is_recorded_and_warned_of(
    cap: int | None, is_capped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Core 0 is a slow one, whose own limits say nothing of those that measure."""
    for core, (least, most, allowed) in enumerate([(100_000, 900_000, 900_000), (200_000, 2_000_000, cap)]):
        folder = tmp_path / f"cpu{core}" / "cpufreq"
        folder.mkdir(parents=True)
        files = {"cpuinfo_min_freq": least, "cpuinfo_max_freq": most, "scaling_max_freq": allowed}
        for name, khz in files.items():
            if khz:
                (folder / name).write_text(f"{khz}\n", encoding="ascii")
    monkeypatch.setattr(agent, "CORE_FOLDER", f"{tmp_path}/cpu%d/")
    monkeypatch.setattr(agent, "_own_cores", lambda: {0, 1})
    machine = agent.examine()
    assert machine["frequencies_mhz"] == [100.0, 900.0]
    assert machine["fastest_core_mhz"] == [200.0, 2000.0, (cap or 0) / 1000.0]
    told = "the fastest core is capped at 1500 MHz of 2000"
    assert any(told in text for text in machine["warnings"]) == is_capped


PI_4 = """\
processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

processor\t: 1
CPU part\t: 0xd08

Revision\t: c03114
Serial\t\t: 10000000a0b1c2d3
Model\t\t: Raspberry Pi 4 Model B Rev 1.4
"""


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (PI_4, "Raspberry Pi 4 Model B Rev 1.4 Cortex-A72"),
        ("processor\t: 0\nCPU part\t: 0xd05\n\nprocessor\t: 1\nCPU part\t: 0xd0b\n", "Cortex-A55 Cortex-A76"),
        (
            "model name\t: ARMv8 Processor rev 1 (v8l)\nCPU part\t: 0xd42\n",
            "ARMv8 Processor rev 1 (v8l) Cortex-A78AE",
        ),
        ("processor\t: 0\nCPU part\t: 0xdff\n", "An industrial board"),
        ("model name\t: Some CPU @ 2.00GHz\nmodel\t\t: 85\n", "Some CPU @ 2.00GHz"),
    ],
    ids=["pi 4", "fast and slow cores", "jetson", "unknown cores", "x86"],
)
def test_a_processor_is_called_by_its_model_and_its_cores(
    text: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for constant, content in (("CPU_INFO", text), ("BOARD_MODEL", "An industrial board\0")):
        path = tmp_path / constant
        path.write_text(content, encoding="ascii")
        monkeypatch.setattr(agent, constant, str(path))
    monkeypatch.setattr("platform.processor", str)
    assert agent.probe()["cpu"] == name
    monkeypatch.setattr(agent, "_installed_runtime", lambda: "1.21.0")
    if "Cortex-A72" in name:
        with pytest.raises(agent.AgentError, match=r"1\.21\.0 crashes on a Cortex-A72"):
            agent.probe()


@pytest.fixture
def put_quotas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, dict[str, str]], None]:
    """Puts a process of eight cores into control groups, and files into their folders."""
    monkeypatch.setattr(agent, "OWN_CGROUPS", str(tmp_path / "own"))
    monkeypatch.setattr(agent, "CGROUPS", str(tmp_path / "cgroup"))
    monkeypatch.setattr(agent, "_own_cores", lambda: set(range(8)))

    def put(own: str, files: dict[str, str]) -> None:
        (tmp_path / "own").write_text(own, encoding="ascii")
        for name, text in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n", encoding="ascii")

    return put


V1 = "9:name=systemd:/job\n3:cpuset:/job\n2:cpu,cpuacct:/job\n"


@pytest.mark.parametrize(
    ("own", "files", "quota", "cores"),
    [
        ("0::/\n", {"cpu.max": "150000 100000"}, 1.5, 2),
        ("0::/a/b.service\n", {"a/b.service/cpu.max": "50000 100000"}, 0.5, 1),
        ("0::/a/b\n", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "max 100000"}, 2.0, 2),
        ("0::/a/b\n", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "50000 20000"}, 2.5, 3),
        ("0::/docker/not_seen_within\n", {"cpu.max": "200000 100000"}, 2.0, 2),
        ("0::/../other\n", {"cpu.max": "200000 100000"}, 2.0, 2),
        ("0::/\n", {"cpu.max": "800000 100000"}, 0.0, 8),
        ("0::/\n", {"cpu.max": "max 100000"}, 0.0, 8),
        ("0::/\n", {"cpu.max": "a lot"}, 0.0, 8),
        ("0::/\n", {}, 0.0, 8),
        ("", {"cpu.max": "150000 100000"}, 0.0, 8),
        (V1, {"cpu/job/cpu.cfs_quota_us": "120000", "cpu/job/cpu.cfs_period_us": "100000"}, 1.2, 2),
        (V1, {"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, 4.0, 4),
        (V1, {"cpu/job/cpu.cfs_quota_us": "-1", "cpu/job/cpu.cfs_period_us": "100000"}, 0.0, 8),
        (V1, {"cpuset/job/cpu.cfs_quota_us": "9", "cpuset/job/cpu.cfs_period_us": "9"}, 0.0, 8),
    ],
)
def test_the_least_quota_of_the_groups_around_a_process_counts(
    put_quotas: Callable[[str, dict[str, str]], None],
    own: str,
    files: dict[str, str],
    quota: float,
    cores: int,
) -> None:
    put_quotas(own, files)
    assert (agent.cpu_quota(), agent.usable_cores()) == (quota, cores)


def test_what_a_quota_would_throttle_is_not_measured(
    put_quotas: Callable[[str, dict[str, str]], None],
) -> None:
    put_quotas("0::/\n", {"cpu.max": "150000 100000"})
    assert any("CPU quota of 1.5 cores for --threads 1" in text for text in agent.examine()["warnings"])
    with pytest.raises(agent.AgentError, match=r"--threads 2, .* 1\.5 .* to 3 cores .*, or ask for fewer$"):
        agent.examine(threads=2)
    for measure in (agent.time_models, agent.profile_models):
        with pytest.raises(agent.AgentError, match=r"--threads 2, but a CPU quota of 1\.5 cores"):
            next(measure([], agent.Protocol(threads=2)))
    put_quotas("0::/\n", {"cpu.max": "50000 100000"})
    for threads in (1, 4):
        with pytest.raises(agent.AgentError, match=r"quota of 0\.5 cores: .* or measure another device$"):
            agent.examine(threads=threads)
