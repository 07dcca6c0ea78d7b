"""The agent on its own: what it refuses, and that nothing which it measured is lost or measured again."""

import ast
import gzip
import hashlib
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import ofa_nas
from ofa_nas.devices import MeasuringProtocol, agent
from ofa_nas.devices.job import Job, Task, pack_model
from ofa_nas.latency.references import reference_models
from ofa_nas.space.search_space import SearchSpace
from tests.hardening.privileges import read_only

SOURCE = Path(agent.__file__).read_text(encoding="utf-8")
FAST = MeasuringProtocol(
    rounds=3, max_rounds=3, visit_ms=0.0, retries=0, profile_runs=5, profile_skip=2, profile_sittings=2
)
CALM: dict[str, Any] = {
    "board": "Raspberry Pi 4 Model B Rev 1.4",
    "cores": 4,
    "governor": "performance",
    "load": 0.0,
    "free_bytes": 1 << 30,
    "cpu_quota": 0.0,
    "state": {"throttled": "0x0", "temperature_c": 45.0, "hot_c": 80.0, "frequency_mhz": 1800.0},
}


def unpack(folder: Path, space: SearchSpace, protocol: MeasuringProtocol = FAST) -> Job:
    """A folder as it lies on a board: a profile and a time task over the references."""
    packed = [pack_model(model) for model in reference_models(space)]
    names = tuple(model.name for model in packed)
    job = Job(
        protocol,
        (Task("profile", names[:1]), Task("time", names)),
        {model.name: model.file for model in packed},
        {},
    )
    for name, content in job.files(packed).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return job


