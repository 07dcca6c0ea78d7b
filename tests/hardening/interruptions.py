"""Break off every long command at a random moment, look at what lies there, and run it again.

`python -m tests.hardening.interruptions --trials 20 [COMMAND …]` is the long version of
`test_interruptions.py`.
"""

import argparse
import os
import random
import resource
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np

from ofa_nas.errors import FileError
from ofa_nas.files import parse_json, read_json
from tests.hardening.privileges import read_only, respect_permissions
from tests.small_supernet import SmallSupernet, write_images

BOARD = "tests.pipeline.simulated_board://"
ARCH = "24/3x2/3x2"
PATIENCE_S = 300.0
WAYS = ("interrupt", "kill", "full", "read-only")
RECIPE = """
batch_size = 40
[[phases]]
name = "both"
teacher = "largest"
epochs = 3
learning_rate = 0.05
random_subnets = 1
"""


@dataclass(frozen=True, slots=True)
class Command:
    """A long command.

    Attributes:
        name: For people.
        arguments: After `ofa-nas`, in a folder of `prepare`.
        again: That go on with it once something lies there; the same without.
    """

    name: str
    arguments: tuple[str, ...]
    again: tuple[str, ...] = ()


NET = ("--supernet", "net/supernet.safetensors")
TRAIN = ("train", "--space", "tiny", "--data", "data", "--recipe", "mine.toml", "--output", "run")
TRANSFER = ("transfer", *NET, "--from", "smallest", "--data", "data", "--output", "run")
COMMANDS = (
    Command("train", (*TRAIN, "--checkpoint-minutes", "0", "--threads", "1"), ("--resume",)),
    Command(
        "predictor collect",
        ("predictor", "collect", *NET, "--data", "data", "--count", "30", "--images", "60"),
    ),
    Command("predictor fit", ("predictor", "fit", *NET)),
    Command(
        "profile host",
        ("profile", "--space", "tiny", "--rounds", "1", "--resolution", "24", "--output", "t.json"),
    ),
    Command("profile --bundle", ("profile", "--space", "tiny", "--bundle", "old.zip")),
    Command("verify-table", ("verify-table", "board.json", "--device", BOARD)),
    Command("search --export", ("search", *NET, "--macs", "1M", "--export", "old.onnx")),
    Command("search --report", ("search", *NET, "--macs", "1M", "--report", "old.html")),
    Command(
        "search --measured",
        (
            *(
                "search",
                *NET,
                "--macs",
                "1M",
                "--measured",
                "--data",
                "data",
                "--trials",
                "6",
                "--images",
                "60",
            ),
            *("--storage", "study.log", "--heartbeat", "0.1"),
        ),
    ),
    Command("export", ("export", ARCH, *NET, "--output", "old.onnx")),
    Command("export int8", ("export", ARCH, *NET, "--output", "old.onnx", "--precision", "int8")),
    Command("compare", ("compare", "old.onnx", *NET, "--baseline", "largest", "--images", "60")),
    Command("import", ("import", "official.pth", "--output", "imported/net.safetensors")),
    Command("import back", ("import", "net/large.safetensors", "--export-official", "old.pth")),
    Command(
        "transfer",
        (*TRANSFER, "--epochs", "2", "--checkpoint-minutes", "0", "--threads", "1"),
        ("--resume",),
    ),
    Command("report", ("report", "search.json", "--output", "old.html", "--plot", "old.svg")),
    Command("run", ("run", "whole.toml")),
    Command(
        "bootstrap",
        (
            "bootstrap",
            "--from",
            "net/supernet.safetensors",
            "--data",
            "data",
            "--output",
            "boot/b.safetensors",
        ),
    ),
)
BY_NAME = {command.name: command for command in COMMANDS}
RUN = """
data = "data"
threads = 1
[train]
space = "tiny"
epochs = 2
batch_size = 20
learning_rate = 0.1
held_out = 10
checkpoint_minutes = 0
[collect]
count = 10
near_front = 0
images = 40
[search]
macs = "1M"
[export]
precision = "int8"
"""


