"""What a board is asked to measure, as the files of one folder, and what it may answer.

The folder is the same whether it travels by ssh or in a bundle: `agent.py`, `job.json`, `models/`; there the
agent appends `results.jsonl`. Answers come from elsewhere, so every line is checked.
"""

import gzip
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Self

from ofa_nas.devices import LARGEST_SETTING, AnyModel, Logits, MeasuringProtocol, Profile, Visit, agent
from ofa_nas.errors import OfaNasError
from ofa_nas.files import check_version, parse_json

SCHEMA = 1
LEAST_MS, LARGEST_MS = 1e-4, 1e7  # of a run; the agent rounds to the least
LARGEST_LOGIT = 3.5e38  # beyond fp32
MOST_CORES = 4096  # of a board, as tables are read
MOST_SETTING = 10_000  # of a protocol but its seed: visits, runs, [ms], [s]; nobody waits for longer
LEVEL = 6  # of gzip: 1 does not see how the weights of a model to be timed repeat; 9 saves nothing more
Record = dict[str, Any]
Measured = Visit | Profile | Logits
TASKS = {"visit": "time", "profile": "profile", "logits": "logits"}  # by the kind of record that they ask for


@dataclass(frozen=True, slots=True)
class ModelFile:
    """Where a model lies in the folder, and what it is.

    Attributes:
        file: Path below the folder; compressed by gzip.
        sha256: Of the ONNX file itself.
        bytes: Size of that.
    """

    file: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class PackedModel:
    """A model ready to be sent; one with random weights takes a fiftieth of its size or less."""

    name: str
    file: ModelFile
    packed: bytes

    @property
    def content(self) -> bytes:
        """The ONNX file."""
        return gzip.decompress(self.packed)


def pack_model(model: AnyModel) -> PackedModel:
    """Compress a model, unless it is compressed; the same model gives the same bytes."""
    if isinstance(model, PackedModel):
        return model
    digest = hashlib.sha256(model.content).hexdigest()
    file = ModelFile(f"models/{digest[:16]}.onnx.gz", digest, len(model.content))
    return PackedModel(model.name, file, gzip.compress(model.content, LEVEL, mtime=0))


@dataclass(frozen=True, slots=True)
class Task:
    """One call of a device: `time`, `profile` or `logits`, and the names of its models in order."""

    kind: str
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """What to measure.

    Attributes:
        protocol: How.
        tasks: One after another.
        models: By name.
        about: What it is for; the agent does not read it.
    """

    protocol: MeasuringProtocol
    tasks: tuple[Task, ...]
    models: Mapping[str, ModelFile]
    about: Mapping[str, Any]

    @property
    def id(self) -> str:
        """Twenty hex digits; every other job has others."""
        return agent.job_id(self._content())

    def _content(self) -> Record:
        return {
            "schema": SCHEMA,
            "protocol": asdict(self.protocol),
            "tasks": [asdict(task) for task in self.tasks],
            "models": {name: asdict(file) for name, file in self.models.items()},
            "about": dict(self.about),
        }

    def files(self, models: Sequence[PackedModel]) -> dict[str, bytes]:
        """Contents of the folder's files by their paths, sorted."""
        document = json.dumps({"id": self.id, **self._content()}, indent=1, ensure_ascii=False)
        files = {"agent.py": Path(agent.__file__).read_bytes(), "job.json": document.encode()}
        return dict(sorted((files | {model.file.file: model.packed for model in models}).items()))

    @classmethod
    def parse(cls, content: bytes, *, where: str, error: type[OfaNasError]) -> Self:
        """Read `job.json`.

        Raises:
            OfaNasError: In the class `error`, when it was not written by `files` of this version.
        """
        again = "write the bundle again"
        try:
            document = parse_json(content)
            if "schema" in document:
                check_version(document, "schema", reads=SCHEMA, where=where, error=error, again=again)
            job = cls(
                read_protocol(document["protocol"]),
                tuple(Task(task["kind"], tuple(task["models"])) for task in document["tasks"]),
                {name: ModelFile(**file) for name, file in document["models"].items()},
                dict(document["about"]),
            )
            is_whole = document["schema"] == SCHEMA and document["id"] == job.id
        except (ValueError, KeyError, TypeError, AttributeError) as cause:
            raise error(f"{where}: holds no job of this version of ofa-nas: {again}") from cause
        if not is_whole:
            raise error(f"{where}: the job was changed after it was written: {again}")
        return job


