"""What commands write: results to stdout, progress and notes to stderr, numbers in people's units."""

import dataclasses
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from ofa_nas.space.architecture import Architecture

out = Console(highlight=False, soft_wrap=True)
err = Console(highlight=False, soft_wrap=True, stderr=True)


def print_json(document: object) -> None:
    """Print one JSON document to stdout; records become objects, architectures their text."""
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False, default=_plain) + "\n")


def _plain(value: object) -> object:
    if isinstance(value, Architecture):
        return str(value)
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if hasattr(value, "tolist"):  # numpy scalars and arrays, without importing numpy
        return value.tolist()
    return str(value)


@dataclass(frozen=True, slots=True)
class ProgressBar:
    """One bar of a running `progress`."""

    display: Progress
    task: TaskID

    def advance(self, steps: float = 1, *, note: str = "") -> None:
        """Move on by `steps`, and show `note` behind the bar."""
        self.display.update(self.task, advance=steps, note=note)


@contextmanager
def progress(description: str, *, total: float | None, quiet: bool = False) -> Iterator[ProgressBar]:
    """Show a bar with the remaining time on stderr while a stream of records is read.

    Args:
        description: What is going on, such as `measuring`.
        total: Steps to come; None when nobody knows.
        quiet: Show nothing, as with `--json`; without a terminal nothing is shown either.

    Yields:
        The bar, to be advanced with every record.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=err, transient=True, disable=quiet or not err.is_terminal) as display:
        yield ProgressBar(display, display.add_task(description, total=total, note=""))


def make_table(*headers: str) -> Table:
    """A plain table whose cells stay on one line."""
    table = Table(*headers, box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns:
        column.no_wrap = True
    return table


def format_count(value: float) -> str:
    """A count in thousands, millions or billions: `41.5 M`."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f}"


def format_bytes(value: float) -> str:
    """Bytes in decimal units, as the budgets are given: `1.25 MB`."""
    return f"{format_count(value)}B" if value >= 1e3 else f"{value:.0f} B"
