"""Boards over ssh: a real sshd on the loopback, cut and misconfigured in every way that users meet."""

import json
import os
import re
import shutil
import signal
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

from ofa_nas.devices import Answering, MeasuringProtocol, Model, Visit, agent, open_device, ssh
from ofa_nas.errors import ConfigError, DeviceError
from ofa_nas.latency.references import reference_models
from ofa_nas.space.search_space import SearchSpace
from tests.devices.conftest import Loopback, make_key, trust
from tests.devices.test_board_state import age

FAST = MeasuringProtocol(
    rounds=4, max_rounds=4, visit_ms=0.0, retries=0, profile_runs=5, profile_skip=2, profile_sittings=2
)
ONCE = replace(FAST, rounds=1, max_rounds=1, passes=1)


@pytest.fixture(scope="module")
def models(tiny: SearchSpace) -> list[Model]:
    return list(reference_models(tiny))


def records_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def starts_of(path: Path) -> list[dict[str, Any]]:
    return [record for record in records_of(path) if record["kind"] == "device"]


def visited(visits: list[Visit]) -> Counter[str]:
    return Counter(visit.model for visit in visits)


def is_running(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2]
    except OSError:
        return False


def wait_for_end(process: int) -> None:
    for _ in range(600):
        if not is_running(process):
            return
        time.sleep(0.05)
    raise AssertionError(f"process {process} does not end")


def test_a_board_tells_what_it_is(board: Loopback) -> None:
    info = open_device(board.address).info()
    here = open_device("host").info()
    assert info.name == "127-0-0-1"
    assert (info.cpu, info.cores, info.onnxruntime) == (here.cpu, here.cores, here.onnxruntime)
    assert isinstance(info.environment["warnings"], list)
    assert not (board.home / ssh.FOLDER).exists()  # to ask leaves nothing there


@pytest.mark.slow
def test_a_board_measures_as_the_host_does(board: Loopback, models: list[Model]) -> None:
    device = open_device(board.address)
    profiles = list(device.profile(models, FAST))
    expected = list(open_device("host").profile(models, FAST))
    assert [one.model for one in profiles] == [one.model for one in expected]
    own = [{node.name for node in one.nodes if "/" in node.name} for one in profiles]
    assert own == [{node.name for node in one.nodes if "/" in node.name} for one in expected]
    visits = list(device.time(models, FAST))
    assert visited(visits) == {model.name: FAST.rounds for model in models}
    assert len(board.results) == 2
    device.forget()
    assert not list((board.home / ssh.FOLDER).iterdir())


@pytest.mark.slow
def test_a_board_answers_as_the_host_does(board: Loopback, models: list[Model]) -> None:
    device, here = open_device(board.address), open_device("host")
    assert isinstance(device, Answering)
    assert isinstance(here, Answering)
    found = list(device.logits(models[:2], FAST))
    assert found == list(here.logits(models[:2], FAST))  # bit for bit, through a text of nine digits
    assert [one.model for one in found] == [model.name for model in models[:2]]
    first, second = (np.array(one.logits) for one in found)
    assert np.ptp(first, axis=0).min() > 0.0  # no two inputs are alike
    assert not np.array_equal(first, second)
    assert list(device.logits(models[:2], FAST)) == found  # what is there is not computed again
    (path,) = board.results
    assert [one["kind"] for one in records_of(path)].count("logits") == 2
    device.forget()
    assert not board.results


@pytest.mark.slow
def test_a_cut_connection_goes_on_and_measures_nothing_twice(board: Loopback, models: list[Model]) -> None:
    visits = []
    for visit in open_device(board.address).time(models, FAST):
        visits.append(visit)
        if len(visits) in (2, 7):
            board.cut()
    assert visited(visits) == {model.name: FAST.rounds for model in models}
    (path,) = board.results
    keys = [(one["model"], one["round"]) for one in records_of(path) if one["kind"] == "visit"]
    assert len(keys) == len(set(keys)) == len(visits)
    written = [one["wall_ms"] for one in records_of(path) if one["kind"] == "visit"]
    assert [list(visit.wall_ms) for visit in visits] == written
    assert len(starts_of(path)) >= 2


