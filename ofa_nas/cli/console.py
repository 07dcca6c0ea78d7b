"""What commands write: results to stdout, progress and notes to stderr, numbers in people's units."""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from rich import box
from rich.console import Console
from rich.errors import MarkupError
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from ofa_nas.activity import Activity
from ofa_nas.cli.plain import own_markup, visible
from ofa_nas.files import write_bytes
from ofa_nas.space.architecture import Architecture


class PlainConsole(Console):
    """A console that obeys no words but ours: names, paths and notes may hold escapes or markup."""

    def render_str(self, text: str, **options: Any) -> Text:
        """A text in our own styles; whatever else looks like one is shown as it stands."""
        try:
            return super().render_str(own_markup(visible(text)), **options)
        except MarkupError:  # somebody else's word is the end of a style that we never began
            return super().render_str(visible(text), **{**options, "markup": False})


out = PlainConsole(highlight=False, soft_wrap=True, emoji=False)
wide = PlainConsole(  # for rows that a terminal may wrap, but nobody may cut
    highlight=False, soft_wrap=True, emoji=False, width=160
)
err = PlainConsole(highlight=False, soft_wrap=True, emoji=False, stderr=True)


def print_json(document: object) -> None:
    """Print one JSON document to stdout; records become objects, architectures their text."""
    sys.stdout.write(_to_json(document))


def give_document(args: argparse.Namespace, document: object) -> bool:
    """Give a command's document to those who want it: `--json-file` keeps it, `--json` prints it.

    Args:
        args: Of the command.
        document: As `print_json` takes it.

    Returns:
        Whether it was printed; else people are to be shown what it says.
    """
    if args.json_file is not None:
        write_bytes(args.json_file, _to_json(document).encode())
    if args.json:
        print_json(document)
    return bool(args.json)


def _to_json(document: object) -> str:
    return json.dumps(document, indent=2, allow_nan=False, default=_plain) + "\n"


def _plain(value: object) -> object:
    if isinstance(value, Architecture):
        return str(value)
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if hasattr(value, "tolist"):  # numpy scalars and arrays, without importing numpy
        return value.tolist()
    return str(value)


_Shown = TypeVar("_Shown")
_End = TypeVar("_End")
LOG_EVERY_S = 60.0  # between lines where there is no terminal to draw a bar on


@dataclass(slots=True)
class ProgressBar:
    """One bar of a running `progress`; without a terminal, a line now and then."""

    display: Progress
    task: TaskID
    is_quiet: bool
    started_s: float
    logged_s: float
    began: float = 0.0

    def move_to(self, done: float, *, total: float | None = None, note: str = "") -> None:
        """Stand at `done` of `total` (as before without), and show `note` behind the bar."""
        if total is not None:
            self.display.update(self.task, total=total)
        self.display.update(self.task, completed=done, note=note)
        if self.display.disable and not self.is_quiet and time.monotonic() - self.logged_s > LOG_EVERY_S:
            self.logged_s = time.monotonic()
            state = self.display.tasks[self.task]
            whole = "" if state.total is None else f" of {state.total:.0f}"
            left = (
                ""
                if state.total is None or not self.rate
                else f", {_time_left(state.total - done, self.rate)}"
            )
            err.print(f"{state.description}: {done:.0f}{whole}{left}  {note}")

    def tell(self, line: str) -> None:
        """Print a line that stays, above the bar where there is one."""
        if not self.is_quiet:
            self.display.console.print(line)

    def begin(self, description: str, *, total: float | None = None, done: float = 0.0) -> None:
        """Show something else from now on, of which `done` steps were done before."""
        self.display.reset(self.task, description=description, total=total)
        self.display.update(self.task, completed=done, note="")
        self.began, self.started_s = done, time.monotonic()

    @property
    def rate(self) -> float:
        """Steps a second so far; 0 at first [1/s]."""
        elapsed_s = time.monotonic() - self.started_s
        done = self.display.tasks[self.task].completed - self.began
        return done / elapsed_s if elapsed_s > 0.0 else 0.0

    def show(self, activity: Activity) -> None:
        """Show where an activity stands."""
        self.move_to(activity.done, total=activity.total or None, note=activity.name)

    def advance(self, *, note: str = "") -> None:
        """Move on by one step, beyond the total if need be, and show `note` behind the bar."""
        state = self.display.tasks[self.task]
        done = state.completed + 1
        self.move_to(done, total=None if state.total is None else max(done, state.total), note=note)


@contextmanager
def progress(description: str, *, total: float | None, quiet: bool = False) -> Iterator[ProgressBar]:
    """Show a bar with the remaining time on stderr while a stream of records is read.

    Args:
        description: What is going on, such as `measuring`.
        total: Steps to come; None when nobody knows.
        quiet: Show nothing, as with `--json`.

    Yields:
        The bar, to be moved with every record.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=err, transient=True, disable=quiet or not err.is_terminal) as display:
        task = display.add_task(description, total=total, note="")
        now = time.monotonic()
        yield ProgressBar(display, task, quiet, now, now)


def follow(
    records: Iterable[_Shown | _End],
    end: type[_End],
    *,
    show: Callable[[ProgressBar, _Shown], object],
    title: str,
    quiet: bool,
    total: float | None = None,
) -> _End:
    """Show on a bar what a stream of records tells, up to its last one.

    Args:
        records: The stream.
        end: Kind of the last one.
        show: How the others are shown: `ProgressBar.show` if they are activities.
        title: What is going on, such as `measuring`.
        quiet: Show nothing, as with `--json`.
        total: Steps to come; None when nobody knows, or the records tell.

    Returns:
        The last record.
    """
    with progress(title, total=total, quiet=quiet) as bar:
        for record in records:
            if isinstance(record, end):
                return record
            show(bar, cast("_Shown", record))
    raise AssertionError(f"{title} ended without its {end.__name__}")


def _time_left(steps: float, rate: float) -> str:
    minutes, seconds = divmod(round(max(0.0, steps) / rate), 60)
    return f"{minutes} min left" if minutes else f"{seconds} s left"


def make_table(*headers: str) -> Table:
    """A plain table whose cells stay on one line."""
    table = Table(*headers, box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns:
        column.no_wrap = True
    return table
