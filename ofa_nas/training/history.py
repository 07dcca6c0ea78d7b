"""What a training said: one JSON object a line in `history.jsonl`, and scalars for TensorBoard."""

import json
import os
from collections.abc import Generator
from contextlib import closing
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from ofa_nas.errors import ConfigError, FileError
from ofa_nas.files import parse_json, read_bytes, write_bytes
from ofa_nas.section import shown
from ofa_nas.training.loop import StepReport
from ofa_nas.training.state import RateChange

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FILE = "history.jsonl"
_EVERY_STEPS = 10
LARGEST = 1e15  # of a number in a report
_EXPECTED: dict[Any, str] = {str: "a text", int: "a number", float: "a number"}


class EpochLike(Protocol):
    """What the report of an epoch has: a dataclass of texts, numbers and numbers by name."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def step(self) -> int:
        """Done so far."""

    @property
    def scalars(self) -> dict[str, float]:
        """What TensorBoard draws, by name."""


E = TypeVar("E", bound=EpochLike)


class History(Generic[E]):
    """The reports of a run folder: each epoch's, and every tenth step's.

    The first report tells where the training stands; what the file says from there on belongs to steps that a
    kill undid, and goes.

    Args:
        folder: Run folder.
        epoch: Kind of the epochs' reports.
        has_tensorboard: Write scalars into `tensorboard/` beside the file.

    Raises:
        ConfigError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, epoch: type[E], *, has_tensorboard: bool = False) -> None:
        self.path = folder / FILE
        self._epoch: type[E] = epoch
        self._folder, self._has_begun = folder, False
        self._writer: SummaryWriter | None = None
        self._has_tensorboard = has_tensorboard
        if has_tensorboard:
            _check_tensorboard()

    def keep(
        self, reports: Generator[StepReport | RateChange | E, None, None]
    ) -> Generator[StepReport | RateChange | E, None, tuple[tuple[E, ...], list[RateChange]]]:
        """Pass the reports of a training on and append them; close both.

        Returns:
            The reports of all epochs, as `epochs` gives them, and the changes of the learning rate.

        Raises:
            FileError: As `add` and `epochs` do.
        """
        rates: list[RateChange] = []
        with closing(self), closing(reports):
            for report in reports:
                if isinstance(report, RateChange):
                    rates.append(report)
                else:
                    self.add(report)
                yield report
        return self.epochs(), rates

    def add(self, report: StepReport | E) -> None:
        """Append a report.

        Raises:
            FileError: The file cannot be written.
        """
        if not self._has_begun:
            self._begin(report)
        if (
            isinstance(report, StepReport)
            and report.step % _EVERY_STEPS
            and report.step != report.total_steps
        ):
            return
        document = {"kind": "step" if isinstance(report, StepReport) else "epoch", **asdict(report)}
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(document) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise FileError(f"{self.path}: cannot be written: {error.strerror}") from error
        if self._writer is not None:
            for name, value in report.scalars.items():
                self._writer.add_scalar(name, value, report.step)

    def epochs(self) -> tuple[E, ...]:
        """The reports of all epochs so far, those before a resume too.

        Raises:
            FileError: A line of the file is no report.
        """
        return tuple(
            self._report(line, number)
            for number, line in enumerate(self._lines(), 1)
            if line["kind"] == "epoch"
        )

    def _report(self, line: dict[str, Any], number: int) -> E:
        kinds = {field.name: field.type for field in fields(self._epoch)}
        for name, kind in kinds.items():
            if not _is_kind(line.get(name), kind):
                raise FileError(
                    f"{self.path}, line {number}: the report of an epoch: {name}: expected "
                    f"{_EXPECTED.get(kind, 'numbers by name')}, got {shown(line.get(name))}"
                )
        return self._epoch(**{name: line[name] for name in kinds})

    def close(self) -> None:
        """Write what TensorBoard's writer still holds."""
        if self._writer is not None:
            self._writer.close()

    def _begin(self, report: StepReport | E) -> None:
        step, is_epoch = report.step, not isinstance(report, StepReport)
        kept = [line for line in self._lines() if (line["step"], line["kind"] == "epoch") < (step, is_epoch)]
        write_bytes(self.path, "".join(json.dumps(line) + "\n" for line in kept).encode())
        self._has_begun = True
        if self._has_tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder / "tensorboard"), purge_step=step)

    def _lines(self) -> list[dict[str, Any]]:
        """Whole lines; a torn last one, which a kill leaves, is not one."""
        if not self.path.exists():
            return []
        lines = []
        for number, text in enumerate(read_bytes(self.path, error=FileError).split(b"\n")[:-1], 1):
            try:
                line = parse_json(text)
                is_report = type(line["step"]) is int and isinstance(line["kind"], str)
            except (ValueError, TypeError, KeyError) as error:
                raise FileError(f"{self.path}, line {number}: not a report of a training") from error
            if not is_report:
                raise FileError(f"{self.path}, line {number}: not a report of a training")
            lines.append(line)
        return lines


def _check_tensorboard() -> None:
    from importlib.util import find_spec

    if find_spec("tensorboard") is None:
        raise ConfigError("--tensorboard needs a package: pip install 'ofa-nas[tensorboard]'")


def _is_kind(value: Any, kind: Any) -> bool:
    """Whether a field of that type holds it: a text, a number of a sensible size, or an object of such."""
    if kind is str:
        return isinstance(value, str)
    if kind in (int, float):
        return type(value) in (int, float) and abs(value) < LARGEST
    return isinstance(value, dict) and all(_is_kind(one, float) for one in value.values())