@pytest.mark.campaign
def test_another_agent_is_sent_anew(
    board: Loopback, models: list[Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(open_device(board.address).time(models[:1], ONCE))
    later = tmp_path / "later_agent.py"
    later.write_bytes(Path(agent.__file__).read_bytes() + b"\n# a later version\n")
    monkeypatch.setattr(agent, "__file__", str(later))
    list(open_device(board.address).time(models[:1], ONCE))
    sent = [path.with_name("agent.py").read_bytes() for path in board.results]
    assert len(sent) == 2
    assert later.read_bytes() in sent


@pytest.mark.slow
def test_whoever_stops_leaves_no_agent_and_goes_on_later(board: Loopback, models: list[Model]) -> None:
    endless = replace(FAST, rounds=40, max_rounds=40, interval=1e9)
    first = open_device(board.address).time(models, endless)
    taken = [next(first) for _ in range(3)]
    first.close()  # type: ignore[attr-defined]
    (path,) = board.results
    (start,) = starts_of(path)
    wait_for_end(start["process"])
    visits = list(open_device(board.address).time(models, endless))
    assert visits[:3] == taken
    assert visited(visits) == {model.name: 40 for model in models}
    assert len(starts_of(path)) == 2


@pytest.mark.campaign
def test_an_agent_left_behind_is_ended_by_the_next(board: Loopback, models: list[Model]) -> None:
    """As where a network vanishes, and the board's sshd does not know yet."""
    endless = replace(FAST, rounds=2000, max_rounds=2000)
    first = open_device(board.address).time(models, endless)
    next(first)
    second = open_device(board.address).time(models, endless)
    next(second)
    (path,) = board.results
    for _ in range(200):
        starts = starts_of(path)
        if len(starts) == 2:
            break
        time.sleep(0.05)
    assert [is_running(start["process"]) for start in starts] == [False, True]
    second.close()  # type: ignore[attr-defined]
    with pytest.raises(DeviceError, match=r"another command took over this job.*kept there"):
        list(first)


@pytest.mark.slow
def test_another_job_waits_for_the_one_under_way_and_says_whose_that_is(
    board: Loopback, models: list[Model], caplog: pytest.LogCaptureFixture
) -> None:
    endless = open_device(board.address).time(models, replace(FAST, rounds=2000, max_rounds=2000))
    next(endless)
    (path,) = board.results
    (start,) = starts_of(path)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: list(open_device(board.address).time(models[:1], ONCE)))
        told = rf"waiting for another measurement there: process {start['process']} of \S+, asked from 127\.0"
        for _ in range(600):
            if re.search(told, caplog.text):
                break
            time.sleep(0.05)
        assert re.search(told, caplog.text)
        assert not [one for one in board.results if one != path and records_of(one)]
        os.kill(start["process"], signal.SIGKILL)  # leaves no lock
        assert len(waiting.result()) == 1
    with pytest.raises(DeviceError, match="was killed there"):
        list(endless)


@pytest.mark.campaign
def test_who_stops_waiting_leaves_no_agent(
    board: Loopback, models: list[Model], caplog: pytest.LogCaptureFixture
) -> None:
    endless = open_device(board.address).time(models, replace(FAST, rounds=2000, max_rounds=2000))
    next(endless)
    (start,) = starts_of(board.results[0])
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: list(open_device(board.address).time(models[:1], ONCE)))
        for _ in range(600):
            if "waiting for another" in caplog.text:
                break
            time.sleep(0.05)
        (empty,) = (path for path in board.results if not records_of(path))
        agents = start["process"], int(empty.with_name("agent.pid").read_text(encoding="ascii"))
        board.cut()  # both connections
        for process in agents:
            wait_for_end(process)
        assert len(waiting.result()) == 1


@pytest.mark.slow
def test_a_board_that_stays_away_is_given_up_and_keeps_what_it_measured(
    board: Loopback, models: list[Model]
) -> None:
    visits = open_device(board.address).time(models, FAST)
    next(visits)
    board.cut(for_good=True)
    with pytest.raises(DeviceError, match=r"refused; tried 2 times more.*run the same command again"):
        list(visits)
    board.serve()
    assert visited(list(open_device(board.address).time(models, FAST))) == {
        model.name: FAST.rounds for model in models
    }
    assert len(board.results) == 1


@pytest.mark.slow
def test_a_board_that_restarts_with_another_governor_is_told_once_and_goes_on_when_it_is_set(
    board: Loopback, models: list[Model], caplog: pytest.LogCaptureFixture
) -> None:
    visits = open_device(board.address).time(models, FAST)
    taken = [next(visits) for _ in range(2)]
    board.cut()
    (path,) = board.results
    wait_for_end(starts_of(path)[0]["process"])
    written = path.read_text(encoding="utf-8")
    ours = json.dumps(starts_of(path)[0]["governor"])
    path.write_text(written.replace(f'"governor": {ours}', '"governor": "steady"', 1), encoding="utf-8")
    told = r"was begun with governor steady, .*: echo steady \| sudo tee \S+, and run the same command again"
    with pytest.raises(DeviceError, match=told) as refused:
        taken += list(visits)
    assert "kept there" not in str(refused.value)
    assert not [record for record in caplog.records if "steady" in record.getMessage()]
    path.write_text(written, encoding="utf-8")
    assert list(open_device(board.address).time(models, FAST))[: len(taken)] == taken