def prepare(small: SmallSupernet, folder: Path, commands: Sequence[Command] = COMMANDS) -> Path:
    """A folder in which commands can run, with an older file wherever one is written."""
    import torch

    from ofa_nas.pipeline.training.importing import import_official
    from tests.official_checkpoints import MOBILENET, flat_tensors
    from tests.pipeline.simulated_board import simulated_table

    folder.mkdir(parents=True)
    shutil.copytree(small.files.weights.parent, folder / "net")
    write_images(folder / "data", train=8, val=8)
    (folder / "mine.toml").write_text(RECIPE, encoding="utf-8")
    simulated_table().save(folder / "board.json")
    simulated_table().save(folder / "old.json")
    (folder / "whole.toml").write_text(RUN, encoding="utf-8")
    assert run(("export", ARCH, *NET, "--output", "old.onnx"), folder) == 0
    assert run(("search", *NET, "--macs", "1M", "--json-file", "search.json"), folder) == 0
    assert run(BY_NAME["report"].arguments, folder) == 0
    if BY_NAME["profile --bundle"] in commands:
        assert run(("profile", "--space", "tiny", "--resolution", "24", "--bundle", "old.zip"), folder) == 0
    if {BY_NAME["import"], BY_NAME["import back"]} & set(commands):  # large files
        torch.save(flat_tensors(MOBILENET), folder / "official.pth")
        import_official(folder / "official.pth", output=folder / "net/large.safetensors")
        shutil.copy(folder / "official.pth", folder / "old.pth")
    return folder


def run(
    arguments: Sequence[str],
    folder: Path,
    *,
    after_s: float | None = None,
    sign: int = 0,
    most_bytes: int = 0,
    is_locked: bool = False,
) -> int:
    """Run a command in a child of this process; gives its status, negative for a signal.

    Args:
        arguments: Of `ofa-nas`.
        folder: To run in; `told` there gets stderr.
        after_s: When to send a signal.
        sign: The signal.
        most_bytes: A file may have, as if the disk were full behind them; 0 for any.
        is_locked: Whether nothing can be written into the folder.
    """
    child = os.fork()
    if child == 0:
        _become(arguments, folder, most_bytes, is_locked)
    if after_s is not None:
        time.sleep(after_s)
        os.kill(child, sign)
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -999


