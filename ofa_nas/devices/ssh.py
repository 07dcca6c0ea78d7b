"""A board that OpenSSH reaches: `ssh://[USER@]HOST[:PORT][/PATH/OF/PYTHON]`.

The system's `ssh` does the talking, with the user's own keys, known hosts and configuration
(`$OFA_NAS_SSH_CONFIG` in place of `~/.ssh/config`). Host keys are always checked, and nothing is asked.
The board keeps what it measured in `~/.cache/ofa-nas` until `forget`, so a lost connection costs nothing.
"""

import hashlib
import io
import json
import logging
import os
import re
import secrets
import shlex
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ofa_nas.devices import AnyModel, Device, DeviceInfo, Logits, MeasuringProtocol, Profile, Visit, agent
from ofa_nas.devices.job import Answers, Job, Measured, Task, is_board, pack_model
from ofa_nas.errors import ConfigError, DeviceError

CONFIG = "OFA_NAS_SSH_CONFIG"
FOLDER = ".cache/ofa-nas"  # below the home folder, where commands of ssh begin
LAST = "all"  # an empty file behind all others of an upload: tar takes one that was cut off between two files
PAUSES_S = (1.0, 2.0, 5.0, 15.0, 60.0)  # before each new connection; after a measurement they begin again
SHORT_S = 300.0  # for what measures nothing; importing onnxruntime from an SD card takes its time
LOST, NOT_FOUND = 255, 127  # exit status of ssh itself, of a shell
KILLED = {  # exit status of a shell whose program a signal ended
    143: "another command took over this job there (wait until it is done), or somebody ended the agent",
    137: "the agent was killed there, most likely for too little memory: end other programs, or measure with "
    "--precision int8",
    132: "the agent crashed there (illegal instruction): numpy or onnxruntime is not for this processor, "
    "install another version",
}
KEPT = "What it measured is kept there: run the same command again to go on"
UNKNOWN_HOST = "Could not resolve hostname"
OPTIONS = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "ConnectTimeout": "15",
    "ServerAliveInterval": "10",
    "ServerAliveCountMax": "3",
    "ClearAllForwardings": "yes",
    "ControlMaster": "no",  # one that is there is used; a new one would outlive us and hold our pipes
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "PermitLocalCommand": "no",
    "RemoteCommand": "none",
    "RequestTTY": "no",
    "LogLevel": "ERROR",
}
_ADDRESS = re.compile(
    r"ssh://(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9_.-]*)@)?"
    r"(?P<host>[A-Za-z0-9_][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<python>(?:/[A-Za-z0-9_+.-]+)*)/?",
    re.ASCII,
)
_FINAL = {  # what ssh says, and what to do about it; trying again would not help
    "IDENTIFICATION HAS CHANGED": "its host key is not the one in your known_hosts: if the board was set up "
    "anew, remove the old key with ssh-keygen -R; if not, somebody may be in between",
    "Host key verification failed": "its host key is not in your known_hosts: connect once by hand with ssh, "
    "and compare the fingerprint with the board's",
    "Too many authentication failures": "ssh offers it more keys than it tries: name one in your "
    "configuration, with IdentityFile and IdentitiesOnly yes",
    "Permission denied": "it accepts none of your keys: ssh-copy-id sends one (passwords are not asked for)",
    UNKNOWN_HOST: "no such host: check the name, or give its IP address",
    "onfiguration option": "ssh does not accept your configuration",
}


