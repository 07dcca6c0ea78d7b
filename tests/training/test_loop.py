"""When a checkpoint is written, counted by a clock that the test turns; and a clock that stands still."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from ofa_nas.pruning.course import SupernetCourse
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.training import loop
from ofa_nas.training.train import train
from ofa_nas.transfer.adapt import adapt
from tests.training.test_train import SHORT, noise, restless
from tests.transfer.test_adapt import DATA, network, recipe


@pytest.mark.parametrize(
    ("minutes", "saved"), [(0.0, [1, 2, 3, 4, 5, 6, 6]), (1.5, [2, 4, 6, 6]), (4.0, [5, 6]), (60.0, [6])]
)
def test_checkpoints_come_after_so_many_minutes_and_at_the_end(
    minutes: float, saved: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = 0
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: 60.0 * done))

    def steps() -> Iterator[int]:
        nonlocal done
        while done < 6:  # of a minute each
            done += 1
            yield done

    found: list[int] = []
    assert list(loop.keep(steps(), lambda: found.append(done), minutes=minutes)) == [1, 2, 3, 4, 5, 6]
    assert found == saved


def test_a_clock_that_stands_still_between_two_steps_stops_no_training(
    tiny: SearchSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 5.0)
    checkpointing = loop.Checkpointing(tmp_path / "state.safetensors")
    own = network(tiny)
    reports = [
        *train(restless(tiny), noise(tiny), SHORT, checkpointing=checkpointing),
        *SupernetCourse(restless(tiny), noise(tiny), SHORT)(0, 2),
        *adapt(own, DATA, recipe(), checkpointing=replace(checkpointing, path=tmp_path / "transfer")),
    ]
    speeds = [report.images_per_s for report in reports if isinstance(report, loop.StepReport)]
    assert len(speeds) == 6 + 2 + 8
    assert all(0.0 < speed < math.inf for speed in speeds)