def test_a_changed_host_key_is_refused(board: Loopback) -> None:
    trust(board, make_key(board.folder / "other").with_suffix(".pub"))
    with pytest.raises(DeviceError, match=r"host key is not the one in your known_hosts.*ssh-keygen -R"):
        open_device(board.address).info()


@pytest.mark.parametrize("setting", ["", "StrictHostKeyChecking no\n", "StrictHostKeyChecking accept-new\n"])
def test_an_unknown_host_key_is_refused_whatever_the_configuration(setting: str, board: Loopback) -> None:
    known = board.folder / "known_hosts"
    known.unlink()
    with (board.folder / "config").open("a", encoding="utf-8") as config:
        config.write(setting)
    with pytest.raises(DeviceError, match=r"host key is not in your known_hosts: connect once by hand"):
        open_device(board.address).info()
    assert not known.exists()


def test_a_board_that_takes_no_key_asks_for_no_password(board: Loopback) -> None:
    (board.folder / "user.pub").unlink()
    with pytest.raises(DeviceError, match="accepts none of your keys: ssh-copy-id"):
        open_device(board.address).info()


def test_a_board_that_is_not_there_is_told_at_once(board: Loopback) -> None:
    board.cut(for_good=True)
    # a kernel may still reset what the dead server had queued, where a moment ago it refused
    told = r"cannot be reached: ssh: connect to host \S+ port \d+: Connection (refused|reset by peer)$"
    with pytest.raises(DeviceError, match=told):
        open_device(board.address).info()


UNKNOWN = b"ssh: Could not resolve hostname nowhere: Name or service not known\r\n"


def test_an_unknown_name_is_told_with_advice() -> None:
    device = ssh.Board(ssh.Address.parse("ssh://nowhere"), "ssh://nowhere")
    with pytest.raises(DeviceError, match=r"ssh://nowhere: no such host: check the name"):
        device._check_connection(255, UNKNOWN)


def test_a_name_that_was_known_is_looked_up_again(board: Loopback) -> None:
    """As where one's own network is gone for a moment."""
    device = open_device(board.address)
    assert isinstance(device, ssh.Board)
    device.info()
    with pytest.raises(ssh._LostError, match="Could not resolve hostname"):
        device._check_connection(255, UNKNOWN)


def test_an_error_that_is_final_tells_that_measurements_are_kept() -> None:
    device = ssh.Board(ssh.Address.parse("ssh://board"), "ssh://board")
    device.jobs.append("0" * 20)
    with pytest.raises(
        DeviceError, match=r"accepts none of your keys.*kept there: run the same command again"
    ):
        device._check_connection(255, b"Permission denied (publickey).\r\n")


def test_too_many_keys_are_told_with_advice() -> None:
    device = ssh.Board(ssh.Address.parse("ssh://board"), "ssh://board")
    said = b"Received disconnect from ::1: Too many authentication failures\nDisconnected from ::1 port 22\n"
    with pytest.raises(DeviceError, match=r"more keys than it tries: name one.*IdentitiesOnly yes"):
        device._check_connection(255, said)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("kill -KILL $$", r"was killed there.*too little memory.*end other programs"),
        ("kill -ILL $$", r"illegal instruction.*another version"),
    ],
)
def test_a_process_that_is_ended_there_is_told_in_words(command: str, told: str, board: Loopback) -> None:
    program = board.home / "python3"
    program.write_text(f"#!/bin/sh\n{command}\n", encoding="utf-8")
    program.chmod(0o755)
    with pytest.raises(DeviceError, match=told):
        open_device(f"ssh://127.0.0.1:{board.port}{program}").info()


def stopped_upload(board: Loopback, *, hours: float) -> Path:
    """What an upload left that stopped so long ago."""
    part = board.home / ssh.FOLDER / f"{'0' * 20}.{hours:g}.part"
    (part / "models").mkdir(parents=True)
    then = time.time() - 3600.0 * hours
    for path in (part / "models", part):
        os.utime(path, (then, then))
    return part


