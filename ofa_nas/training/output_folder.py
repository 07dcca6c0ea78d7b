"""The run folder of a training: nothing in it gets lost, and one is at work there at a time; no torch."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ofa_nas.errors import CheckpointError, ConfigError, FileError
from ofa_nas.files import check_folder_writable
from ofa_nas.locks import try_lock

CHECKPOINT = "checkpoint.safetensors"
_LOCK = ".training.lock"


def check_run_folder(folder: Path, checkpoint: str, *, resume: bool, work: str) -> Path:
    """Refuse a run folder that cannot be written, holds work that would be lost, or none to resume.

    Args:
        folder: As `--output` names it.
        checkpoint: File name.
        resume: Whether the work there is to go on.
        work: What it is called, such as `training`.

    Returns:
        Path of the checkpoint.

    Raises:
        CheckpointError: There is nothing to resume from.
        ConfigError: The folder holds a checkpoint that nobody asked to resume.
        FileError: The folder cannot be written.
    """
    path = folder / checkpoint
    if resume and not path.exists():
        raise CheckpointError(
            f"{path}: nothing to resume: leave out --resume, or give the --output of a {work}"
        )
    if path.exists() and not resume:
        raise ConfigError(f"{folder} holds a {work}: --resume continues it, another --output leaves it alone")
    check_folder_writable(folder, option="--output")
    return path


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Keep other trainings out of a run folder; what is made for that goes, unless a training leaves files.

    Raises:
        ConfigError: Another one is at work there.
        FileError: The folder cannot be written.
    """
    check_folder_writable(folder, option="--output")
    path = folder / _LOCK
    new = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise FileError(f"--output {path}: cannot be written: {error.strerror}") from error
    try:
        if not _lock(descriptor):
            raise ConfigError(
                f"{folder}: another training is at work here; wait for it, or give another --output"
            )
        try:
            yield
        finally:
            with suppress(OSError):  # Windows keeps what is open
                path.unlink()
                for one in new:
                    one.rmdir()
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Lock; not the file of one that has ended, and removed this very file, in the meantime."""
    return try_lock(descriptor) and os.fstat(descriptor).st_nlink > 0