def start(folder: Path, **environment: str) -> subprocess.Popen[str]:
    """The agent as a user starts it, where nothing of this tool can be imported."""
    return subprocess.Popen(
        [sys.executable, "-P", str(folder / "agent.py")],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": "", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    process = start(folder, **environment)
    out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def measurements_of(folder: Path) -> list[tuple[int, str, int]]:
    lines = (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()
    records = [record for line in lines if "model" in (record := json.loads(line))]
    return [(one["task"], one["model"], one.get("round", one.get("sitting"))) for one in records]


def find_python(version: str) -> str | None:
    """An interpreter of that version: on the PATH, or one of pyenv's."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    own = [str(path) for path in sorted(root.glob(f"versions/{version}.*/bin/python"))]
    for python in (*own, shutil.which(f"python{version}")):
        if python and not subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode:
            return python
    return None


def wait_for_lines(folder: Path, count: int) -> None:
    for _ in range(2000):
        path = folder / "results.jsonl"
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.01)
    raise AssertionError("the agent measures nothing")


def test_it_imports_nothing_but_the_standard_library_numpy_and_onnxruntime() -> None:
    tree = ast.parse(SOURCE, feature_version=(3, 8))
    names = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
        )
    }
    assert names - set(sys.stdlib_module_names) == {"numpy", "onnxruntime"}


def test_made_up_inputs_are_the_same_bytes_on_every_machine() -> None:
    """Whatever draws them later has to draw these: a board's numpy may be any."""
    floats = agent.make_inputs((1, 3, 20, 33), False, 7)
    pixels = agent.make_inputs((1, 20, 33, 3), True, 7)
    assert (floats.shape, floats.dtype.name) == ((8, 3, 20, 33), "float32")
    assert (pixels.shape, pixels.dtype.name) == ((8, 20, 33, 3), "uint8")
    assert hashlib.sha256(floats.astype("<f4").tobytes()).hexdigest()[:16] == "7de4c35a4dced784"
    assert hashlib.sha256(pixels.tobytes()).hexdigest()[:16] == "becafd0cad057c7c"
    assert 1.0 < floats.std() < 1.3
    assert abs(floats.mean()) < 0.2
    assert np.array_equal(pixels.transpose(0, 3, 1, 2), (floats * 128 + 510).astype(int) // 4)
    assert not np.array_equal(agent.make_inputs((1, 3, 20, 33), False, 8), floats)
    assert agent.make_inputs((4, 6, 1, 50), False, 2**62).shape == (8, 6, 1, 50)  # of signals


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10"])
def test_a_real_old_python_runs_it(version: str, tmp_path: Path) -> None:
    """Without numpy: it says what to install, in the versions that have wheels for boards."""
    python = find_python(version)
    if python is None:
        pytest.skip(f"no python{version} here")
    (tmp_path / "agent.py").write_text(SOURCE, encoding="utf-8")
    command = [python, "-E", "-s", "-S", str(tmp_path / "agent.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == agent.REFUSED, done.stderr
    told = json.loads(done.stdout)
    assert told["kind"] == "refusal"
    assert f"pip install numpy onnxruntime{agent.RUNTIMES[version]}" in told["text"]


@pytest.mark.parametrize("version", ["3.6", "3.7"])
def test_a_python_that_is_too_old_is_told_in_one_line(version: str, tmp_path: Path) -> None:
    python = find_python(version)
    if python is None:
        pytest.skip(f"no python{version} here")
    (tmp_path / "agent.py").write_text(SOURCE, encoding="utf-8")
    done = subprocess.run([python, str(tmp_path / "agent.py")], capture_output=True, text=True, check=False)
    assert done.stderr == f"refused: Python 3.8 or later is needed, this is {version}\n"


@pytest.mark.parametrize(
    "command",
    [["-c", "import ofa_nas, onnxruntime"], ["-P", agent.__file__, "--check"]],
    ids=["here", "board"],
)
def test_the_runtime_keeps_no_identifier_to_report_under(command: list[str], tmp_path: Path) -> None:
    """That of 1.29 and later would write one, and upload what it sees."""
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(Path(ofa_nas.__file__).parents[1])}
    for name in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, *command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        cwd=tmp_path,
        env=environment,
    )
    assert done.returncode in (0, agent.REFUSED), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_packages_go_into_an_environment_of_their_own_where_there_is_none_yet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A system's Python may be managed by others, and refuse what pip would install."""
    monkeypatch.setenv("HOME", "/home/pi")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    told = r"/usr/bin/python3 -m venv ~/ofa && ~/ofa/bin/pip install numpy onnxruntime.*"
    for prefix, advice in (
        (sys.base_prefix, told + "; then start /home/pi/ofa/bin/python$"),
        ("/home/pi/env", ": /usr/bin/python3 -m pip install numpy onnxruntime[=.0-9]*$"),
    ):
        monkeypatch.setattr(sys, "prefix", prefix)
        with pytest.raises(agent.AgentError, match=advice):
            agent.probe()


@pytest.mark.parametrize(("version", "is_refused"), [("1.11.1", True), ("1.12.0", False), ("2.0+cpu", False)])
def test_a_runtime_that_cannot_run_the_models_is_refused(
    version: str, is_refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxruntime.__version__", version)
    if is_refused:
        with pytest.raises(agent.AgentError, match=r"1\.11\.1 is too old, 1\.12 is the least: .*--upgrade"):
            agent.probe()
    else:
        assert agent.probe()["onnxruntime"] == version


def test_a_32_bit_python_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(struct, "calcsize", lambda _: 4)
    with pytest.raises(agent.AgentError, match=r"32-bit.*install a 64-bit system"):
        agent.probe()


def test_the_runtime_that_crashes_on_a_raspberry_pi_4_is_refused_before_it_is_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agent, "_cpu_name", lambda: "Raspberry Pi 4 Model B Rev 1.4 Cortex-A72")
    monkeypatch.setattr(agent, "_installed_runtime", lambda: "1.21.0")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # an import would be another error
    with pytest.raises(agent.AgentError, match=r"1\.21\.0 crashes on a Cortex-A72"):
        agent.probe()


def test_any_runtime_that_crashes_is_refused_in_words(tiny: SearchSpace, tmp_path: Path) -> None:
    unpack(tmp_path / "job", tiny)
    broken = tmp_path / "onnxruntime.py"
    broken.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n", encoding="utf-8")
    done = run(tmp_path / "job", PYTHONPATH=str(tmp_path))
    assert done.returncode == agent.REFUSED
    assert done.stdout.startswith("refused: onnxruntime ")
    assert "crashes (signal 4)" in done.stdout
    assert not (tmp_path / "job" / "results.jsonl").read_bytes()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits the size of a file in a process of its own")
def test_a_disk_too_full_for_a_profile_is_said_in_words(tiny: SearchSpace, tmp_path: Path) -> None:
    unpack(tmp_path, tiny)
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)); sys.argv = ['agent.py'];"
        "import agent; sys.exit(agent.main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == agent.REFUSED
    assert "refused: ONNX Runtime could not write its profile below" in done.stdout


FULL_DISK = """
import os, resource, signal, sys
import agent
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), -1))
results = agent.Results("results.jsonl", None)
try:
    results.append({"kind": "done", "task": 10**20})
except agent.AgentError as error:
    print(error)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits the size of a file in a process of its own")
def test_a_disk_too_full_for_a_measurement_is_said_and_what_was_there_stays(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(SOURCE, encoding="utf-8")
    path, line = tmp_path / "results.jsonl", b'{"kind": "done", "task": 0}\n'
    path.write_bytes(line)
    room = len(line) + 5  # for a part of the next one
    command = [sys.executable, "-c", FULL_DISK, str(room)]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("results.jsonl: cannot be written: File too large"), done.stderr
    assert path.stat().st_size == room
    agent.Results(str(path), None).file.close()
    assert path.read_bytes() == line


@pytest.mark.skipif(not hasattr(os, "fork"), reason="gives up rights in a process of its own")
@pytest.mark.parametrize("is_begun", [False, True])
def test_a_folder_that_nobody_may_write_into_is_said_in_words(
    is_begun: bool, tiny: SearchSpace, tmp_path: Path
) -> None:
    unpack(tmp_path, tiny)
    if is_begun:
        (tmp_path / "results.jsonl").touch()
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop()); from tests.hardening.privileges import *;"
        "respect_permissions(); from ofa_nas.devices import agent; sys.exit(agent.main())"
    )
    with read_only(tmp_path):
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parents[2])],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == agent.REFUSED, done.stderr
    assert "results.jsonl: cannot be written: Permission denied; make room, or" in done.stdout


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system keeps no thread on a core")
def test_it_stays_on_as_many_cores_as_threads_and_gives_the_others_back(tiny: SearchSpace) -> None:
    before = os.sched_getaffinity(0)
    models = list(reference_models(tiny))
    for protocol, count in ((FAST, 1), (replace(FAST, pinned=False), len(before))):
        for records in (agent.time_models(models, protocol), agent.profile_models(models, protocol)):
            with closing(cast(Generator[agent.Json, None, None], records)):
                next(records)
                assert len(os.sched_getaffinity(0)) == count
            assert os.sched_getaffinity(0) == before
    with agent.on_own_cores(replace(FAST, threads=len(before))):
        assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize(
    ("count", "chosen"), [(1, [5]), (3, [5, 4, 3]), (4, [5, 4, 3, 2])], ids=["one", "fast ones", "one more"]
)
def test_the_fastest_cores_are_taken_then_the_idlest_then_the_last(
    count: int, chosen: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for core, capacity in enumerate([400, 400, 400, 1024, 1024, 1024]):
        folder = tmp_path / f"cpu{core}"
        folder.mkdir()
        (folder / "cpu_capacity").write_text(f"{capacity}\n")
    monkeypatch.setattr(agent, "CORE_FOLDER", f"{tmp_path}/cpu%d/")
    ticks = iter([dict.fromkeys(range(6), 7), {0: 20, 1: 20, 2: 8, 3: 20, 4: 8, 5: 8}])
    monkeypatch.setattr(agent, "_busy_ticks", lambda: next(ticks))
    assert agent.choose_cores(range(6), count) == chosen


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_core_that_works_is_seen_working() -> None:
    (core, *_) = sorted(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, [{core}])\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        try:
            started = agent._busy_ticks()[core]
            time.sleep(0.3)
            assert agent._busy_ticks()[core] - started > 10
        finally:
            process.kill()


def test_a_calm_board_has_no_faults() -> None:
    assert agent.find_faults(CALM, 1 << 28, 4) == ([], [])
    assert agent.find_faults({**CALM, "cpu_quota": 5.0}, 1 << 28, 4) == ([], [])
    untold = {"board": "another", "governor": "", "free_bytes": 0}
    unknown = {**CALM, **untold, "state": {**CALM["state"], "throttled": ""}}
    assert agent.find_faults(unknown, 1 << 28, 4) == ([], [])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"state": {**CALM["state"], "throttled": "0x1"}}, "supply voltage is too low"),
        ({"state": {**CALM["state"], "throttled": "0x2"}}, "frequency is capped"),
        ({"state": {**CALM["state"], "throttled": "0x4"}}, "is throttled"),
        ({"state": {**CALM["state"], "throttled": "0x8"}}, "soft temperature limit"),
        ({"state": {**CALM["state"], "temperature_c": 80.0}}, "80 degrees C: let it cool"),
        ({"free_bytes": 1 << 27}, "need 256 MiB of memory, 128 are free"),
        ({"cores": 2}, "3 threads, but 2 cores"),
        (
            {"cpu_quota": 2.5},
            "--threads 3, but a CPU quota of 2.5 cores: times would include",
        ),
    ],
)
def test_what_would_spoil_every_figure_is_refused(change: dict[str, Any], told: str) -> None:
    refusals, warnings = agent.find_faults({**CALM, **change}, 1 << 28, 3)
    assert [told in text for text in refusals] == [True]
    assert warnings == []


def test_more_threads_than_this_process_has_cores_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container or `taskset` leaves some of the machine's."""
    monkeypatch.setattr(agent, "_own_cores", lambda: {1, 3})
    with pytest.raises(agent.AgentError, match="3 threads, but this process may use 2 cores only"):
        next(agent.time_models([], replace(FAST, threads=3)))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"state": {**CALM["state"], "throttled": "0x10000"}}, "since its start: the supply voltage"),
        ({"state": {**CALM["state"], "throttled": "0x40000"}}, "since its start: the board is throttled"),
        ({"state": {**CALM["state"], "throttled": ""}}, "throttling cannot be seen: vcgencmd is missing, or"),
        ({"state": {**CALM["state"], "temperature_c": 75.0}}, "75 degrees C"),
        ({"governor": "ondemand"}, "governor ondemand, so figures will vary: echo performance"),
        ({"load": 1.5}, "busy with something else: load 1.5"),
        ({"cpu_quota": 3.5}, "a CPU quota of 3.5 cores for --threads 3: whatever else runs within it"),
    ],
)
def test_what_makes_figures_doubtful_is_warned_of(change: dict[str, Any], told: str) -> None:
    refusals, warnings = agent.find_faults({**CALM, **change}, 1 << 28, 3)
    assert refusals == []
    assert [told in text for text in warnings] == [True]


