"""When a checkpoint is written, counted by a clock that the test turns; and a clock that stands still."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from ofa_nas.errors import TrainingError
from ofa_nas.pruning.course import SupernetCourse
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.training import loop
from ofa_nas.training.batches import Batches
from ofa_nas.training.step import Learner
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


def test_a_device_with_too_little_memory_is_an_error_that_says_what_to_do(
    tiny: SearchSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Learner.step

    def full(self: Learner, number: int) -> Tensor:
        if number == 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total")
        return step(self, number)

    monkeypatch.setattr(Learner, "step", full)
    checkpoint = tmp_path / "state.safetensors"
    told = r"^cpu has too little memory \(CUDA out of memory\): share the batch among more processes of "
    for minutes, way in ((60.0, "nothing was saved yet"), (0.0, f"with --resume goes on from {checkpoint}")):
        checkpointing = loop.Checkpointing(checkpoint, minutes=minutes)
        with pytest.raises(TrainingError, match=told + f".*; .*{way}$"):
            list(train(restless(tiny), noise(tiny), SHORT, checkpointing=checkpointing))


def test_steps_are_told_now_and_then_and_at_the_end_of_each_epoch(tiny: SearchSpace) -> None:
    """As on CUDA, where a look at the loss makes the host wait."""
    data, recipe = noise(tiny), replace(SHORT, batch_size=4, phases=(replace(SHORT.phases[0], epochs=2.0),))
    batches = Batches(data.train, recipe, normalization=data.normalization, device=torch.device("cpu"))
    learnt: list[int] = []

    def learn(step: int) -> Tensor:
        learnt.append(step)
        return torch.tensor(float(step))

    reports = list(loop.step_reports(learn, batches, steps=range(1, 12), every=4))
    assert learnt == list(range(1, 12))
    assert [(report.step, report.loss) for report in reports] == [(4, 3.0), (6, 5.0), (8, 7.0), (12, 11.0)]
    assert {report.total_steps for report in reports} == {12}