@dataclass(slots=True)
class Answers:
    """Reads what the agent answers, line by line, and refuses what cannot be an answer to the job.

    Attributes:
        job: That was asked.
        where: File or address, for messages.
        error: Class to raise.
        fix: What to do about a damaged line.
        lines: Read so far.
        machines: What the board told of itself, at every start of the agent: each time the same board.
        done: Tasks that are.
        seen: Measurements read: task, model, and number of the round or sitting.
    """

    job: Job
    where: str
    error: type[OfaNasError]
    fix: str
    lines: int = 0
    machines: list[Record] = field(default_factory=list)
    done: set[int] = field(default_factory=set)
    seen: set[tuple[int, str, int]] = field(default_factory=set)

    @property
    def is_complete(self) -> bool:
        """Whether every task is done."""
        return len(self.done) == len(self.job.tasks)

    @property
    def machine(self) -> Record:
        """What the board told at first, with the warnings of all starts, one a kind: figures may differ.

        A host name may change, or be another board of the same model: that is warned of too.
        """
        warnings: dict[str, str] = {}
        for text in (text for machine in self.machines for text in machine["warnings"]):
            warnings.setdefault(re.sub(r"[0-9.]+", "", text), text)
        names = list(dict.fromkeys(str(machine["host_name"]) for machine in self.machines))
        joined = [f"it was begun on {names[0]}, and continued on {', '.join(names[1:])}"] * (len(names) > 1)
        return {**self.machines[0], "warnings": [*warnings.values(), *joined]}

    def read(self, line: bytes) -> tuple[int, Measured] | None:
        """The number of a task and a measurement; None where the line tells of something else.

        Raises:
            OfaNasError: In the class `error`; the message names the line and what to do.
        """
        self.lines += 1
        try:
            record = parse_json(line)
        except ValueError:
            self._fail("is damaged")
        if not isinstance(record, dict):
            self._fail("is no record of the agent")
        kind = record.get("kind")
        if isinstance(kind, str) and kind in TASKS:
            return self._measurement(record, kind)
        if kind == "device":
            self._meet(record)
        elif kind == "done":
            self._finish(record)
        else:
            self._fail("is no record of the agent")
        return None

    def _meet(self, record: Record) -> None:
        if record.get("job") != self.job.id:
            self._fail("belongs to another job", fix="take the results and the bundle that belong together")
        if not is_board(record):
            self._fail("does not describe a board")
        asked, own = self.job.protocol.provider, record.get("provider", "")
        if own != asked:
            measured = f"{own!r:.80}" if own else "the CPU"
            told = f"was measured with {measured}, and the job is for {asked or 'the CPU'}"
            self._fail(told, fix="take the results as the agent wrote them")
        for key in agent.FIXED if self.machines else ():
            first, own = self.machines[0].get(key), record.get(key)
            if first != own:
                told = f"tells of {key} {own!r:.80}, the first line of {first!r:.80}"
                self._fail(told, fix="take the results of one board, as the agent wrote them")
        self.machines.append(record)

    def _finish(self, record: Record) -> None:
        number = self._task_number(record)
        least = agent.least_records(self.job.tasks[number].kind, self.job.protocol)
        for model in self.job.tasks[number].models:
            if any((number, model, turn) not in self.seen for turn in range(least)):
                self._fail(f"says done, but measurements of {model[:80]} are missing")
        self.done.add(number)

    def _measurement(self, record: Record, kind: str) -> tuple[int, Measured]:
        number = self._task_number(record)
        model, turn = record.get("model"), record.get("round" if kind == "visit" else "sitting", -1)
        task = self.job.tasks[number]
        if TASKS[kind] != task.kind or model not in task.models or not _is_count(turn, least=0):
            self._fail("measures something that the job does not ask for")
        if (number, model, turn) in self.seen:
            self._fail("measures the same again", fix="take the file as the agent wrote it")
        self.seen.add((number, str(model), int(turn)))
        if kind == "visit":
            is_whole = _is_visit(record, self.job.protocol.clock)
        else:
            is_whole = _is_profile(record) if kind == "profile" else _is_logits(record)
        if not is_whole:
            self._fail("holds figures that nothing can have measured")
        reader: type[Measured] = {"visit": Visit, "profile": Profile, "logits": Logits}[kind]
        return number, reader.from_json(record)

    def _task_number(self, record: Record) -> int:
        number: Any = record.get("task")
        if not self.machines:
            self._fail("stands before any description of a board", fix="take the file as the agent wrote it")
        if not _is_count(number, least=0) or number >= len(self.job.tasks):
            self._fail("measures something that the job does not ask for")
        if number in self.done:
            told = f"goes on with part {number + 1}, which was done before"
            self._fail(told, fix="take the file of one run as the agent wrote it, not several joined")
        return int(number)

    def _fail(self, fault: str, *, fix: str = "") -> NoReturn:
        raise self.error(f"{self.where}: line {self.lines} {fault}: {fix or self.fix}")