@pytest.mark.slow
def test_killed_at_any_time_it_goes_on_and_measures_nothing_twice(tiny: SearchSpace, tmp_path: Path) -> None:
    job = unpack(tmp_path, tiny)
    for count in (2, 6):
        process = start(tmp_path)
        wait_for_lines(tmp_path, count)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    before = (tmp_path / "results.jsonl").read_bytes()
    with (tmp_path / "results.jsonl").open("ab") as file:
        file.write(b'{"task": 1, "kind": "visit", "mod')  # as a power cut may leave it
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "done: take results.jsonl back" in done.stdout
    assert (tmp_path / "results.jsonl").read_bytes().startswith(before)
    found = measurements_of(tmp_path)
    names = job.tasks[1].models
    expected = {(0, names[0], turn) for turn in range(2)} | {
        (1, name, turn) for name in names for turn in range(3)
    }
    assert len(found) == len(set(found))
    assert set(found) == expected
    whole = (tmp_path / "results.jsonl").read_bytes()
    assert run(tmp_path).returncode == 0  # all of it is there
    assert (tmp_path / "results.jsonl").read_bytes() == whole


@pytest.mark.slow
def test_what_was_measured_otherwise_is_refused(tiny: SearchSpace, tmp_path: Path) -> None:
    unpack(tmp_path, replace(tiny, description=""), FAST)
    process = start(tmp_path)
    wait_for_lines(tmp_path, 2)
    process.kill()
    process.communicate()
    path = tmp_path / "results.jsonl"
    first, rest = path.read_text(encoding="utf-8").split("\n", 1)
    board = json.loads(first)

    def refusal_of(record: dict[str, Any], tail: str = rest) -> str:
        path.write_text(json.dumps(record) + "\n" + tail, encoding="utf-8")
        done = run(tmp_path)
        assert done.returncode == agent.REFUSED
        return done.stdout

    assert "was begun with governor powersave" in refusal_of({**board, "governor": "powersave"})
    assert "was begun with onnxruntime 0.1" in refusal_of({**board, "onnxruntime": "0.1"})
    assert "belongs to another job: move it away" in refusal_of({**board, "job": "0" * 20})
    assert "line 2 is damaged" in refusal_of(board, "half a li\n" + rest)


