"""A board that is this machine: a real sshd on the loopback, with keys, configuration and home of its own."""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from ofa_nas.devices import ssh

SSHD = shutil.which("sshd", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin")))


@dataclass(frozen=True, slots=True)
class Loopback:
    """An sshd and what belongs to it.

    Attributes:
        folder: Keys and configuration.
        home: Where sessions begin.
        port: That it listens on.
    """

    folder: Path
    home: Path
    port: int

    @property
    def address(self) -> str:
        """With this Python, which has onnxruntime."""
        return f"ssh://127.0.0.1:{self.port}{sys.executable}"

    @property
    def results(self) -> list[Path]:
        """What the agent wrote, of every job."""
        return sorted((self.home / ssh.FOLDER).glob("*/results.jsonl"))

    def run_first(self, command: str) -> None:
        """A shell command before every session, as a start-up file of the user's would hold one."""
        (self.folder / "profile").write_text(f"{command}\n", encoding="utf-8")

    def serve(self) -> int:
        """Start, or start again; the process."""
        assert SSHD
        config = str(self.folder / "sshd_config")
        subprocess.run([SSHD, "-f", config, "-E", str(self.folder / "log")], check=True)
        for _ in range(200):
            text = _read(self.folder / "pid")
            if text.strip().isdigit():
                return int(text)
            time.sleep(0.05)
        raise AssertionError(_read(self.folder / "log"))

    def cut(self, *, for_good: bool = False) -> None:
        """Kill the processes that serve connections, without a farewell; with the server if `for_good`."""
        server = int(_read(self.folder / "pid"))
        for process in _children(server):
            with suppress(ProcessLookupError):  # it has just ended by itself
                os.kill(process, signal.SIGKILL)
        if for_good:
            os.kill(server, signal.SIGKILL)
            (self.folder / "pid").unlink()
            self._wait_for_refusal()

    def _wait_for_refusal(self) -> None:
        """Until nothing listens: a dying server still takes connections for a moment, and resets them."""
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except ConnectionRefusedError:
                return
            except OSError:
                pass
            time.sleep(0.02)
        raise AssertionError(f"the server at port {self.port} does not end")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # it ended meanwhile
        return ""


def _children(process: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        fields = _read(path).rpartition(")")[2].split()
        if fields and int(fields[1]) == process:
            found.append(int(path.parent.name))
    return found


def make_key(path: Path) -> Path:
    """A key pair without a password."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


def trust(board: Loopback, public_key: Path) -> None:
    """Have the user know the board by a host key."""
    kind, key, *_ = public_key.read_text(encoding="utf-8").split()
    (board.folder / "known_hosts").write_text(f"[127.0.0.1]:{board.port} {kind} {key}\n", encoding="utf-8")


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """A board with nothing measured yet."""
    if SSHD is None or shutil.which("ssh") is None:
        pytest.skip("no OpenSSH server here: apt-get install openssh-server")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd of root asks for it
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder, home = tmp_path / "ssh", tmp_path / "home"
    folder.mkdir(mode=0o700)
    home.mkdir()
    found = Loopback(folder, home, port)
    host_key, user_key = make_key(folder / "host"), make_key(folder / "user")
    trust(found, host_key.with_suffix(".pub"))
    found.run_first(":")
    quoted = shlex.quote(str(home))
    (folder / "session").write_text(
        f"cd {quoted} && HOME={quoted} && TMPDIR={shlex.quote(str(folder))} && export HOME TMPDIR && "
        f". {shlex.quote(str(folder / 'profile'))}\n"
        'exec sh -c "$SSH_ORIGINAL_COMMAND"\n',
        encoding="utf-8",
    )
    (folder / "sshd_config").write_text(
        f"""ListenAddress 127.0.0.1:{port}
HostKey {host_key}
PidFile {folder / "pid"}
AuthorizedKeysFile {user_key}.pub
ForceCommand sh {folder / "session"}
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
""",
        encoding="utf-8",
    )
    (folder / "config").write_text(
        f"IdentityFile {user_key}\nIdentitiesOnly yes\nUserKnownHostsFile {folder / 'known_hosts'}\n",
        encoding="utf-8",
    )
    monkeypatch.setenv(ssh.CONFIG, str(folder / "config"))
    monkeypatch.setattr(ssh, "PAUSES_S", (0.1, 0.2))
    found.serve()
    yield found
    if (folder / "pid").exists():
        found.cut(for_good=True)