def read_protocol(document: Mapping[str, Any]) -> MeasuringProtocol:
    """The protocol of a job or a table; what it does not tell is as usual, but for cores: it is older then.

    Raises:
        ValueError: Nobody can measure so; the message begins with the key path.
    """
    usual = asdict(MeasuringProtocol())
    for key, value in document.items():
        kinds = (int, float) if isinstance(usual.get(key), float) else (type(usual.get(key)),)
        is_setting = key in usual and type(value) in kinds
        most = LARGEST_SETTING if key == "seed" else MOST_SETTING
        if not is_setting or not (isinstance(value, str) or 0 <= value <= most):
            known = f"{', '.join(usual)}, up to {MOST_SETTING}"
            raise ValueError(f"protocol.{key[:80]}: {value!r:.80} cannot be measured with; known are {known}")
    protocol = MeasuringProtocol(**{"pinned": False, **document})
    if protocol.provider and not agent.PROVIDER.fullmatch(protocol.provider):
        raise ValueError(f"protocol.provider: {protocol.provider!r:.80} is no execution provider")
    counts = (protocol.threads, protocol.rounds, protocol.visit_runs, protocol.passes, protocol.held)
    if protocol.clock not in ("wall", "cpu") or min(counts) < 1 or protocol.max_rounds < protocol.rounds:
        raise ValueError("protocol: nobody can measure so")
    return protocol


def is_board(record: Record) -> bool:
    """Whether a record describes a board; its texts will be shown to people."""
    texts = [record.get(key) for key in ("cpu", "onnxruntime", "python", "governor", "host_name")]
    warnings, providers = record.get("warnings"), record.get("providers", [])
    return (
        _is_count(record.get("cores"), least=1)
        and record["cores"] <= MOST_CORES
        and _is_quota(record.get("cpu_quota", 0.0))
        and isinstance(warnings, list)
        and isinstance(providers, list)
        and all(isinstance(text, str) and text.isprintable() for text in texts + warnings + providers)
    )


def _is_count(value: Any, *, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value < 2**53


def _is_quota(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MOST_CORES


def _is_time(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value <= LARGEST_MS


def _is_visit(record: Record, clock: str) -> bool:
    """Whether it can have been measured; where processor time is the clock, that cannot be nothing."""
    walls, cpus = record.get("wall_ms"), record.get("cpu_ms")
    return (
        isinstance(walls, list)
        and isinstance(cpus, list)
        and len(walls) == len(cpus) > 0
        and all(map(_is_time, walls + cpus))
        and min(walls) >= LEAST_MS
        and (clock == "wall" or min(cpus) >= LEAST_MS)
        and isinstance(record.get("spoilt"), bool)
        and isinstance(record.get("throttled"), bool)
    )


def _is_profile(record: Record) -> bool:
    nodes = record.get("nodes")
    return (
        _is_count(record.get("peak_bytes"), least=0)
        and _is_count(record.get("resident_bytes", 0), least=0)
        and isinstance(nodes, list)
        and all(isinstance(node, dict) and _is_time(node.get("ms")) for node in nodes)
        and all(isinstance(node.get(key), str) for node in nodes for key in ("name", "operator"))
        and sum(node["ms"] for node in nodes) > 0
    )


def _is_logits(record: Record) -> bool:
    """Whether it has a row an input, all of one length; null stands for what is no number."""
    rows = record.get("logits")
    return (
        isinstance(rows, list)
        and len(rows) == agent.LOGIT_INPUTS
        and all(isinstance(row, list) and 0 < len(row) == len(rows[0]) for row in rows)
        and all(one is None or _is_logit(one) for row in rows for one in row)
    )


def _is_logit(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST_LOGIT