@pytest.mark.parametrize("content", ["", "[]", '{"protocol": {}}', "[" * 10**5, None])
def test_a_folder_without_a_job_is_refused(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "job.json").write_text(content, encoding="utf-8")
    with pytest.raises(agent.AgentError, match=r"job\.json: no job of this program: unpack the whole bundle"):
        agent.run_job(str(tmp_path))


def test_a_job_that_was_changed_on_the_board_is_refused(tiny: SearchSpace, tmp_path: Path) -> None:
    """The table would say that it was measured as it was asked for."""
    unpack(tmp_path, tiny)
    path = tmp_path / "job.json"
    job = json.loads(path.read_text(encoding="utf-8"))
    job["protocol"]["rounds"] = 1
    path.write_text(json.dumps(job), encoding="utf-8")
    with pytest.raises(agent.AgentError, match=r"job\.json was changed after it was written: unpack the"):
        agent.run_job(str(tmp_path))
    assert not (tmp_path / "results.jsonl").exists()


def test_a_second_agent_in_the_same_folder_is_refused(tiny: SearchSpace, tmp_path: Path) -> None:
    import fcntl

    unpack(tmp_path, tiny)
    with (tmp_path / "results.jsonl").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = run(tmp_path)
    assert done.returncode == agent.REFUSED
    assert "another agent writes" in done.stdout


