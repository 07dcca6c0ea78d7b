"""What a run folder remembers: which steps are done, and of which inputs; so that each is done once."""

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from ofa_nas.errors import ConfigError, FileError
from ofa_nas.files import check_version, open_regular, read_json, write_json
from ofa_nas.locks import try_lock
from ofa_nas.provenance import record_provenance
from ofa_nas.training.output_folder import CHECKPOINT

RECORD, LOCK = "run.json", ".run.lock"
SCHEMA_VERSION = 1
BEGUN, DONE = "begun", "done"
_MOST = 1e15  # seconds [s]
LOCK_S = 30.0  # how long the step of a killed run may take to notice, and a training to leave its checkpoint
# What a file says of its making, and what checks add to it later: neither is its content.
_ABOUT = ("made_by", "provenance", "history")
_TRAINED = (CHECKPOINT, "history.jsonl", "tensorboard", "supernet.")
_SETTINGS = {  # options that change neither what is made nor what it is worth
    "train": {"--threads", "--checkpoint-minutes", "--tensorboard", "--device"},
    "predictor": {"--threads", "--device"},
    "profile": {"--unless-fresh"},
}


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a run.

    Attributes:
        name: For people and `--from`.
        commands: Arguments of `ofa-nas`, one after the other.
        inputs: By name: a file, or the digest of something else.
        outputs: Files that it leaves.
        grows: Whether users may add to them.
    """

    name: str
    commands: tuple[tuple[str, ...], ...]
    inputs: Mapping[str, Path | str]
    outputs: tuple[Path, ...]
    grows: bool = False

    def digests(self) -> dict[str, str]:
        """Digests of the inputs by name; empty for a file that is not there yet."""
        return {name: digest_of(one) if isinstance(one, Path) else one for name, one in self.inputs.items()}


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What is remembered of a step.

    Attributes:
        state: `begun` or `done`.
        commands: As they were run.
        inputs: Digests by name, before it began.
        outputs: Digests by path, after it was done.
        parts: Commands that are done.
        status: Exit status; 1 where a file was written that breaks a promise.
        seconds: That it took, over all attempts [s].
        made_by: Version, machine and so on.
    """

    state: str
    commands: list[list[str]]
    inputs: dict[str, str]
    outputs: dict[str, str] = field(default_factory=dict)
    parts: int = 0
    status: int = 0
    seconds: float = 0.0
    made_by: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def begin(cls, step: Step, *, seed: int, before: Self | None) -> Self:
        """A step that begins, or goes on with what was done of the same before."""
        if before is not None and before.is_same(step):
            return before if before.state == BEGUN else replace(before, state=BEGUN, parts=0)
        commands, made_by = list(map(list, step.commands)), record_provenance(seed=seed).to_json()
        return cls(BEGUN, commands, step.digests(), made_by=made_by)

    def finish(self, step: Step) -> Self:
        """The same when all of it is done."""
        return replace(self, state=DONE, outputs={str(path): digest_of(path) for path in step.outputs})

    def is_same(self, step: Step) -> bool:
        """Whether the step would do the same, on the same inputs, as when this was recorded."""
        return _essence(step.commands) == _essence(self.commands) and step.digests() == self.inputs