class _LostError(Exception):
    """The connection broke, or the board asks for a pause; what was measured is still there."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a board is; empty or 0 where the user's configuration decides."""

    user: str
    host: str
    port: int
    python: str

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read `ssh://[USER@]HOST[:PORT][/PATH/OF/PYTHON]`; nothing else gets near a command line.

        Raises:
            DeviceError: It is something else.
        """
        found = _ADDRESS.fullmatch(text)
        if found is None or not 0 < int(found["port"] or 22) < 2**16:
            raise DeviceError(
                f"{text[:80]!r} is no address of a board: expected ssh://[USER@]HOST[:PORT], and behind that "
                "the path of a Python that has onnxruntime, unless python3 does"
            )
        port = int(found["port"] or 0)
        return cls(found["user"] or "", found["host"].strip("[]"), port, found["python"] or "python3")

    @property
    def name(self) -> str:
        """How tables call the board: its host name in small letters and dashes."""
        return re.sub(r"[^a-z0-9]+", "-", self.host.lower()).strip("-") or "board"


class Board:
    """A board behind an address."""

    def __init__(self, address: Address, text: str) -> None:
        self.address = address
        self.text = text
        self.jobs: list[str] = []
        self._info: DeviceInfo | None = None

    def info(self) -> DeviceInfo:
        """Describe it; asked once."""
        if self._info is None:
            command = f"{shlex.quote(self.address.python)} - --check; exit $?"
            try:
                with Path(agent.__file__).open("rb") as program:
                    done = self._call(command, program)
            except _LostError as error:
                raise DeviceError(f"{self.text} cannot be reached: {error}") from error
            record = _last_record(done.stdout)
            if done.returncode == agent.REFUSED and record.get("kind") == "refusal":
                told = _plain(record.get("text")).replace(agent.THEN_START, f"then measure {self._place}")
                raise DeviceError(f"{self.text} cannot be measured: {told}")
            if done.returncode or not is_board(record):
                raise self._failed(done.returncode, done.stderr)
            self._info = DeviceInfo.from_json(record, name=self.address.name)
        return self._info

    @property
    def _place(self) -> str:
        """The address without the path of a Python."""
        place = self.text.rstrip("/")
        return place.removesuffix(self.address.python) if self.address.python.startswith("/") else place

    def time(self, models: Sequence[AnyModel], protocol: MeasuringProtocol) -> Iterator[Visit]:
        """Time models in interleaved visits; the first model is the sentinel."""
        for record in self._measure("time", models, protocol):
            assert isinstance(record, Visit)
            yield record

    def profile(self, models: Sequence[AnyModel], protocol: MeasuringProtocol) -> Iterator[Profile]:
        """Profile models, each in several sittings."""
        for record in self._measure("profile", models, protocol):
            assert isinstance(record, Profile)
            yield record

    def logits(self, models: Sequence[AnyModel], protocol: MeasuringProtocol) -> Iterator[Logits]:
        """Run models on `agent.make_inputs`."""
        for record in self._measure("logits", models, protocol):
            assert isinstance(record, Logits)
            yield record

    def forget(self) -> None:
        """Remove what the board kept of these measurements."""
        folders = " ".join(shlex.quote(f"{FOLDER}/{job}") for job in self.jobs)
        if folders:
            try:
                self._call(f"rm -rf {folders}")
            except (DeviceError, _LostError) as error:
                logging.getLogger(__name__).warning("%s: %s stay there: %s", self.text, folders, error)
        self.jobs.clear()

    def _measure(
        self, kind: str, models: Sequence[AnyModel], protocol: MeasuringProtocol
    ) -> Iterator[Measured]:
        packed = [pack_model(model) for model in models]
        told = self.info().environment
        state = {key: told.get(key) for key in agent.FIXED}
        program = hashlib.sha256(Path(agent.__file__).read_bytes()).hexdigest()
        job = Job(
            protocol,
            (Task(kind, tuple(model.name for model in models)),),
            {model.name: model.file for model in packed},
            {"board": state, "agent": program},  # another of these, another job
        )
        files = job.files(packed)
        self.jobs.append(job.id)
        answers = Answers(job, self.text, DeviceError, fix="measure it again, and look after its storage")
        failures = 0
        while not answers.is_complete:
            known = len(answers.seen)
            try:
                self._send(job.id, files)
                yield from self._stream(answers)
            except _LostError as error:
                failures = 0 if len(answers.seen) > known else failures
                self._pause(failures, error)
                failures += 1

    def _pause(self, failures: int, error: _LostError) -> None:
        if failures == len(PAUSES_S):
            raise DeviceError(f"{self.text}: {error}; tried {failures} times more. {KEPT}") from error
        pause_s = PAUSES_S[failures]
        logging.getLogger(__name__).warning("%s: %s; again in %g s", self.text, error, pause_s)
        time.sleep(pause_s)

    def _send(self, job: str, files: Mapping[str, bytes]) -> None:
        """Have the files of a job on the board; where they are there, nothing is sent."""
        folder = f"{FOLDER}/{job}"
        if self._has(folder):
            return
        nested = f"{job}.{secrets.token_hex(4)}{agent.PART}"  # ours alone: others may be sending too
        part = f"{FOLDER}/{nested}"  # renamed when all of it is there
        unpack = f"mkdir -p {part} && tar -xmf - -C {part} && rm {part}/{LAST}"
        # Whoever sends the same job may be first; then mv moves ours into theirs.
        keep = f"{{ test -d {folder} || mv {part} {folder}; }} && rm -rf {part} {folder}/{nested}"
        with tempfile.TemporaryFile() as archive:  # hundreds of models are too many for the memory
            _pack({**files, LAST: b""}, archive)
            send = f"{{ {unpack} && {keep}; }} || {{ rm -rf {part}; exit 1; }}"
            done = self._call(send, archive, timeout_s=None)
        if done.returncode:
            said = done.stderr.decode(errors="replace")
            first = re.search(r"^(?:\S*/)?(?:sh|mkdir|tar|rm|mv): .*", said, re.MULTILINE)
            told = f"{_plain(first.group() if first else said)}; make room, or have ~/{FOLDER} writable"
            raise DeviceError(f"{self.text}: the models cannot be sent there: {told}")

    def _has(self, folder: str) -> bool:
        """Whether the board has all of a job; where not, it is made to drop what others left there."""
        python = shlex.quote(self.address.python)
        found = f"test -d {folder} && {{ touch {folder} 2>/dev/null; exit 0; }}"  # others must not sweep it
        with Path(agent.__file__).open("rb") as program:
            done = self._call(f"{found}; {python} - --sweep {FOLDER}; exit 1", program)
        return done.returncode == 0

    def _stream(self, answers: Answers) -> Iterator[Measured]:
        """Read what is still missing of a job, while the board measures it."""
        folder = f"{FOLDER}/{answers.job.id}"
        python = shlex.quote(self.address.python)
        command = f"{python} {folder}/agent.py {folder} --send-from {answers.lines}; exit $?"
        refusal: dict[str, Any] = {}
        with tempfile.TemporaryFile() as complaints, self._open(command, complaints) as process:
            assert process.stdin
            assert process.stdout
            try:
                for line in process.stdout:
                    if line.startswith(b'{"kind": "refusal"'):
                        refusal = _last_record(line)
                    elif line.startswith(b'{"kind": "waiting"'):
                        told = _plain(_last_record(line).get("text"))
                        logging.getLogger(__name__).warning("%s: %s", self.text, told)
                    elif line.startswith(b"{") and line.endswith(b"\n"):  # start-up files may print before
                        found = answers.read(line)
                        if found is not None:
                            yield found[1]
            except BaseException:  # whoever reads this has stopped, or an answer is wrong
                process.terminate()
                raise
            finally:
                with suppress(BrokenPipeError):
                    process.stdin.close()  # by this the agent knows that nobody listens any more
            status = process.wait()
            complaints.seek(0)
            complained = complaints.read()
        if answers.is_complete:
            return
        if refusal:
            raise self._refused(refusal, is_begun=bool(answers.seen))
        self._check_connection(status, complained)
        raise self._failed(status, complained)

    def _refused(self, refusal: Mapping[str, Any], *, is_begun: bool) -> DeviceError | _LostError:
        """Of a refusal: that of a board which was measured already may pass, unless it was changed."""
        told = _plain(refusal.get("text"))
        if refusal.get("final"):
            return DeviceError(f"{self.text} is not as it was when this measurement began: {told}")
        return _LostError(told) if is_begun else DeviceError(f"{self.text} cannot be measured: {told}")

    def _call(
        self, command: str, content: IO[bytes] | None = None, *, timeout_s: float | None = SHORT_S
    ) -> subprocess.CompletedProcess[bytes]:
        try:
            done = subprocess.run(
                self._command_line(command),
                stdin=content or subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout_s,
                check=False,
            )
        except FileNotFoundError as error:
            raise DeviceError("ssh is not installed on this machine; it comes with OpenSSH") from error
        except subprocess.TimeoutExpired as error:
            raise _LostError(f"no answer within {SHORT_S:.0f} s") from error
        self._check_connection(done.returncode, done.stderr)
        return done

    def _open(self, command: str, complaints: IO[bytes]) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        return subprocess.Popen(self._command_line(command), stdin=pipe, stdout=pipe, stderr=complaints)

    def _command_line(self, command: str) -> list[str]:
        """Arguments of ssh; `command` is for a POSIX shell there, whatever the login shell is."""
        config = os.environ.get(CONFIG, "")
        if config and not Path(config).is_file():
            raise ConfigError(f"{CONFIG}={config}: there is no such file; it is given to ssh as -F")
        line = ["ssh", *(["-F", config] if config else [])]
        for name, value in OPTIONS.items():
            line += ["-o", f"{name}={value}"]
        if self.address.user:
            line += ["-l", self.address.user]
        if self.address.port:
            line += ["-p", str(self.address.port)]
        return [*line, "--", self.address.host, f"sh -c {shlex.quote(command)}"]

    def _check_connection(self, status: int, complaints: bytes) -> None:
        if status != LOST:
            return
        text = complaints.decode(errors="replace")
        for sign, advice in _FINAL.items():
            if sign in text and (sign != UNKNOWN_HOST or self._info is None):
                raise self._fault(f"{advice} (ssh: {_plain(text)})")
        raise _LostError(_plain(text) or "the connection was lost")

    def _failed(self, status: int, complaints: bytes) -> DeviceError:
        last = _plain(complaints.decode(errors="replace"))
        if status == NOT_FOUND:
            return DeviceError(
                f"{self.text}: {last}; give the path of its Python: {self._place}/usr/bin/python3"
            )
        if status in KILLED:
            return self._fault(KILLED[status])
        return self._fault(f"the agent ended with status {status}: {last or 'it said nothing'}")

    def _fault(self, text: str) -> DeviceError:
        return DeviceError(f"{self.text}: {text}" + f". {KEPT}" * bool(self.jobs))


def connect(address: str) -> Device:
    """A board by its address; the first question connects.

    Raises:
        DeviceError: It is no address of a board.
    """
    return Board(Address.parse(address), address)


def _pack(files: Mapping[str, bytes], stream: IO[bytes]) -> None:
    """Write an archive, and go back to its beginning."""
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    stream.seek(0)


def _last_record(text: bytes) -> dict[str, Any]:
    lines = text.strip().splitlines() or [b""]
    try:
        record = json.loads(lines[-1])
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _plain(text: object) -> str:
    """The last line of what a stranger said, short and without control characters."""
    lines = str(text or "").strip().splitlines() or [""]
    return "".join(letter for letter in lines[-1] if letter.isprintable())[:300]