@pytest.mark.usefixtures("no_locks")
def test_a_file_system_without_locks_serves_one_agent(tmp_path: Path) -> None:
    results = agent.Results(str(tmp_path / "results.jsonl"), None)
    results.file.close()
    assert (tmp_path / "agent.pid").read_text(encoding="ascii") == str(os.getpid())


@pytest.mark.parametrize("written", ["", "0", "-1", "x", "9" * 12, "9" * 9999, "another process"])
def test_nothing_but_an_agent_of_the_same_folder_is_ended(
    written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    path = tmp_path / "results.jsonl"
    monkeypatch.setattr(time, "sleep", lambda _: None)
    other = tmp_path / "other" / "agent.py"
    other.parent.mkdir()
    other.write_text("import time; print(flush=True); time.sleep(60)", encoding="utf-8")
    with (
        subprocess.Popen([sys.executable, str(other)], stdout=subprocess.PIPE) as process,
        path.open("ab") as held,
    ):
        assert process.stdout
        process.stdout.readline()
        held.write(b'{"kind": "device", "process": %d}\n' % process.pid)
        held.flush()
        fcntl.flock(held, fcntl.LOCK_EX)
        pid = str(process.pid) if written == "another process" else written
        (tmp_path / "agent.pid").write_text(pid, encoding="ascii")
        with pytest.raises(agent.AgentError, match="another agent writes"):
            agent.Results(str(path), 0)
        assert process.poll() is None
        process.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_an_agent_that_still_looks_at_its_board_is_ended_too(tiny: SearchSpace, tmp_path: Path) -> None:
    """It holds the lock, and has not written a line yet."""
    unpack(tmp_path / "job", tiny)
    tool = tmp_path / "bin" / "vcgencmd"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\ntouch {tmp_path}/looks\nexec sleep 4\n", encoding="utf-8")
    tool.chmod(0o755)
    process = start(tmp_path / "job", PATH=f"{tool.parent}:{os.environ['PATH']}")
    for _ in range(2000):
        if (tmp_path / "looks").exists():
            break
        time.sleep(0.01)
    results = agent.Results(str(tmp_path / "job" / "results.jsonl"), 0)
    results.file.close()
    assert not results.records
    process.communicate()
    assert process.returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    "content", [b"", b"no gzip", gzip.compress(b"another model")], ids=["empty", "no gzip", "another model"]
)
def test_a_damaged_model_is_refused(content: bytes, tiny: SearchSpace, tmp_path: Path) -> None:
    unpack(tmp_path, tiny)
    for path in (tmp_path / "models").iterdir():
        path.write_bytes(content)
    files = json.loads((tmp_path / "job.json").read_text(encoding="utf-8"))["models"]
    with pytest.raises(agent.AgentError, match="unpack the bundle again"):
        agent.ModelInFolder("m", str(tmp_path), next(iter(files.values()))).content  # noqa: B018