class RunFolder:
    """The folder of a run.

    Args:
        path: It may not be there yet.

    Raises:
        FileError: Its record is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.steps: dict[str, StepRecord] = {}
        self.listing = self.content = ""
        if (path / RECORD).exists():
            self._read(path / RECORD)

    def _read(self, path: Path) -> None:
        document = read_json(path, error=FileError)
        names = {one.name for one in fields(StepRecord)}
        check_version(
            document,
            "schema_version",
            reads=SCHEMA_VERSION,
            where=path,
            error=FileError,
            again="name another folder",
        )
        try:
            for name, record in document["steps"].items():
                self.steps[str(name)] = _checked(StepRecord(**{key: record[key] for key in names}))
            data = document["data"]
            self.listing, self.content = str(data["listing"]), str(data["content"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FileError(
                f"{path}: not the record of a run ({error!r}); delete it to run all steps anew"
            ) from error

    def save(self, *, settings: Mapping[str, Any]) -> None:
        """Write the record.

        Args:
            settings: The run file as it was read.
        """
        document = {
            "schema_version": SCHEMA_VERSION,
            "settings": dict(settings),
            "data": {"listing": self.listing, "content": self.content},
            "steps": {name: asdict(record) for name, record in self.steps.items()},
        }
        write_json(self.path / RECORD, document)

    def why(self, step: Step) -> str:
        """Why a step has to be run; empty where it is done, and what it made is there."""
        record = self.steps.get(step.name)
        if record is None:
            return "never done"
        change = _change(record.commands, step.commands) or _changed_input(record.inputs, step.digests())
        if change or record.state == BEGUN:
            return change or "was interrupted"
        for path in step.outputs:
            now = digest_of(path)
            if not now or (now != record.outputs.get(str(path)) and not step.grows):
                return f"{path.name} {'was changed' if now else 'is missing'}"
        return ""

    def set_training_aside(self) -> Path | None:
        """Move a training and its supernet into a folder of their own; None where there is none."""
        there = [
            path
            for path in (sorted(self.path.iterdir()) if self.path.is_dir() else [])
            if path.name.startswith(_TRAINED)
        ]
        if not there:
            return None
        number = 1
        while (target := self.path / f"superseded-{number}").exists():
            number += 1
        target.mkdir()
        for path in there:
            path.rename(target / path.name)
        return target

    @contextmanager
    def locked(self) -> Iterator[int]:
        """Keep other runs out; what a killed one left half written goes.

        Yields:
            A descriptor that holds the lock for as long as any process has it open.

        Raises:
            ConfigError: Another run is at work here.
            FileError: Nothing can be written.
        """
        path = self.path / LOCK
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise FileError(f"{path}: cannot be written: {error.strerror}") from error
        try:
            _wait_for(descriptor, self.path)
            for torn in self.path.glob(".*.tmp"):
                if torn.is_file():
                    torn.unlink(missing_ok=True)
            yield descriptor
        finally:
            os.close(descriptor)


def _checked(record: StepRecord) -> StepRecord:
    """A record whose fields are what they should be.

    Raises:
        TypeError: One is not.
    """
    commands = record.commands
    if not isinstance(commands, list) or not all(isinstance(one, list) and one for one in commands):
        raise TypeError("commands")
    words = [word for command in commands for word in command]
    texts = [*words, *record.inputs.values(), *record.outputs.values()]
    limits = {"parts": (int, len(commands)), "status": (int, 1), "seconds": (float, _MOST)}
    for name, (kind, most) in limits.items():
        value = getattr(record, name)
        if type(value) not in (int, kind) or not 0 <= value <= most:
            raise TypeError(f"{name}: {value!r:.40}")
    if record.state not in (BEGUN, DONE):
        raise TypeError(f"state: {record.state!r:.40}")
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a field")
    return record


def _wait_for(descriptor: int, folder: Path) -> None:
    """Lock, unless another run holds on to it."""
    deadline = time.monotonic() + LOCK_S
    while not try_lock(descriptor):
        if time.monotonic() > deadline:
            raise ConfigError(f"{folder}: another ofa-nas run is at work here; wait for it, or end it")
        time.sleep(0.1)


def digest_of(path: Path) -> str:
    """SHA-256 of a file, of a JSON document without what tells of its making; empty without a file."""
    try:
        with open_regular(path, error=FileError) as file:
            content = file.read()
    except (FileError, OSError):
        return ""
    if path.suffix == ".json":
        try:
            document = json.loads(content)
            kept = {key: value for key, value in document.items() if key not in _ABOUT}
            content = json.dumps(kept, sort_keys=True).encode()
        except (ValueError, AttributeError, RecursionError):
            pass  # a damaged one is another one
    return hashlib.sha256(content).hexdigest()


def _options(command: Sequence[str]) -> dict[str, str]:
    """The words of a command line by the option before them; those before any stand under its name."""
    words: dict[str, list[str]] = {}
    option = command[0]
    for word in command:
        option = word if word.startswith("--") else option
        words.setdefault(option, []).extend([word] if word != option else [])
    free = _SETTINGS.get(command[0], set())
    return {option: " ".join(given) for option, given in words.items() if option not in free}


def _essence(commands: Sequence[Sequence[str]]) -> list[dict[str, str]]:
    return [_options(command) for command in commands]


def _change(before: Sequence[Sequence[str]], now: Sequence[Sequence[str]]) -> str:
    """What differs between the commands of a step, by the name of an option; empty for nothing."""
    for then_options, now_options in zip(_essence(before), _essence(now), strict=False):
        for option in dict.fromkeys((*then_options, *now_options)):
            values = (then_options.get(option), now_options.get(option))
            if values[0] != values[1]:
                then, new = ("nothing" if value is None else value or "given" for value in values)
                return f"{option.removeprefix('--')} was {then:.60}, now it is {new:.60}"
    return "" if len(before) == len(now) else f"it was {len(before)} commands, now it is {len(now)}"


def _changed_input(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    names = [name for name in dict.fromkeys((*before, *now)) if before.get(name) != now.get(name)]
    return f"{', '.join(names)} changed" if names else ""
