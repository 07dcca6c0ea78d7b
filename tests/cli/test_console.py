"""What commands print: JSON of records, and bars that keep out of the way."""

import io
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from ofa_nas.cli import console
from ofa_nas.space.architecture import Architecture


@dataclass(frozen=True, slots=True)
class Record:
    """A record as the library yields them."""

    architecture: Architecture
    latency_ms: np.float64


def test_json_shows_architectures_by_their_text_and_arrays_as_lists(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arch = Architecture.parse("192/3x1/5x6")
    console.print_json({"best": Record(arch, np.float64(1.5)), "all": np.arange(3), "path": Path("a")})
    assert json.loads(capsys.readouterr().out) == {
        "best": {"architecture": "192/3x1/5x6", "latency_ms": 1.5},
        "all": [0, 1, 2],
        "path": "a",
    }


def test_json_never_holds_nan() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        console.print_json({"latency_ms": float("nan")})


@pytest.mark.parametrize(("terminal", "quiet"), [(False, False), (True, True), (True, False)])
def test_a_bar_is_shown_only_on_a_terminal_and_when_not_quiet(
    monkeypatch: pytest.MonkeyPatch, *, terminal: bool, quiet: bool
) -> None:
    screen = io.StringIO()
    fake = Console(file=screen, force_terminal=terminal, force_interactive=terminal, width=120)
    monkeypatch.setattr(console, "err", fake)
    with console.progress("measuring", total=2, quiet=quiet) as bar:
        bar.advance(note="4.1 ms")
        bar.advance()
        assert bar.display.tasks[0].completed == 2
        bar.advance()
        assert bar.display.tasks[0].total == 3, "a total may turn out too small"
    assert ("measuring" in screen.getvalue()) == (terminal and not quiet)


def test_a_bar_that_begins_anew_counts_its_rate_from_there() -> None:
    with console.progress("decoding", total=10, quiet=True) as bar:
        bar.move_to(10)
        bar.begin("training", total=100, done=40)
        assert bar.rate == 0.0
        bar.move_to(50)
        task = bar.display.tasks[0]
        assert (task.description, task.completed, task.total) == ("training", 50, 100)
        assert bar.rate * (time.monotonic() - bar.started_s) < 15


def test_a_stream_is_shown_up_to_its_last_record_which_is_given_back() -> None:
    records: Iterator[int | str] = iter([1, 2, "done", 3])
    shown: list[int] = []
    end = console.follow(records, str, show=lambda _, one: shown.append(one), title="counting", quiet=True)
    assert (end, shown) == ("done", [1, 2])