def _become(arguments: Sequence[str], folder: Path, most_bytes: int, is_locked: bool) -> None:
    from ofa_nas.cli import main

    status = 70
    try:
        os.chdir(folder)
        os.environ["XDG_CACHE_HOME"] = str((folder.parent if is_locked else folder) / "cache")
        os.dup2(os.open("told", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        sys.argv = ["ofa-nas", *arguments]
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if is_locked:
            respect_permissions()
        if most_bytes:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
        status = main(list(arguments))
        sys.stderr.flush()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 71
    finally:
        os._exit(status)


def damage_in(folder: Path) -> list[str]:
    """Files that are neither an old nor a new one, but something half-written."""
    found = []
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        check = _CHECKS.get(path.suffix)
        if hidden or check is None or not path.is_file() or "data" in path.relative_to(folder).parts:
            continue
        try:
            check(path)
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            found.append(f"{path.relative_to(folder)}: {type(error).__name__}: {error!s:.200}")
    return found


def orphans_in(folder: Path) -> list[str]:
    """Temporary files that nobody will rename."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob(".*") if path.suffix == ".tmp")


def _check_lines(path: Path) -> None:
    for line in path.read_bytes().split(b"\n")[:-1]:
        parse_json(line)


def _check_tensors(path: Path) -> None:
    from ofa_nas.supernet.checkpoint import load_supernet, read_tensors
    from ofa_nas.supernet_card import SupernetFiles

    read_tensors(path)
    if path.with_suffix(".json").exists():
        load_supernet(SupernetFiles(path))


def _check_onnx(path: Path) -> None:
    from ofa_nas.export.card import ModelCard, read_model

    ModelCard.from_model(read_model(path), path)


def _check_npz(path: Path) -> None:
    from ofa_nas.data.sample import load_images

    load_images(path)


def _check_zip(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None


def _check_pth(path: Path) -> None:
    from ofa_nas.supernet.official import read_official

    read_official(path)


def _check_page(path: Path) -> None:
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")


def _check_npy(path: Path) -> None:
    np.load(path, allow_pickle=False)


def _check_database(path: Path) -> None:
    with sqlite3.connect(path) as database:
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)


_CHECKS: dict[str, Callable[[Path], object]] = {
    ".json": lambda path: read_json(path, error=FileError),
    ".jsonl": _check_lines,
    ".safetensors": _check_tensors,
    ".onnx": _check_onnx,
    ".npz": _check_npz,
    ".npy": _check_npy,
    ".zip": _check_zip,
    ".pth": _check_pth,
    ".html": _check_page,
    ".svg": ET.parse,
    ".db": _check_database,
}


def broken_off(
    command: Command, prepared: Path, way: str, *, share: float, whole_s: float, room: int = 20_000
) -> str:
    """Break a command off once and run it again; what was wrong, empty where nothing was.

    Args:
        command: To break off.
        prepared: Folder to copy.
        way: Of `WAYS`.
        share: Of its usual time after which that happens, in [0, 1].
        whole_s: Its usual time [s].
        room: Bytes of the largest file that can be written, of `full`.
    """
    with tempfile.TemporaryDirectory(dir=prepared.parent) as name:
        folder = Path(name) / "work"
        shutil.copytree(prepared, folder, symlinks=True)
        sign = {"interrupt": signal.SIGINT, "kill": signal.SIGKILL}.get(way, 0)
        after_s = share * whole_s if sign else None
        if way == "read-only":
            status = _run_locked(command, folder)
        else:
            most = 0 if sign else room
            status = run(command.arguments, folder, after_s=after_s, sign=sign, most_bytes=most)
        told = (folder / "told").read_text(encoding="utf-8", errors="replace")
        faults = _faults(way, status, told) + damage_in(folder)
        faults += [f"left {name}" for name in orphans_in(folder)] if way != "kill" else []
        has_begun = (folder / "run/checkpoint.safetensors").exists()
        status = run((*command.arguments, *(command.again if has_begun else ())), folder)
        if status:
            told = (folder / "told").read_text(encoding="utf-8", errors="replace")
            faults.append(f"run again, status {status}: {told[-300:]}")
        return "; ".join(faults + [f"then {one}" for one in damage_in(folder)])


def _run_locked(command: Command, folder: Path) -> int:
    """In a folder that cannot be written into, and is left as it was."""
    (folder / "told").touch()
    before = _contents(folder)
    with read_only(folder):
        (folder / "told").chmod(0o600)
        status = run(command.arguments, folder, is_locked=True)
    return status if _contents(folder) == before else 72


def _contents(folder: Path) -> dict[Path, tuple[int, int]]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != "told")
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


def _faults(way: str, status: int, told: str) -> list[str]:
    lines = told.strip().splitlines()
    if "Traceback" in told or "internal error" in told or "Exception ignored" in told:
        return [f"said {told[-600:]}"]
    if way == "interrupt" and status not in (0, 130):
        return [f"status {status}, said {lines[-3:]}"]
    if way == "interrupt" and status == 130 and lines[-1:] != ["interrupted"]:
        return [f"status 130, said {lines[-3:]}"]
    if way in ("full", "read-only") and (
        status not in (0, 1) or (status == 1 and sum("error: " in line for line in lines) != 1)
    ):
        return [f"status {status}, said {lines[-3:]}"]
    return []


def main() -> None:
    """Break off, look, run again and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=5, help="of each command and way")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("commands", nargs="*")
    args = parser.parse_args()
    from tests.small_supernet import make_small_supernet

    rng, root, is_good = random.Random(args.seed), Path(tempfile.mkdtemp(prefix="interruptions-")), True
    commands = [one for one in COMMANDS if one.name in args.commands] if args.commands else COMMANDS
    prepared = prepare(make_small_supernet(root / "small"), root / "prepared", commands)
    for command in commands:
        folder = root / "whole"
        shutil.copytree(prepared, folder, symlinks=True)
        start = time.monotonic()
        status = run(command.arguments, folder)
        whole_s = time.monotonic() - start
        told = (folder / "told").read_text(encoding="utf-8", errors="replace")
        sys.stdout.write(
            f"{command.name}: {whole_s:.1f} s, status {status} {told[-200:] if status else ''}\n"
        )
        shutil.rmtree(folder)
        found: Counter[str] = Counter()
        for _ in range(0 if status else args.trials):
            for way in WAYS:
                room = round(np.exp(rng.uniform(np.log(50), np.log(3e6))))
                fault = broken_off(command, prepared, way, share=rng.random(), whole_s=whole_s, room=room)
                found[f"{way}: {fault}" if fault else f"{way} fine"] += 1
        for fault, count in sorted(found.items()):
            sys.stdout.write(f"  {count} x {fault}\n")
        sys.stdout.flush()
        is_good &= not status and all(fault.endswith(" fine") for fault in found)
    shutil.rmtree(root)
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