def test_a_board_without_room_says_so_and_keeps_nothing_of_the_upload(
    board: Loopback, models: list[Model]
) -> None:
    others = stopped_upload(board, hours=1)
    board.run_first("trap '' XFSZ; ulimit -f 8; umask 077")
    device = open_device(board.address)
    with pytest.raises(DeviceError, match=r"cannot be sent there: tar: \S+ (Cannot write|Wrote).*make room"):
        list(device.time(models[:1], FAST))
    assert list((board.home / ssh.FOLDER).iterdir()) == [others]


@pytest.mark.slow
def test_an_upload_that_stopped_long_ago_is_swept_and_no_other(board: Loopback, models: list[Model]) -> None:
    recent, old = stopped_upload(board, hours=5), stopped_upload(board, hours=7)
    grown = stopped_upload(board, hours=8)
    (grown / "models" / "one").touch()
    list(open_device(board.address).time(models[:1], ONCE))
    assert (recent.exists(), old.exists(), grown.exists()) == (True, False, True)


@pytest.mark.campaign
def test_a_job_that_nobody_asked_for_any_more_is_swept_before_another_is_sent(
    board: Loopback, models: list[Model]
) -> None:
    def measure(model: Model) -> None:
        list(open_device(board.address).time([model], ONCE))

    measure(models[0])
    (path,) = board.results
    age(path.parent, days=15)
    measure(models[0])  # asked for
    measure(models[1])
    assert len(board.results) == 2
    age(path.parent, days=15)
    measure(models[2])
    assert len(board.results) == 2
    assert not path.parent.exists()


def hold_first_upload(board: Loopback, tmp_path: Path) -> tuple[Path, Path]:
    """Have the board unpack the first upload once there is the second of these files; the first tells."""
    tools, waits, go = tmp_path / "slow", tmp_path / "waits", tmp_path / "go"
    tools.mkdir()
    (tools / "tar").write_text(
        f"#!/bin/sh\nmkdir {waits} 2>/dev/null && while ! test -e {go}; do sleep 0.05; done\n"
        f'exec {shutil.which("tar")} "$@"\n',
        encoding="utf-8",
    )
    (tools / "tar").chmod(0o755)
    board.run_first(f"PATH={tools}:$PATH; export PATH")
    return waits, go


@pytest.mark.slow
@pytest.mark.parametrize("is_same", [False, pytest.param(True, marks=pytest.mark.campaign)])
def test_uploads_at_the_same_time_do_not_disturb_each_other(
    board: Loopback, models: list[Model], tmp_path: Path, is_same: bool
) -> None:
    waits, go = hold_first_upload(board, tmp_path)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(lambda: list(open_device(board.address).time(models[:1], ONCE)))
        for _ in range(600):
            if waits.exists():
                break
            time.sleep(0.05)
        second = list(open_device(board.address).time(models[:1] if is_same else models[1:2], ONCE))
        go.touch()
        assert [one.model for one in first.result()] == [models[0].name]
    assert (first.result() == second) == is_same
    folders = list((board.home / ssh.FOLDER).iterdir())
    assert len(folders) == (1 if is_same else 2)
    assert not [path for folder in folders for path in folder.iterdir() if path.suffix == ".part"]


