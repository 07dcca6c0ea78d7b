"""What made a file: version, commit, command, seed, libraries, machine."""

import platform
import shlex
import subprocess
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from operator import index
from pathlib import Path
from typing import Any

LIBRARIES = ("numpy", "torch", "onnx", "onnxruntime")
_INTERACTIVE = {"", "-c", "ipykernel_launcher.py"}  # programs whose arguments say nothing of what was run


@dataclass(frozen=True, slots=True)
class Provenance:
    """What made a file.

    Attributes:
        made_on: UTC date and time, ISO 8601.
        version: Version of this tool.
        commit: Git commit of the checkout, empty for an installed wheel.
        command: The command line, without the path of the program itself, as a shell would take it; empty
            in an interactive session and a notebook.
        seed: Seed of everything random in it.
        libraries: Versions of the libraries that were installed.
        machine: Operating system and processor.
    """

    made_on: str
    version: str
    commit: str
    command: str
    seed: int
    libraries: dict[str, str]
    machine: str

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON document."""
        return asdict(self)


def record_provenance(*, seed: int) -> Provenance:
    """Describe this process."""
    return Provenance(
        made_on=datetime.now(UTC).isoformat(timespec="seconds"),
        version=_version("ofa-nas"),
        commit=_commit(),
        command=_command(),
        seed=index(seed),
        libraries={name: _version(name) for name in LIBRARIES if _version(name)},
        machine=f"{platform.system()} {platform.machine()}, {processor_name()}",
    )


def processor_name() -> str:
    """The processor's model name, as far as the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "Model")):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown processor"


def _command() -> str:
    program, *arguments = sys.argv or [""]
    path = Path(program)
    name = path.parent.name if path.name == "__main__.py" else path.name  # `python -m NAME`
    if name in _INTERACTIVE:
        return ""
    return shlex.join(["ofa-nas" if name == __package__ else name, *arguments])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _commit() -> str:
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return ""
    try:
        command = ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