def test_an_upload_that_is_cut_off_between_two_files_is_not_taken(
    board: Loopback, models: list[Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pack_half(files: Mapping[str, bytes], stream: IO[bytes]) -> None:
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            archive.addfile(tarfile.TarInfo(next(iter(files))))
            stream.flush()
        stream.truncate(512)
        stream.seek(0)

    monkeypatch.setattr(ssh, "_pack", pack_half)
    with pytest.raises(DeviceError, match="cannot be sent there: rm: "):
        list(open_device(board.address).time(models[:1], FAST))
    assert not list((board.home / ssh.FOLDER).iterdir())


def test_a_missing_python_is_told_with_what_to_give(board: Loopback) -> None:
    address = f"ssh://127.0.0.1:{board.port}/opt/nothing/python"
    told = f"give the path of its Python: ssh://127.0.0.1:{board.port}/usr/bin/python3$"
    with pytest.raises(DeviceError, match=told):
        open_device(address).info()


def test_a_python_without_packages_is_told_with_the_address_to_give(board: Loopback) -> None:
    """Of an environment to be made, whatever Python was asked first."""
    bare = board.home / "python3"
    bare.write_text(f'#!/bin/sh\nexec {sys.base_prefix}/bin/python3 -S "$@"\n', encoding="utf-8")
    bare.chmod(0o755)
    told = f"; then measure ssh://127.0.0.1:{board.port}{board.home}/ofa/bin/python$"
    with pytest.raises(DeviceError, match=told):
        open_device(f"ssh://127.0.0.1:{board.port}{bare}").info()


@pytest.mark.parametrize("path", ["", "/", "/opt/python3", "/opt/python3/"])
def test_the_path_that_is_advised_takes_the_place_of_the_wrong_one(path: str) -> None:
    address = f"ssh://pi@python3{path}"
    failure = ssh.Board(ssh.Address.parse(address), address)._failed(127, b"sh: python: not found")
    assert str(failure).endswith("give the path of its Python: ssh://pi@python3/usr/bin/python3")


@pytest.mark.slow
def test_what_start_up_files_print_does_not_matter(board: Loopback, models: list[Model]) -> None:
    board.run_first("echo Welcome to the board")
    device = open_device(board.address)
    assert device.info().cores >= 1
    assert len(list(device.time(models[:1], replace(FAST, interval=1e9)))) == FAST.rounds


@pytest.mark.slow
def test_a_board_in_no_state_to_be_measured_says_why(board: Loopback, tmp_path: Path) -> None:
    tool = tmp_path / "bin" / "vcgencmd"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho throttled=0x50005\n", encoding="utf-8")
    tool.chmod(0o755)
    board.run_first(f"PATH={tool.parent}:$PATH; export PATH")
    with pytest.raises(DeviceError, match=r"cannot be measured: the supply voltage is too low.*throttled"):
        open_device(board.address).info()
    tool.write_text("#!/bin/sh\necho throttled=0x50000\n", encoding="utf-8")
    warnings = open_device(board.address).info().environment["warnings"]
    assert any("since its start: the supply voltage" in text for text in warnings)


@pytest.mark.slow
def test_names_of_models_are_never_commands(board: Loopback, models: list[Model], tmp_path: Path) -> None:
    bad = "$(touch owned)`touch owned`; touch owned #'\"\n../../owned"
    wanted = [Model(bad, models[0].content)]
    visits = list(open_device(board.address).time(wanted, replace(FAST, interval=1e9)))
    assert visited(visits) == {bad: FAST.rounds}
    assert not list(tmp_path.rglob("owned"))


@pytest.mark.parametrize(
    "address",
    [
        "ssh://",
        "ssh:///usr/bin/python3",
        "ssh://-oProxyCommand=touch owned",
        "ssh://-oProxyCommand=sh@board",
        "ssh://pi@-l",
        "ssh://board;reboot",
        "ssh://$(reboot)",
        "ssh://board reboot",
        "ssh://board\n",
        "ssh://pi@board:0",
        "ssh://pi@board:65536",
        "ssh://pi@board:22x",
        "ssh://pi@board/usr/bin/python3;reboot",
        "ssh://pi@board/usr/bin/python 3",
        "ssh://pi:secret@board",
        "ssh://[::1",
        "ssh",
    ],
)
def test_hostile_addresses_never_reach_a_command_line(address: str) -> None:
    with pytest.raises(DeviceError, match="is no address of a board: expected ssh://"):
        open_device(address)


def test_addresses_are_read_as_ssh_would_want_them() -> None:
    parse = ssh.Address.parse
    assert parse("ssh://rpi4") == ssh.Address("", "rpi4", 0, "python3")
    assert parse("ssh://pi@raspberrypi.local:2222/") == ssh.Address(
        "pi", "raspberrypi.local", 2222, "python3"
    )
    full = parse("ssh://pi@[fe80::1]:22/home/pi/venv/bin/python")
    assert full == ssh.Address("pi", "fe80::1", 22, "/home/pi/venv/bin/python")
    assert parse("ssh://pi@Raspberrypi.local").name == "raspberrypi-local"
    line = ssh.Board(full, "x")._command_line("true; exit $?")
    assert line[-3:] == ["--", "fe80::1", "sh -c 'true; exit $?'"]
    assert line[line.index("-l") + 1] == "pi"
    assert "StrictHostKeyChecking=yes" in line
    assert "BatchMode=yes" in line


def test_a_configuration_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ssh.CONFIG, os.devnull + "/nothing")
    with pytest.raises(ConfigError, match=ssh.CONFIG):
        open_device("ssh://board").info()


def test_a_machine_without_ssh_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nothing")
    with pytest.raises(DeviceError, match="ssh is not installed"):
        open_device("ssh://board").info()
